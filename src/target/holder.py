"""Who holds the lock of the site, found out without touching it. The current folder is deploy_path."""

from __future__ import annotations

import os

from named_tuple import NamedTuple

LOCK, NAME = ".deployer/lock", ".deploy.lock"


class Holder(NamedTuple):
    """`pid`: 0 if no living process holds the lock. `text`: what .deploy.lock says of it, or, where nobody holds the
    lock, of a dead one."""

    pid: int
    text: str

    def field(self, name: str) -> str:
        """One line of the text, `By: ana@laptop`; "" if there is none."""
        return f"\n{self.text}".partition(f"\n{name}: ")[2].partition("\n")[0]


def holder() -> Holder:
    """Who holds the lock: by the process that .deploy.lock names, else by the kernel's list of locks."""
    try:
        with open(NAME, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except FileNotFoundError:
        text = ""
    pid, _, born = Holder(0, text).field("Pid").partition(" ")
    named = int(pid) if pid.isdigit() and born == birth(int(pid)) else 0
    unnamed = 0 if named else in_kernel()
    return Holder(named or unnamed, "" if unnamed else text)


def birth(pid: int) -> str:
    """When a process started; "" if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            words = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] in "ZX" else words[19]


def in_kernel() -> int:
    """The process that has the lock by what the kernel shows; 0 where it has none, or the kernel shows none."""
    try:
        status = os.stat(LOCK)
        with open("/proc/locks", encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file]
    except OSError:
        return 0
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return next((int(words[4]) for words in lines if words[1] == "FLOCK" and words[5] == place), 0)
