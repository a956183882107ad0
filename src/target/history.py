"""The history of a site: which release a rollback goes to, and which releases, backups, logs and environments may go.

history.py candidate [--to ID]    answers release=ID and commit=SHA
history.py prune --keep N --max-backups M --backup-path P --site NAME

.deployer/history/ID is append-only text, one event a line, first its name: begun, commit, previous, good, failed, left,
removed. The last of good, failed, left and removed is the release's state; `begun` says that it is ours.
"""

from __future__ import annotations

import os
import sys
import time

from common import answer, fail
from deletion import delete, warn_undeleted
from environments import sweep
from kept_programs import keep_ready
from records import (
    HISTORY,
    RELEASES,
    RUNS,
    earlier_good,
    is_file,
    is_folder,
    kept,
    live_release,
    names_in,
    read_records,
)
from retention import Record, age, backup_id, doomed, is_id

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import Iterator

RECORDS = 100
REMOVING = ".removed-"  # a release folder that is being deleted: half of one must never look whole


def main(arguments: list[str]) -> None:
    verb, *words = arguments
    options = dict(zip(words[::2], words[1::2]))
    if verb == "candidate":
        candidate(options.get("--to", ""))
    elif verb == "prune":
        prune(int(options["--keep"]), int(options["--max-backups"]), options["--backup-path"], options["--site"])


def candidate(to: str) -> None:
    live, records = live_release(), read_records()
    others = kept(live, records)
    if to:
        if to not in others or records[to].state not in ("good", "left"):
            fail(f"{why_not(to, live, records)}", f"kept: {listed(others, records)}")
        chosen = to
    else:
        older = earlier_good(live, records)
        if not older:
            hint = f"kept, for --to: {listed(others, records)}"
            fail(f"no good release is older than {live or 'what is live: nothing is'}", hint, "nothing-to-roll-back")
        chosen = older[0]
    answer("release", chosen)
    answer("commit", records[chosen].commit)


def why_not(id: str, live: str, records: dict[str, Record]) -> str:
    if id == live:
        return f"{id} is live already"
    if id not in records:
        return f"there is no release {id}"
    state = records[id].state
    return (
        f"the release {id} {'failed' if state == 'failed' else 'was removed' if state == 'removed' else 'is not kept'}"
    )


def listed(ids: list[str], records: dict[str, Record]) -> str:
    lines = [
        f"{id} ({records[id].commit[:10] or 'commit unknown'}{', left by a rollback' * (records[id].state == 'left')})"
        for id in ids
        if records[id].state in ("good", "left")
    ]
    return ", ".join(lines) or "no release but the live one"


def prune(keep: int, max_backups: int, backup_path: str, site: str) -> None:
    records = read_records()
    live = {os.environ["RELEASE"], live_release()}
    folders = {name for name in names_in(RELEASES) if is_folder(RELEASES, name)}
    for id in doomed(keep, live, in_use() | unsettled(), folders, records):
        put_aside(id)
    removing = {name[len(REMOVING) :] for name in names_in(RELEASES) if name.startswith(REMOVING)}
    for id in sorted(removing & {id for id in records if records[id].ours}):
        if records[id].state != "removed":
            append(id, "removed")
        delete(os.path.join(RELEASES, REMOVING + id))
    prune_backups(max_backups, backup_path, site)
    prune_runs(records)
    prune_records(records)
    sweep()
    keep_ready(os.path.basename(os.environ.get("TOOLS", "")))


def in_use() -> set[str]:
    """The releases in which a process lives that we can see, by its folder, its program or its command line; those that
    a Gunicorn was started in; and those that a filesystem is mounted in, whose files are not ours to delete."""
    import processes
    from command_line import is_gunicorn
    from start_folder import noted

    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
        texts = [file.read(), *noted()]
    for pid in processes.table():
        words = processes.arguments(pid)
        texts += [processes.folder(pid), processes.executable(pid), *words]
        if is_gunicorn(words):
            texts.append(processes.environment(pid).get("PWD", ""))
    return {id for text in texts for id in named_in(text)}


def named_in(text: str) -> Iterator[str]:
    """The releases that a path in it leads into."""
    before, *rest = text.split("releases/")
    for after in rest:
        if (
            is_id(after[:19])
            and after[19:20] not in set("0123456789")
            and (before[-1:] in "/'\"=:" or before[-1:].isspace())
        ):
            yield after[:19]
        before = after or "/"


def unsettled() -> set[str]:
    """The runs that a later session has still to undo."""
    return {name[: -len(".plan")] for name in names_in(RUNS) if name.endswith(".plan")}


def put_aside(id: str) -> None:
    path = os.path.join(RELEASES, id)
    try:
        os.rename(path, os.path.join(RELEASES, REMOVING + id))
    except OSError as error:
        warn_undeleted(path, str(error.strerror))


def append(id: str, event: str) -> None:
    with open(os.path.join(HISTORY, id), "a+", encoding="utf-8", errors="replace") as file:
        file.seek(0)
        text = file.read()
        gap = "" if text.endswith("\n") or not text else "\n"
        file.write(f"{gap}{event} {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n")


def prune_backups(keep: int, folder: str, site: str) -> None:
    names = [name for name in names_in(folder) if is_file(folder, name)]
    whole = sorted((name for name in names if backup_id(name, site)), reverse=True)
    parts = [name for name in names if name.endswith(".part") and backup_id(name[name.startswith(".") : -5], site)]
    for name in whole[keep:] + parts:
        delete(os.path.join(folder, name))


def prune_runs(records: dict[str, Record]) -> None:
    """The logs of runs go with their release, or, if it never came to be, when all that is kept is newer."""
    kept = {id for id in records if is_id(id) and is_folder(RELEASES, id)}
    stay = kept | unsettled() | {os.path.basename(os.environ["RUN"])}
    oldest = min((id for id in kept if records[id].state in ("good", "left")), default="")
    for name in names_in(RUNS):
        id, _, _ = name.partition(".")
        if is_id(id) and id not in stay and id < oldest:
            delete(os.path.join(RUNS, name))


def prune_records(records: dict[str, Record]) -> None:
    there = {name.replace(REMOVING, "") for name in names_in(RELEASES)} | unsettled()
    gone = sorted((id for id in records if id not in there), key=age, reverse=True)
    for id in gone[RECORDS:]:
        delete(os.path.join(HISTORY, id))


if __name__ == "__main__":
    main(sys.argv[1:])
