"""Decides which signal brings a master to a release.

For a master to take up what `current` points to, its workers must change into a folder below `current` (not the release
it pointed to once), and its interpreter must be named through `current` too, or the libraries stay those of the
environment it was started with.

HUP starts new workers in the old master: what the master itself has imported stays (the application with --preload,
Gunicorn, the worker class, Python). USR2 starts a new master beside the old one.
"""

from __future__ import annotations

import os

import processes
from arguments import Arguments
from command_line import option
from common import answer
from layout import (
    below_current,
    environment_named,
    environment_of,
    follows,
    gunicorn_version,
    live,
    release_folder,
    release_of,
)
from master_settings import Settings, not_ours_to_run, settings_of
from masters import Master, foreign
from start_command import cure
from start_folder import note, start_folder

try:
    from _signal import SIGHUP as SIGHUP  # type: ignore[import-not-found]  # signal costs 4 ms (enum)
    from _signal import SIGUSR2
except ImportError:
    from signal import SIGHUP as SIGHUP
    from signal import SIGUSR2

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import Optional, Tuple

    Choice = Tuple[Optional[int], str]

IN_LIBRARY = ("sync", "gthread", "asgi", "gunicorn.workers.sync.SyncWorker", "gunicorn.workers.gthread.ThreadWorker")
MANAGERS = ("supervisord", "circusd", "runsv", "s6-supervise", "tini", "docker-init", "dumb-init", "catatonit")


def reload_signal(master: Master, release: str, asked: Arguments) -> Choice:
    """HUP or USR2, whichever brings a master to a release; or none, with the reason and what to change."""
    reason = foreign(master)
    if reason:
        return None, reason
    if processes.folder(master.pid).endswith(" (deleted)"):
        return None, f"Gunicorn {master.pid} lives in a removed folder: a reload would end it. {cure(master, asked)}"
    old = environment_of(release_of(processes.folder(master.pid)), asked.venv)
    new = environment_of(release, asked.venv)
    if not master.command:
        return signal_in_the_dark(master, old, new)
    strange = not_ours_to_run(master)
    if strange:
        user, us = processes.user(master.pid), processes.user(os.getpid())
        return None, (
            f"Gunicorn {master.pid} runs as {user}, and {us} will not run {strange}, which belongs to another account: "
            f"hand it over (chown {us} {strange}), or deploy as {user}"
        )
    settings = settings_of(master)
    if settings is None:
        return None, f"Gunicorn {master.pid} cannot read its configuration any more: a reload would end it"
    if not follows(settings.folder):
        return None, (
            f"Gunicorn {master.pid} serves {settings.folder} for ever: it was started there, not in `current`. "
            f"{cure(master, asked)}"
        )
    runs = old if follows(master.interpreter) else environment_named(master.interpreter)
    if new and runs != new and not follows(master.interpreter):
        return None, (
            f"Gunicorn {master.pid} keeps the libraries of {runs or 'an environment that it does not name'} for ever: "
            f"its Python is not named through `current`. {cure(master, asked)}"
        )
    absent = missing_in(release, master) if asked.release else ""  # without: only `check`, and what is live may be ill
    if absent:
        return None, (
            f"Gunicorn {master.pid} was started with {absent}, which the new release does not have. "
            f"{cure(master, asked)}"
        )
    inherited = changed_in_master(master, runs, new, settings)
    if not inherited:
        return SIGHUP, ""
    obstacle = why_no_successor(master, settings.folder)
    if not obstacle:
        return SIGUSR2, ""
    return None, f"Gunicorn {master.pid} needs a new master, for {inherited}, but {obstacle}. {cure(master, asked)}"


def follows_unseen(master: Master, release: str, asked: Arguments) -> bool:
    """Whether HUP brings another user's master to a release, as far as its command line tells; in doubt not."""
    before = released_before(asked)
    options, started = master.options, master.command
    if not before or not started or option(options, "-c", "--config") or "--preload" in options:
        return False
    folder = option(options, "--chdir")
    if not follows(folder) or not follows(master.interpreter) or missing_in(release, master):
        return False
    if any(os.path.exists(os.path.join(each, "gunicorn.conf.py")) for each in (before, os.path.realpath(folder))):
        return False
    old, new = environment_of(before, asked.venv), environment_of(release, asked.venv)
    alike = all(of(old) == of(new) for of in (gunicorn_version, lambda each: os.path.realpath(f"{each}/bin/python")))
    return alike and (old == new or (option(options, "-k", "--worker-class") or "sync") in IN_LIBRARY)


def released_before(asked: Arguments) -> str:
    """The release that was live when this run began; empty in its undo, where the services may be anywhere."""
    path = os.path.join(os.path.dirname(asked.state), "previous")
    if not asked.state or not os.path.exists(path):
        return live()
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        name = os.path.basename(file.read().strip().rstrip("/"))
    return release_folder(name) if name not in ("", asked.release) else ""


def missing_in(release: str, master: Master) -> str:
    """The interpreter or script that leads through `current`, and would lead nowhere in another release."""
    assert master.command
    for path in (master.interpreter, master.command.script):
        below = below_current(path) if path.startswith("/") else ""
        if below and not os.path.exists(os.path.join(release, below)):
            return path
    return ""


def signal_in_the_dark(master: Master, old: str, new: str) -> Choice:
    """With its command line hidden: a new master does no harm if it fails, so it is tried, and the proof decides."""
    if not manager(master) and start_folder(master, ""):
        return SIGUSR2, ""
    if old == new or not new:
        answer("warning", f"Gunicorn {master.pid} hides its arguments (setproctitle): with --preload it mixes releases")
        return SIGHUP, ""
    return None, (
        f"Gunicorn {master.pid} hides how it was started (setproctitle), so whether it takes up another environment "
        f"cannot be seen. Remove setproctitle from the requirements and restart it"
    )


def manager(master: Master) -> str:
    """Who starts another master when this one ends, or ends with it; empty when nobody does."""
    if the_container_lives_by(master):
        return "the container"
    parent = processes.name(master.process.parent)
    unit = processes.unit(master.pid)
    if parent == "systemd" and unit.endswith(".service") and not unit.startswith("user@"):
        return f"systemd ({unit})"
    return parent if parent in MANAGERS else ""


def the_container_lives_by(master: Master) -> bool:
    """It is pid 1, or what a script that is pid 1 waits for; a daemon that pid 1 took over has left its session."""
    parent = master.process.parent
    script = parent == 1 and processes.name(1) != "systemd" and processes.session(master.pid) == processes.session(1)
    return master.pid == 1 or script


def changed_in_master(master: Master, old: str, new: str, settings: Settings) -> str:
    """What the master has in its memory that the release has otherwise; empty when new workers are enough."""
    if settings.preload:
        return "--preload"
    if not new:
        return ""
    if processes.executable(master.pid) != os.path.realpath(new + "/bin/python"):
        return f"another Python, {os.path.realpath(new + '/bin/python')}"
    if gunicorn_version(old) != gunicorn_version(new):
        return f"Gunicorn {gunicorn_version(new) or '(none)'}"
    if old != new and settings.worker_class not in IN_LIBRARY:
        return f"the changed libraries of its worker class, {settings.worker_class}"
    return ""


def why_no_successor(master: Master, folder: str) -> str:
    """What keeps USR2 from starting another master; empty when nothing does."""
    obstacle = why_never_a_successor(master)
    if not obstacle and not start_folder(master, folder):
        return "USR2 returns to the folder it was started in, and that is gone or not known"
    return obstacle


def why_never_a_successor(master: Master) -> str:
    assert master.command
    if master.command.module:
        return "USR2 fails where it was started with `python -m gunicorn`"
    if not master.command.script.startswith("/"):
        return "USR2 fails where it was started by a relative path"
    if the_container_lives_by(master):
        return "the container would end with it: make the container anew"
    if manager(master):
        return f"{manager(master)} manages it and would start a third one"
    return ""


def keep_way_back(master: Master) -> None:
    """To be called before a HUP: it would hide where a master was started, which a later USR2 has to know."""
    if master.command and not why_never_a_successor(master):
        note(master)
