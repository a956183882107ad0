"""What a master was told that decides which signal helps."""

from __future__ import annotations

import os

import processes
from command_line import option
from layout import DEPLOY, follows, release_of
from masters import Master
from named_tuple import NamedTuple

ASK_GUNICORN = """
import sys
from gunicorn.app.wsgiapp import WSGIApplication
sys.argv = sys.argv[1:]
settings = WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]").cfg
print("\\n" + "\\0".join((settings.chdir, "preload" if settings.preload_app else "", str(settings.worker_class_str))))
"""


class Settings(NamedTuple):
    """`folder`: where its workers change into, absolute, not resolved."""

    folder: str
    preload: bool
    worker_class: str


def settings_of(master: Master) -> Settings | None:
    """From its arguments, or, if it reads a configuration file, from Gunicorn itself; None when that fails."""
    options = master.options
    folder = option(options, "--chdir")
    start = started_in(master, folder)
    if option(options, "-c", "--config") or os.path.exists(os.path.join(start, "gunicorn.conf.py")):
        return ask_gunicorn(master, start)
    chosen = option(options, "-k", "--worker-class")
    return Settings(os.path.normpath(os.path.join(start, folder)), "--preload" in options, chosen or "sync")


def not_ours_to_run(master: Master) -> str:
    """The file of another account that it would have us run, when we are root: its Python, its script or its
    configuration; empty when there is none. Anybody can start a process that claims to serve this site."""
    if os.stat(f"/proc/{master.pid}").st_uid == os.getuid() or not master.command:
        return ""
    start = started_in(master, option(master.options, "--chdir"))
    named = option(master.options, "-c", "--config").partition("file:")[2] or option(master.options, "-c", "--config")
    paths = [master.interpreter or processes.executable(master.pid), os.path.join(start, "gunicorn.conf.py")]
    if not master.command.module:
        paths.append(os.path.join(start, master.command.script))
    if named:
        paths.append(os.path.join(start, named))
    for path in paths:
        if os.path.exists(path) and os.stat(path).st_uid not in (0, os.getuid()):
            return path
    return named if named.startswith("python:") else ""


def started_in(master: Master, relative: str) -> str:
    """Where it reads its arguments again: Gunicorn believes $PWD if that is the folder it is in, and returns on HUP."""
    now = processes.folder(master.pid)
    pwd = master.environ.get("PWD", "")
    if not relative:
        return pwd if follows(pwd) and release_of(now) else now
    if relative.startswith("/"):
        return pwd if pwd.startswith("/") and os.path.isdir(pwd) else now
    return next((each for each in (pwd, DEPLOY) if each and os.path.isdir(os.path.join(each, relative))), now)


def ask_gunicorn(master: Master, start: str) -> Settings | None:
    import subprocess

    assert master.command
    python = master.interpreter or processes.executable(master.pid)
    words = [python, "-c", ASK_GUNICORN, master.command.script, *master.command.options]
    environ = dict(without_handover(master.environ), PWD=start)
    done = subprocess.run(words, cwd=start, env=environ, stdout=subprocess.PIPE)
    if done.returncode:
        return None
    said = done.stdout.decode("utf-8", "surrogateescape").rstrip("\n").rpartition("\n")[2]
    folder, preload, chosen = said.split("\0")
    return Settings(folder, bool(preload), chosen)


def without_handover(environ: dict[str, str]) -> dict[str, str]:
    """An environment without what would make a Gunicorn take over sockets."""
    handover = ("GUNICORN_PID", "GUNICORN_FD", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET")
    return {name: value for name, value in environ.items() if name not in handover}
