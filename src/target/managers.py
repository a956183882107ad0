"""The process managers that start services: supervisor and systemd. What both can be asked."""

from __future__ import annotations

import os
from typing import NamedTuple

import processes
from privilege import Ran
from processes import Process


class State(NamedTuple):
    """What a manager says of a service. `failed`: it has given up. `group`: the control group of the service alone."""

    text: str
    running: bool
    failed: bool
    mains: tuple[int, ...]
    group: str = ""

    def tree(self) -> list[Process]:
        """Its processes and all that they have started, of every user; those that lost their parent by its group."""
        table = processes.table()
        found = [table[pid] for pid in self.mains if pid in table]
        if self.group.strip("/"):
            found += [one for one in table.values() if one not in found and is_below(one.pid, self.group)]
        for one in found:  # grows while it is walked
            found.extend(each for each in table.values() if each.parent == one.pid and each not in found)
        return found


class Declared(NamedTuple):
    """How a manager starts a service, as far as it tells. `folder` is where, links not resolved; empty if not told."""

    command: tuple[str, ...]
    folder: str


class Manager:
    """One service under a manager. `describe`: `web (supervisor)`, `shop.service (systemd)`."""

    describe: str

    def problem(self) -> str:
        """What keeps us from restarting it, with what to change; empty when nothing does. Changes nothing."""
        raise NotImplementedError

    def by_sudo(self) -> bool:
        """Whether `problem` found that only `sudo -n` may."""
        raise NotImplementedError

    def state(self) -> State:
        raise NotImplementedError

    def known_state(self, deadline: float) -> State:
        """Its state once the manager tells its processes, as far as that is so in time."""
        return self.state()

    def declared(self) -> list[Declared]:
        """Empty when that cannot be read."""
        raise NotImplementedError

    def settings(self, command: list[str], folder: str) -> str:
        """The lines of its configuration that start it so."""
        raise NotImplementedError

    def can_hang_up(self) -> bool:
        """Whether `reload` sends HUP to the service."""
        raise NotImplementedError

    def reload(self) -> Ran:
        raise NotImplementedError

    def restart(self) -> Ran:
        """Stops it if it runs, and starts it by its command. The code says little: it may end a moment later."""
        raise NotImplementedError

    def stop(self) -> Ran:
        raise NotImplementedError

    def last_lines(self) -> str:
        """The end of its log; empty where we may not see it."""
        raise NotImplementedError


def named(kind: str, name: str) -> Manager:
    """The service of that name under a manager, `supervisor` or `systemd`, whether it exists or not."""
    if kind == "supervisor":
        import supervisor

        return supervisor.named(name)
    import systemd

    return systemd.Unit(name)


def manager_of(pid: int) -> Manager | None:
    """What has started a process and can start it again; None when nothing that we know has."""
    import supervisor
    import systemd

    return supervisor.program_of(pid) or systemd.unit_of(pid)


def is_below(pid: int, group: str) -> bool:
    return f"{processes.control_group(pid)}/".startswith(f"{group}/")


def in_configuration(command: list[str]) -> str:
    """A command as the configuration of either manager wants it."""
    words = [word.replace("%", "%%") for word in command]
    return " ".join(f'"{word}"' if any(each in word for each in " '") else word for word in words)


def us() -> str:
    return processes.user(os.getpid())
