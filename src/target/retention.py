"""Decides which releases are old enough to go. Pure: what is on the disk, and what lives, is told to it."""

from __future__ import annotations

from named_tuple import NamedTuple

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import Iterable

TAIL = ".tar.gz"
STATES = ("good", "failed", "left", "removed")


class Record(NamedTuple):
    """What the history says of a release. `state`: "" while it is made, and for ever if its session died. `since` and
    `by`: when it was last called good, and by whom; "" if it never was."""

    ours: bool
    state: str
    commit: str
    since: str = ""
    by: str = ""


def record(lines: Iterable[list[str]]) -> Record:
    """The record that these lines make, each an event and its words; what is cut short or unknown is passed over."""
    ours, state, commit, since, by = False, "", "", "", ""
    for words in lines:
        event = words[0] if words else ""
        ours = ours or event == "begun"
        state = event if event in STATES else state
        commit = words[1] if event == "commit" and len(words) > 1 else commit
        if event == "good" and len(words) > 1:
            since, by = words[1], " ".join(words[2:])
    return Record(ours, state, commit, since, by)


def doomed(keep: int, live: set[str], busy: set[str], folders: set[str], records: dict[str, Record]) -> list[str]:
    """The releases to delete, oldest first: ours, with a folder, not live, not busy, and not among the kept.

    Kept are the newest `keep` good releases, and those that a rollback left since the oldest of them.
    """
    ours = {id for id in folders if is_id(id) and id in records and records[id].ours}
    good = [id for id in folders if id in records and records[id].state == "good"]
    kept = set(sorted(good, key=age, reverse=True)[:keep])
    oldest = min(kept, key=age, default="")
    left = {id for id in ours if records[id].state == "left" and age(id) > age(oldest)}
    foreign = {id for id in ours if records[id].state == "removed"}  # what we removed is gone: this is another's
    return sorted(ours - kept - left - foreign - live - busy)


def age(id: str) -> tuple[bool, str]:
    """What orders releases, the oldest first; a release of before our time is older than all of ours."""
    return is_id(id), id


def is_id(name: str) -> bool:
    """Whether it is a release of our time: YYYYMMDD_HHMMSS_mmm. The module re costs 8 ms."""
    parts = name.split("_")
    return [len(part) for part in parts] == [8, 6, 3] and all(part.isascii() and part.isdigit() for part in parts)


def backup_id(name: str, site: str) -> str:
    """The deploy that made a backup of this site, by the name of the file; "" if it is no such name."""
    head, id, tail = name[: -len(TAIL) - 19], name[-len(TAIL) - 19 : -len(TAIL)], name[-len(TAIL) :]
    return id if head == f"{site}_" and is_id(id) and tail == TAIL else ""
