"""Proves that the workers of a site run a release, with the libraries of its environment: by the kernel's word.

Of another user's workers the kernel tells only the command line and when they started: such a proof is a weak one, and
worth something only together with an answer of the site.
"""

from __future__ import annotations

import os
import time

import processes
from arguments import Arguments
from command_line import command, is_hidden
from layout import environment_named, environment_of, release_folder
from masters import Master, workers
from processes import Process

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import Callable

# Seconds that all workers must be there, booted and proven, without one dying or coming: a worker that fails in its
# first moments is replaced by then. That its application is imported is seen by itself (`booted`): no time tells it.
STABLE = 1.0
PAUSE = 0.05


class Gone(Exception):
    """There is no master left that could be proven."""


def proof(
    find: Callable[[], list[Master]],
    before: set[Process],
    asked: Arguments,
    deadline: float,
    patient: bool = False,
    unseen: Callable[[Process], bool] = lambda one: True,
) -> str:
    """Waits until every worker of the masters found is proven, and stays; empty then, else what is wrong with one.

    `before`: workers that have to be gone. `unseen`: whether a worker that hides what it runs is one to believe.
    `deadline`: of time.monotonic(). Raises Gone when there is no master any more, unless patient.
    """
    since, settled = time.monotonic(), None
    while True:
        found = find()
        if not found and not patient:
            raise Gone
        staff = {master.pid: workers(master) for master in found}
        present = {one for each in staff.values() for one in each}
        reason = why_unproven(found, staff, before, asked, unseen)
        now = time.monotonic()
        if reason or present != settled:
            since, settled = now, None if reason else present
        elif now - since >= STABLE:
            return ""
        if now > deadline:
            return reason or "its workers come and go"
        time.sleep(PAUSE)


def why_unproven(
    found: list[Master],
    staff: dict[int, list[Process]],
    before: set[Process],
    asked: Arguments,
    unseen: Callable[[Process], bool] = lambda one: True,
) -> str:
    if not found:
        return "no Gunicorn serves the site now"
    for master in found:
        if not staff[master.pid]:
            return f"Gunicorn {master.pid} has no workers"
        for one in staff[master.pid]:
            hidden = processes.hidden(one.pid)
            reason = why_not_unseen(one, before, asked, unseen) if hidden else why_not(one, before, asked)
            if reason:
                return f"worker {one.pid} {reason}"
    return ""


def why_not(one: Process, before: set[Process], asked: Arguments) -> str:
    """What keeps a worker from being proven, in words that follow its name; empty when nothing does."""
    release = os.path.realpath(release_folder(asked.release))
    folder = processes.folder(one.pid)
    if one in before:
        return "is still one of before"
    if folder != release and not folder.startswith(release + "/"):
        return f"runs in {folder or 'a folder that cannot be seen'}"
    env = environment_of(release, asked.venv)
    if env and runs_environment(one) != env and not maps_only(one, env):
        return f"runs with {runs_environment(one) or 'libraries of another environment'}"
    if env and processes.executable(one.pid) != os.path.realpath(env + "/bin/python"):
        return f"executes {processes.executable(one.pid)}"
    return "" if booted(one) else "has not booted yet"


def why_not_unseen(one: Process, before: set[Process], asked: Arguments, unseen: Callable[[Process], bool]) -> str:
    """The same for a worker of another user, by what little it shows."""
    if one in before or not unseen(one):
        return "was started before the switch"
    env = environment_of(release_folder(asked.release), asked.venv)
    return f"runs with {runs_environment(one)}" if env and runs_environment(one) not in ("", env) else ""


def runs_environment(one: Process) -> str:
    """The environment that the interpreter on its command line belongs to; empty when hidden."""
    started = command(processes.arguments(one.pid))
    return environment_named(Master(one, started, processes.environment(one.pid)).interpreter)


def maps_only(one: Process, env: str) -> bool:
    """Where setproctitle hides the command line: its own library tells where the libraries come from."""
    libraries = [path for path in processes.mapped(one.pid) if "/site-packages/" in path]
    hidden = is_hidden(processes.arguments(one.pid))
    return hidden and bool(libraries) and all(path.startswith(env + "/") for path in libraries)


def booted(one: Process) -> bool:
    """Whether it has imported its application and entered its loop.

    It then reports to its master on a deleted file: the times of it (the mode, before Gunicorn 21) are not those it
    was made with. A worker without such a file is believed. One that has just been forked has those of its siblings,
    too, which it closes: so all must tell it.
    """
    files = [
        number for number, path in processes.open_files(one.pid) if os.path.basename(path).startswith("wgunicorn-")
    ]
    return all(reported(one.pid, number) for number in files)


def reported(pid: int, number: int) -> bool:
    try:
        status = os.stat(f"/proc/{pid}/fd/{number}")
    except OSError:
        return False
    return status.st_mode & 0o777 in (0, 1) or status.st_mtime < status.st_ctime - 86400
