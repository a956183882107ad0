"""Decides which releases are old enough to go. Pure: what is on the disk, and what lives, is told to it."""

from __future__ import annotations

import re

from named_tuple import NamedTuple

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import Iterable

ID = "[0-9]{8}_[0-9]{6}_[0-9]{3}"
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
    ours = {id for id in folders if re.fullmatch(ID, id) and id in records and records[id].ours}
    good = [id for id in folders if id in records and records[id].state == "good"]
    kept = set(sorted(good, key=age, reverse=True)[:keep])
    oldest = min(kept, key=age, default="")
    left = {id for id in ours if records[id].state == "left" and age(id) > age(oldest)}
    foreign = {id for id in ours if records[id].state == "removed"}  # what we removed is gone: this is another's
    return sorted(ours - kept - left - foreign - live - busy)


def age(id: str) -> tuple[bool, str]:
    """What orders releases, the oldest first; a release of before our time is older than all of ours."""
    return bool(re.fullmatch(ID, id)), id


def backup_id(name: str, site: str) -> str:
    """The deploy that made a backup of this site, by the name of the file; "" if it is no such name."""
    match = re.fullmatch(rf"{re.escape(site)}_({ID})\.tar\.gz", name)
    return match.group(1) if match else ""
