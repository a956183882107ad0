"""Where masters were started: USR2 returns there, and a HUP moves them away without a trace.

So it is noted before the first HUP, in a link .deployer/masters/PID.START, and while that master lives, `history.py
prune` keeps the release that it leads to.
"""

from __future__ import annotations

import os
import sys

import processes
from layout import below_current
from masters import Master, workers
from processes import Process

NOTES = ".deployer/masters"
UNTOUCHED = 60  # seconds after its start in which a master has made its first workers


def start_folder(master: Master, folder: str) -> str:
    """The folder that USR2 returns to; empty when that is not known, or gone. `folder`: where its workers change into.

    Gunicorn believes $PWD if that is the folder it is in. If the folder that it returns to was removed, the failing
    USR2 takes the old workers and the socket's file with it, so a doubt is a no.
    """
    pwd = master.environ.get("PWD", "")
    if below_current(pwd) is not None and below_current(pwd) == below_current(folder):
        return pwd if os.path.isdir(pwd) else ""
    if os.path.islink(note_of(master.process)):
        noted = os.readlink(note_of(master.process))
        return noted if os.path.isdir(noted) else ""
    return processes.folder(master.pid) if began_here(master) else ""


def note_of(one: Process) -> str:
    return f"{NOTES}/{one.pid}.{one.start}"


def began_here(master: Master) -> bool:
    """Whether it is still in the folder it was started in: some worker is about as old as itself.

    After a HUP all workers are younger.
    """
    oldest = min((one.start for one in workers(master)), default=sys.maxsize)
    return oldest - master.process.start < UNTOUCHED * os.sysconf("SC_CLK_TCK")


def note(master: Master) -> None:
    """Notes it, where it is known, before a HUP; a note once made stays. One that fails only costs a later USR2."""
    if below_current(master.environ.get("PWD", "")) is None and began_here(master):
        try:
            os.makedirs(NOTES, exist_ok=True)
            os.symlink(processes.folder(master.pid), note_of(master.process))
        except OSError:
            pass


def noted() -> list[str]:
    """The start folders of the masters that live. Forgets those of the dead."""
    folders = []
    for name in os.listdir(NOTES) if os.path.isdir(NOTES) else []:
        pid, _, start = name.partition(".")
        if processes.alive(Process(int(pid), 0, int(start))):
            folders.append(os.readlink(f"{NOTES}/{name}"))
        else:
            os.unlink(f"{NOTES}/{name}")
    return folders
