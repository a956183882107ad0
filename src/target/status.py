"""Tells what is live, who holds the lock, and how the last run ended. Only reads, and takes no lock."""

from __future__ import annotations

import os
import pwd
import re
import time
from typing import Any

from holder import Holder, holder
from journal import Journal, read_journal
from question import answer, answering
from records import RELEASES, RUNS, earlier_good, live_release, names_in, read_records
from retention import Record, is_id

NOTHING: dict[str, Any] = {
    **dict.fromkeys(("live", "commit", "since", "by", "state"), ""),
    **dict.fromkeys(("rollback", "lock", "last_run")),
    "unsettled": [],
}
LOOKS = 5  # a run that begins or ends meanwhile makes what was seen contradict itself


def main(words: list[str]) -> None:
    (place,) = words
    try:
        os.chdir(place)
    except FileNotFoundError:
        return answer({**NOTHING, "now": moment(time.time()), "problems": [f"{place} is not there"]})
    for _ in range(LOOKS):
        before = holder()
        seen = look(place, before)
        if holder() == before:
            break
    answer(seen)


def look(place: str, at_work: Holder) -> dict[str, Any]:
    records, live = read_records(), live_release()
    older, problems = earlier_good(live, records), problem_of_current(live)
    return {
        **NOTHING,
        "now": moment(time.time()),
        **(told_release(live, records) if live and not problems else {}),
        "rollback": {"release": older[0], "commit": records[older[0]].commit} if older else None,
        **told_runs(place, at_work, problems),
        "problems": problems,
    }


def told_release(live: str, records: dict[str, Record]) -> dict[str, Any]:
    """What is live. When nothing of ours switched to it, the link itself tells since when."""
    record = records.get(live)
    ours = record is not None and record.state == "good" and record.by != "taken over"
    if record and ours and record.since >= max(each.since for each in records.values()):
        since, by = record.since, record.by
    else:
        since, by = moment(os.lstat("current").st_mtime), ""
    state = "foreign" if record is None or record.by == "taken over" else record.state or "unproven"
    return {"live": live, "commit": commit_of(live, record), "since": since, "by": by, "state": state}


def commit_of(release: str, record: Record | None) -> str:
    if record and record.commit:
        return record.commit
    try:
        with open(os.path.join(RELEASES, release, "REVISION"), encoding="utf-8", errors="replace") as file:
            text = file.read(100).strip()
    except OSError:
        return ""
    return text if re.fullmatch("[0-9a-f]{7,64}", text) else ""


def problem_of_current(live: str) -> list[str]:
    if not os.path.lexists("current"):
        return []
    if not os.path.islink("current"):
        return ["current is no link to a release: deployer deploy says how to mend it"]
    link = os.readlink("current")
    if not os.path.exists("current"):
        return [f"current leads to {link}, which is not there"]
    return [] if live else [f"current leads to {link}, which is no release in {RELEASES}/"]


def told_runs(place: str, at_work: Holder, problems: list[str]) -> dict[str, Any]:
    names = names_in(RUNS)
    ends = (".journal", ".plan", ".unread")
    ids = sorted({name[:19] for name in names if is_id(name[:19]) and name[19:] in ends})
    running = running_run(ids, names, at_work)
    runs = {id: told_run(place, id, names, id == running, problems) for id in {*ids[-1:], running} if id}
    return {
        "lock": told_lock(at_work, runs.get(running)),
        "last_run": runs[ids[-1]] if ids else None,
        "unsettled": [id for id in ids if f"{id}.plan" in names and id != running],
    }


def running_run(ids: list[str], names: list[str], at_work: Holder) -> str:
    """The run that a living session is at: the one that it signed for, else the newest with a plan; "" without one."""
    plans = [id for id in ids if f"{id}.plan" in names]
    signed = at_work.field("Run")
    return "" if not at_work.pid else signed if signed in plans else "".join(plans[-1:])


def told_run(place: str, id: str, names: list[str], running: bool, problems: list[str]) -> dict[str, Any] | None:
    path = os.path.join(RUNS, id)
    try:
        with open(f"{path}.journal", encoding="utf-8", errors="replace") as file:
            journal = read_journal(file.read())
    except FileNotFoundError:
        journal = None
    except PermissionError:
        problems.append(f"how the last run ended is only for {owner_of(place)} to read: run it as {owner_of(place)}")
        return None
    log = {"run": id, "log": os.path.join(place, f"{path}.log") if f"{id}.log" in names else ""}
    if f"{id}.unread" in names:
        problems.append(f"the plan of the run {id} could not be read: look at {os.path.join(place, path)}.*")
    if journal is None:
        problems.append(f"the journal of the run {id} cannot be read: look at {os.path.join(place, path)}.*")
        return {**log, "ending": "unknown"}
    told = {**log, **journal._asdict(), "ending": ending(journal, id, names, running)}
    told["served"] = journal.committed and journal.served
    del told["outcome"]  # what the session calls it; a dead run has none
    return told


def ending(journal: Journal, id: str, names: list[str], running: bool) -> str:
    """`running`, `died` (and still to be settled), `done`, `undone`, `stuck` (not wholly undone), or `unknown`."""
    if running:
        return "running"
    if f"{id}.plan" in names:
        return "died"
    if journal.outcome == "settled":
        return "done" if journal.committed else "stuck" if journal.not_undone else "undone"
    return journal.outcome or "unknown"


def owner_of(place: str) -> str:
    user = os.stat(os.path.join(place, ".deployer")).st_uid
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def told_lock(at_work: Holder, run: dict[str, Any] | None) -> dict[str, Any] | None:
    """Who holds the lock; `held` is false where only .deploy.lock says so, without a living holder."""
    if not at_work.pid and not at_work.text.strip():
        return None
    lock = {
        "held": at_work.pid != 0,
        "pid": at_work.pid,
        "by": at_work.field("By"),
        "command": at_work.field("Command"),
        "since": at_work.field("Since"),
        "run": at_work.field("Run"),
        "settles": "",
        "step": step_of(run or {}) if at_work.pid else "",
        "step_since": (run or {}).get("step_since", ""),
    }
    if run and run.get("settled_since"):  # whoever settles a run signs with what that run said of itself
        command, _, by = run["settled_by"].partition(" ")
        lock.update(by=by, command=command, since=run["settled_since"], settles=run["run"])
    return lock


def step_of(run: dict[str, Any]) -> str:
    return ("undo " if run.get("undoing") else "") + str(run.get("step") or "lock")


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


if __name__ == "__main__":
    answering(main)
