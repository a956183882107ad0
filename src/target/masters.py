"""The Gunicorns that serve this site: each a master process, followed by its workers."""

from __future__ import annotations

import os

import processes
from command_line import Command, command, is_gunicorn, is_hidden, option
from layout import DEPLOY, follows, is_inside, release_of
from named_tuple import NamedTuple
from processes import Process


class Master(NamedTuple):
    """A Gunicorn that serves this site. `command` is None where setproctitle has written over it."""

    process: Process
    command: Command | None
    environ: dict[str, str]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def options(self) -> tuple[str, ...]:
        """All that Gunicorn was told, GUNICORN_CMD_ARGS first; nothing where the command line is hidden."""
        more = self.environ.get("GUNICORN_CMD_ARGS", "")
        if not self.command or not more:
            return self.command.options if self.command else ()
        import shlex

        return (*shlex.split(more), *self.command.options)

    @property
    def interpreter(self) -> str:
        """Its Python as an absolute path that may lead through `current`; empty when its command line does not tell."""
        path = self.command.interpreter if self.command else ""
        if path.startswith("/"):
            return os.path.normpath(path)
        if "/" in path:
            # Python has resolved it from a folder without links: through `current` only if it says so itself.
            candidate = os.path.join(DEPLOY, path)
            return candidate if follows(candidate) and os.path.exists(candidate) else ""
        search = [each for each in self.environ.get("PATH", "").split(":") if each.startswith("/")]
        return next((f"{each}/{path}" for each in search if path and os.access(f"{each}/{path}", os.X_OK)), "")


def masters(at: str = "") -> list[Master]:
    """The masters that serve this site, by their numbers; of these only what a pid file or a socket `at` names."""
    known = processes.table()
    commands = {pid: processes.arguments(pid) for pid in known}
    gunicorns = {pid: words for pid, words in commands.items() if is_gunicorn(words)}
    tops = [pid for pid in sorted(gunicorns) if not belongs(pid, known[pid].parent, gunicorns)]
    serving = [pid for pid in tops if serves(pid, gunicorns[pid]) and not processes.contained(pid)]
    if at:
        named = named_by(at)
        serving = [pid for pid in serving if pid in named]
    return [Master(known[pid], command(gunicorns[pid]), processes.environment(pid)) for pid in serving]


def belongs(pid: int, parent: int, gunicorns: dict[int, tuple[str, ...]]) -> bool:
    """Whether it is a worker of a Gunicorn, or the master that one has started with USR2."""
    if parent not in gunicorns:
        return False
    return gunicorns[pid] == gunicorns[parent] or is_hidden(gunicorns[pid]) or is_successor(pid, parent)


def is_successor(pid: int, parent: int) -> bool:
    """Whether its parent has started it with USR2: a master of its own. It gets the parent's number when it starts."""
    words = processes.arguments(pid)
    if is_hidden(words):
        return words[0].startswith("gunicorn: master [") and words[0].rstrip().endswith(".2]")
    return processes.environment(pid).get("GUNICORN_PID") == str(parent)


def serves(pid: int, words: tuple[str, ...]) -> bool:
    """Whether it is of this site: by its command line, or by the folder that it or a worker of it is in."""
    started = command(words)
    if started and any(map(is_inside, (started.interpreter, started.script, option(started.options, "--chdir")))):
        return True
    return any(release_of(processes.folder(each)) for each in [pid, *(one.pid for one in processes.children(pid))])


def named_by(path: str) -> list[int]:
    """The processes that a pid file or a Unix socket names. What it names may be gone, or be somebody else's by now."""
    try:
        with open(path, encoding="ascii") as file:
            return [int(file.read())]
    except ValueError:
        return []
    except OSError:
        return processes.listeners_of(path)


def overlooked(at: str) -> str:
    """What is wrong when `at` names no master, yet one serves the site: it would go on as it is. Else empty."""
    others = masters() if at else []
    if not others:
        return ""
    return (
        f"{at} names no Gunicorn that runs, but Gunicorn {others[0].pid} serves {DEPLOY}: start it with "
        f"`--pid {at}` (or bind it to that socket), or use `restart: auto`"
    )


def foreign(master: Master) -> str:
    """What is wrong with a master that we may not signal or look at; empty when we may."""
    if processes.signallable(master.pid) and not processes.hidden(master.pid):
        return ""
    user = processes.user(master.pid)
    us = processes.user(os.getpid())
    return (
        f"Gunicorn {master.pid} serves {DEPLOY} as user {user}: {us} can neither signal it nor see what it runs. "
        f"Run it as {us}, or deploy as {user}, or say how to restart it: `restart: {{command: …}}`"
    )


def workers(master: Master) -> list[Process]:
    """Its workers: other children, such as one that a hook of its has started, have another command line."""
    own = processes.arguments(master.pid)
    return [
        one for one in processes.children(master.pid) if is_worker(one, own) and not is_successor(one.pid, master.pid)
    ]


def is_worker(one: Process, own: tuple[str, ...]) -> bool:
    words = processes.arguments(one.pid)
    return words == own or (bool(words) and words[0].startswith("gunicorn: worker ["))


def successors(master: Master) -> list[Process]:
    """The masters that it has started with USR2 and that have not taken over."""
    return [one for one in processes.children(master.pid) if is_successor(one.pid, master.pid)]


def listens_at(master: Master) -> list[str]:
    """Its addresses, but not the control socket of Gunicorn 25.1 and later."""
    if processes.hidden(master.pid):
        return bound_to(master)
    control = option(master.options, "--control-socket")
    addresses = processes.listens_at(master.pid)
    own = [each for each in addresses if not each.endswith("/gunicorn.ctl") and each != f"unix:{control}"]
    return [f"unix:{located(master, each[5:])}" if each.startswith("unix:") else each for each in own]


def bound_to(master: Master) -> list[str]:
    """The address that its command line names, where that can be read without knowing its folder."""
    address = option(master.options, "-b", "--bind")
    host, colon, port = address.rpartition(":")
    if address.startswith("unix:/"):
        return [address]
    known = colon and port.strip("0").isdigit()
    return [f"{host if host not in ('', '0.0.0.0') else '127.0.0.1'}:{port}"] if known else []


def located(master: Master, path: str) -> str:
    return os.path.normpath(os.path.join(processes.folder(master.pid), path))
