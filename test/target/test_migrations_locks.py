import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from database_site import OWNER, DatabaseSite, Postgres, Psycopg2, Sqlite
from postgres import USER as SUPERUSER

ADDS = 'migrations.AddField("entry", "stars", models.IntegerField(null=True))'
ADDS_MORE = 'migrations.AddField("entry", "place", models.CharField(max_length=9, default="here"))'

PATIENCE = 60
READS = "BEGIN; SELECT count(*) FROM guestbook_entry"  # ACCESS SHARE until its transaction ends
TABLE = "guestbook_entry"


def eventually(true):
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise AssertionError("it did not come to that")
        time.sleep(0.05)


class Locks(DatabaseSite):
    def at_work(self, database, condition):
        """Waits until a process of ours is where the condition on pg_stat_activity says."""
        question = f"SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'deployer %' AND {condition}"
        eventually(lambda: database.execute(question).strip() != "0")

    def gate(self):
        """What holds a migration, as an operation; a function that waits for it to come there; one that lets it on."""
        came, go = self.path("came"), self.path("go")
        os.mkfifo(came)
        os.mkfifo(go)
        waits = f"lambda *_: (open({came!r}, 'w').close(), open({go!r}).close())"
        return f"migrations.RunPython({waits})", lambda: open(came).close(), lambda: open(go, "w").close()


class Waits(Locks):
    """`migrate` gives up a lock that it does not get, and says which statement waited and who holds it."""

    def gives_up(self, engine, user=OWNER, holder=READS, operations=ADDS, **options):
        database = self.use("default", engine, **options)
        self.live()
        database.execute("INSERT INTO guestbook_entry (name, text) VALUES ('Ada', 'Hello')")
        before = self.schemas()
        pid, end = database.session(holder, user)
        self.guestbook(("0003_waits", operations))
        begun = time.monotonic()
        said, log = self.run_it("apply", 1)
        self.assertGreater(time.monotonic() - begun, 9)
        end()
        self.comes_back(before)
        return said, log, pid

    def expect(self, said, pid, statement, query, user=OWNER):
        self.assertRegex(
            said["message"],
            rf"^guestbook\.0003_waits failed: OperationalError: canceling statement due to lock timeout; {statement} "
            rf"wanted a lock on {TABLE}, held by process {pid} \(user {user}, application psql{query}$",
        )
        self.assertEqual(said["hint"], f"let that transaction end, or end it: SELECT pg_terminate_backend({pid})")

    IDLE = r", idle in transaction, begun [\d-]+ [\d:]+ UTC\): SELECT count\(\*\) FROM guestbook_entry;"
    ALTER = 'ALTER TABLE "guestbook_entry" ADD COLUMN "stars" integer NULL'

    def test_for_a_table_that_someone_reads(self):
        said, log, pid = self.gives_up(Postgres)
        self.expect(said, pid, self.ALTER, self.IDLE)
        self.assertRegex(log, rf"waiting: {self.ALTER} wanted a lock on {TABLE}, held by process {pid}")

    def test_though_the_project_would_wait_for_ever(self):
        said, _log, pid = self.gives_up(Psycopg2, OPTIONS={"options": "-c lock_timeout=0"})
        self.expect(said, pid, self.ALTER, self.IDLE)

    def test_for_a_row_that_someone_else_changes(self):
        change = "lambda apps, editor: apps.get_model('guestbook', 'entry').objects.update(text='b')"
        said, _log, pid = self.gives_up(
            Postgres,
            user=SUPERUSER,
            holder="BEGIN; UPDATE guestbook_entry SET text = 'c'",
            operations=f"migrations.RunPython({change})",
        )
        hidden = r"\): <insufficient privilege>"
        self.expect(said, pid, 'UPDATE "guestbook_entry" SET "text" = %s', hidden, user=SUPERUSER)

    def test_with_no_connection_to_spare_the_statement_is_named_at_least(self):
        database = self.use("default", Postgres)
        self.live()
        _pid, end = database.session(READS, SUPERUSER)
        database.server.psql("postgres", f"ALTER DATABASE {database.name} CONNECTION LIMIT 2")
        self.guestbook(("0003_waits", ADDS))
        said, log = self.run_it("apply", 1)
        end()
        self.assertRegex(said["message"], rf"lock timeout; {self.ALTER} wanted a lock$")
        self.assertIn("pg_stat_activity", said["hint"])
        self.assertIn("who holds a lock cannot be asked", log)

    def test_the_undo_gives_up_too_and_names_what_stays(self):
        database = self.use("default", Postgres)
        self.live()
        before = self.schemas()
        self.guestbook(("0003_adds", ADDS), ("0004_fails", "migrations.RunPython(lambda *_: 1 / 0)"))
        self.run_it("apply", 1)
        pid, end = database.session(READS)
        said = self.stays(
            r"^migrations stay in the database: guestbook\.0003_adds, reversing in default \(OperationalError: "
            rf"canceling statement due to lock timeout; ALTER TABLE .* wanted a lock on {TABLE}, held by process {pid} "
        )
        self.assertRegex(
            said["hint"],
            rf"^let that transaction end, or end it: SELECT pg_terminate_backend\({pid}\); the next deploy goes on.*: "
            r"python manage\.py migrate guestbook 0002_entry_written$",
        )
        end()
        self.comes_back(before)


class Killed(Locks):
    """Whatever is killed, and whenever: what was applied is taken back."""

    def begin(self, operation):
        process, end = self.start_django("migrations.py", DEPLOYER_OPERATION=operation)
        return process, end

    def kill(self, begun):
        process, end = begun
        process.send_signal(signal.SIGKILL)
        end()

    def between_two_statements(self, engine):
        self.use("default", engine)
        self.live()
        before = self.schemas()
        held, comes, _go = self.gate()
        self.guestbook(("0003_adds", ADDS), ("0004_held", f"{ADDS_MORE}, {held}"))
        begun = self.begin("apply")
        comes()
        self.kill(begun)
        self.comes_back(before)

    def test_between_two_statements_sqlite(self):
        self.between_two_statements(Sqlite)

    def test_between_two_statements_postgres(self):
        self.between_two_statements(Postgres)

    def in_a_statement(self, engine, **options):
        """The server does not notice, and would hold the locks for ten minutes."""
        database = self.use("default", engine, **options)
        self.live()
        before = self.schemas()
        self.guestbook(("0003_adds", ADDS), ("0004_long", f"{ADDS_MORE}, migrations.RunSQL('SELECT pg_sleep(600)')"))
        begun = self.begin("apply")
        self.at_work(database, "wait_event = 'PgSleep'")
        self.kill(begun)
        self.comes_back(before)

    def test_in_a_statement_that_the_server_goes_on_with(self):
        self.in_a_statement(Postgres)

    def test_in_a_statement_that_the_server_goes_on_with_psycopg2(self):
        self.in_a_statement(Psycopg2)

    def test_the_undo_itself(self):
        database = self.use("default", Postgres)
        self.live()
        before = self.schemas()
        self.guestbook(("0003_adds", ADDS), ("0004_more", ADDS_MORE))
        self.run_it("apply", 0)
        _pid, end = database.session(READS)
        begun = self.begin("reverse")
        self.at_work(database, "wait_event_type = 'Lock'")
        self.kill(begun)
        end()
        self.comes_back(before)


if __name__ == "__main__":
    unittest.main()
