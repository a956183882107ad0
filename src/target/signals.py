"""Brings one master to the release that `current` points to, by the signal that was chosen, and proves it.

USR2 starts a new master beside the old one, which then gets TERM; never QUIT, which cuts requests. With USR2 the old
master serves on when the new one fails; with HUP both are gone.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Callable, NoReturn

import processes
from arguments import Arguments
from command_line import option
from common import answer, fail
from masters import Master, named_by, successors, workers
from processes import Process
from proof import PAUSE, Gone, booted, proof
from start_command import start_again

SUCCESSION = 10.0  # seconds within which USR2 must have started another master, and a failed master must have left


def end_strays(master: Master) -> None:
    """Ends a second master that an interrupted reload has left beside this one."""
    for stray in successors(master):
        end(stray)


def end(one: Process) -> None:
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL):
        if not processes.alive(one):
            return
        os.kill(one.pid, number)
        until(lambda: not processes.alive(one), time.monotonic() + SUCCESSION)


def until(true: Callable[[], bool], deadline: float) -> bool:
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


def hang_up(master: Master, asked: Arguments, deadline: float) -> Master:
    """HUP. Returns the master that serves, proven; ends the program as failed when it is not."""
    before = set(workers(master))
    os.kill(master.pid, signal.SIGHUP)
    end_unbooted(before)
    try:
        reason = proof(lambda: living(master), before, asked, deadline)
    except Gone:
        fail(
            f"the server is down: Gunicorn {master.pid} ended when it was reloaded, for the release does not boot",
            f"its log says why. Start it again with: {start_again(master, asked)}",
        )
    if reason:
        fail(f"Gunicorn {master.pid} was reloaded, but does not serve {asked.release}: {reason}")
    print(f"Gunicorn {master.pid}: reloaded (HUP)", flush=True)
    return master


def end_unbooted(before: set[Process]) -> None:
    """Ends workers that still import the release of before: none has served, TERM may pass them by, and one that fails
    later would end the whole server."""
    for one in before:
        if processes.alive(one) and not booted(one):
            os.kill(one.pid, signal.SIGKILL)


def living(master: Master) -> list[Master]:
    return [master] if processes.alive(master.process) else []


def succeed(master: Master, asked: Arguments, deadline: float) -> Master:
    """USR2, then TERM to the old one. Returns the new master, proven; ends the program as failed when there is none."""
    os.kill(master.pid, signal.SIGUSR2)
    new = await_successor(master, asked, deadline)
    try:
        reason = proof(lambda: living(new), set(), asked, deadline)
    except Gone:
        reason = "the new master ended while it started; its log says why"
    if reason:
        end(new.process)
        keeps_serving(master, asked, reason)
    os.kill(master.pid, signal.SIGTERM)
    if not until(lambda: not processes.alive(master.process), deadline):
        answer("warning", f"the old Gunicorn {master.pid} still finishes its last requests")
    until(lambda: promoted(master, new, asked), time.monotonic() + 3)
    if not processes.alive(new.process):
        fail(f"the server is down: the new Gunicorn {new.pid} ended", f"Start it with: {start_again(master, asked)}")
    print(f"Gunicorn {new.pid} has taken over from {master.pid} (USR2, TERM)", flush=True)
    return new


def await_successor(master: Master, asked: Arguments, deadline: float) -> Master:
    found: list[Process] = []

    def appeared() -> bool:
        found.extend(successors(master))
        return bool(found)

    if not until(appeared, min(deadline, time.monotonic() + SUCCESSION)):
        keeps_serving(master, asked, f"USR2 started no other master within {SUCCESSION:.0f} s; its log says why")
    return Master(found[0], master.command, processes.environment(found[0].pid))


def keeps_serving(master: Master, asked: Arguments, reason: str) -> NoReturn:
    fail(f"Gunicorn {master.pid} serves on as before, for no successor came to serve {asked.release}: {reason}")


def promoted(old: Master, new: Master, asked: Arguments) -> bool:
    """Whether the pid file, where it has one, names the new master: it is renamed within a second."""
    path = asked.at or option(old.options, "-p", "--pid")
    has_file = os.path.isfile(path) or os.path.isfile(path + ".2")
    return not has_file or new.pid in named_by(path)
