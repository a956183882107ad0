"""The history as it is on the disk, and what may be gone back to. Only reads; the current folder is deploy_path."""

from __future__ import annotations

import os

from retention import Record, age, record

HISTORY, RUNS, RELEASES = ".deployer/history", ".deployer/run", "releases"


def read_records() -> dict[str, Record]:
    """What the history says, by release."""
    records = {}
    for id in filter(lambda name: is_file(HISTORY, name), names_in(HISTORY)):
        with open(os.path.join(HISTORY, id), encoding="utf-8", errors="replace") as file:
            records[id] = record([line.split() for line in file])
    return records


def live_release() -> str:
    """The name of the release that `current` leads to, "" if it leads to none."""
    try:
        link = os.readlink("current").rstrip("/")
    except OSError:
        return ""
    return os.path.basename(link) if os.path.realpath(os.path.dirname(link)) == os.path.realpath(RELEASES) else ""


def kept(live: str, records: dict[str, Record]) -> list[str]:
    """The releases of the history that are there, but the live one, newest first."""
    return [id for id in sorted(records, key=age, reverse=True) if is_folder(RELEASES, id) and id != live]


def earlier_good(live: str, records: dict[str, Record]) -> list[str]:
    """The good releases from before the live one, newest first: `rollback` goes to the first."""
    return [id for id in kept(live, records) if live and age(id) < age(live) and records[id].state == "good"]


def is_folder(*names: str) -> bool:
    path = os.path.join(*names)
    return os.path.isdir(path) and not os.path.islink(path)


def is_file(*names: str) -> bool:
    path = os.path.join(*names)
    return os.path.isfile(path) and not os.path.islink(path)


def names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
