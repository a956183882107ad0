"""Keeps a program in the project's Django from waiting for ever on a lock of PostgreSQL, and says who holds it.

Whoever loads it calls `limit` for each new connection. Other databases are left as they are.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

LOCK_TIMEOUT = "10s"  # who comes after a migration that waits for a lock waits behind it: soon that is the whole site
LOOK_EVERY = 1.0  # seconds
MARK = f"deployer {os.environ['DEPLOYER_RELEASE']} "
NAME = MARK + str(os.getpid())
GAVE_UP = ("55P03", "57014")  # lock_not_available; query_canceled, which a statement_timeout of the project does
SHOWN = 200  # characters of a statement

BLOCKERS = """
SELECT
    (SELECT string_agg(DISTINCT relation::regclass::text, ', ') FROM pg_locks
     WHERE pid = waiting.pid AND relation IS NOT NULL AND (NOT granted OR locktype = 'tuple')),
    blocking.pid, holder.usename, holder.application_name, holder.client_addr::text, holder.state,
    to_char(holder.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), holder.query
FROM pg_stat_activity AS waiting
CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS blocking (pid)
LEFT JOIN pg_stat_activity AS holder ON holder.pid = blocking.pid
WHERE waiting.pid = %s AND waiting.wait_event_type = 'Lock'
"""

LEFT_OVER = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE left(application_name, %s) = %s AND application_name <> %s
    AND usename = current_user AND datname = current_database()
"""


class Statement:
    """One that is under way, and what is known of its waiting."""

    def __init__(self, alias: str, pid: int, text: str) -> None:
        self.alias = alias
        self.pid = pid
        self.text = shortened(text)
        self.begun = time.monotonic()
        self.relation = ""
        self.holders: dict[int, str] = {}

    def waiting(self) -> str:
        held = f", held by {'; and by '.join(self.holders.values())}" if self.holders else ""
        return f"{self.text} wanted a lock{f' on {self.relation}' if self.relation else ''}{held}"


under_way: Statement | None = None
watcher: threading.Thread | None = None


def limit(connection: Any) -> None:
    """To be called with each connection that is made."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('lock_timeout', %s, false), set_config('application_name', %s, false), pg_backend_pid()",
            [LOCK_TIMEOUT, NAME],
        )
        pid = cursor.fetchone()[2]
    if threading.current_thread() is threading.main_thread():
        connection.deployer_pid = pid
        if watched not in connection.execute_wrappers:
            connection.execute_wrappers.append(watched)
        start_watcher()


def watched(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
    """Runs a statement, as a wrapper of Django. An error of waiting gets the statement to take along."""
    global under_way
    connection = context["connection"]
    statement = under_way = Statement(connection.alias, connection.deployer_pid, str(sql))
    try:
        return execute(sql, params, many, context)
    except Exception as error:
        if code_of(error) in GAVE_UP:
            error.deployer_statement = statement  # type: ignore[attr-defined]
        raise
    finally:
        under_way = None


def start_watcher() -> None:
    global watcher
    if not watcher:
        watcher = threading.Thread(target=look_on, daemon=True)
        watcher.start()


def code_of(error: BaseException) -> str:
    """SQLSTATE: psycopg 3 and psycopg2 name it differently."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""


def look_on() -> None:
    """Once the server has given up a wait it no longer knows who was waited for: that is asked meanwhile."""
    while True:
        time.sleep(LOOK_EVERY)
        statement = under_way
        if statement and time.monotonic() - statement.begun >= LOOK_EVERY:
            try:
                look_at(statement)
            except Exception as error:  # no connection to spare, say
                if not statement.relation:
                    print(f"\nwho holds a lock cannot be asked: {type(error).__name__}: {error}", flush=True)
                return


def look_at(statement: Statement) -> None:
    from django.db import connections

    connection = connections[statement.alias]  # this thread's own
    try:
        with connection.cursor() as cursor:
            cursor.execute(BLOCKERS, [statement.pid])
            rows = cursor.fetchall()
    finally:
        connection.close()
    before = set(statement.holders)
    statement.holders = {row[1]: described(*row[1:]) for row in rows}
    if rows:
        statement.relation = rows[0][0] or ""
    if set(statement.holders) - before and statement is under_way:
        print(f"\nwaiting: {statement.waiting()}", flush=True)


def described(pid: int, user: str, application: str, address: str, state: str, since: str, query: str) -> str:
    if not user:
        return "a process that is not shown" if pid else "a prepared transaction (see pg_prepared_xacts)"
    facts = [f"user {user}"]
    facts += [f"application {application}"] if application else []
    facts += [f"from {address}"] if address else []
    facts += filter(None, [state, since and f"begun {since}"])
    return f"process {pid} ({', '.join(facts)}): {shortened(query)}"


def shortened(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= SHOWN else words[:SHOWN] + "…"


def statement_of(error: BaseException | None) -> Statement | None:
    """The statement that gave up waiting, if that is why."""
    while error:
        statement: Statement | None = getattr(error, "deployer_statement", None)
        if statement:
            return statement
        error = error.__cause__ or error.__context__
    return None


def in_words(error: BaseException) -> str:
    """What waited, for which table, and who holds it; "" if the error is another."""
    statement = statement_of(error)
    return statement.waiting() if statement else ""


def cure(error: BaseException) -> str:
    """What to do about it; "" if the error is another."""
    statement = statement_of(error)
    if not statement:
        return ""
    pids = [pid for pid in statement.holders if pid]
    if not pids:
        return "see who holds it: SELECT pid, usename, state, query FROM pg_stat_activity WHERE state <> 'idle'"
    ends = "; ".join(f"SELECT pg_terminate_backend({pid})" for pid in pids)
    return f"let that transaction end, or end it: {ends}"


def end_left_over(connection: Any, patience: float) -> None:
    """Ends what the server still does for a process of this release that was killed: it may hold locks, or commit yet.
    Waits for that, at most so many seconds."""
    if connection.vendor != "postgresql":
        return
    end = time.monotonic() + patience
    with connection.cursor() as cursor:
        while True:
            cursor.execute(LEFT_OVER, [len(MARK), MARK, NAME])
            if not cursor.fetchall() or time.monotonic() > end:
                return
            time.sleep(0.1)
