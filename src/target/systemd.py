"""Units of systemd, asked by systemctl. Who only looks needs no right; to restart one, polkit or sudo must agree."""

from __future__ import annotations

import difflib
import os
import re
import shutil

import processes
from managers import Declared, Manager, State, in_configuration, us
from privilege import SUDO, Ran, run, sudo_allows, sudoers_line

ASKED = (
    "LoadState,LoadError,ActiveState,SubState,Result,MainPID,ControlGroup,FragmentPath,CanReload,CanStart,"
    "Type,NeedDaemonReload,ExecStart,ExecReload,WorkingDirectory"
)
REFUSED = ("Interactive authentication required", "Access denied", "Permission denied", "not permitted")


class Unit(Manager):
    """A unit of the machine, or of our own user's systemd if only that one has it. `name` is as sites.yml says it."""

    def __init__(self, name: str, user: bool | None = None) -> None:
        self.name, self.sudo = name, False
        self.control = [shutil.which("systemctl") or "systemctl", *(["--user"] if user else [])]
        if user is None and self.show()["LoadState"] == "not-found":
            own = Unit(name, True)
            if own.show()["LoadState"] == "loaded":
                self.control = own.control
        self.describe = f"{name} (systemd{', of the user' if '--user' in self.control else ''})"

    def show(self) -> dict[str, str]:
        """Its properties; LoadState is `unreachable` where systemd does not answer."""
        ran = run([*self.control, "show", self.name, "-p", ASKED])
        pairs = (line.partition("=") for line in ran.said.splitlines())
        found = {key: value for key, equals, value in pairs if equals}
        unknown = dict.fromkeys(ASKED.split(","), "")
        if ran.code or "LoadState" not in found:
            return {**unknown, "LoadState": "unreachable", "LoadError": ran.said or f"exit code {ran.code}"}
        return {**unknown, **found}

    def problem(self) -> str:
        seen = self.show()
        if seen["LoadState"] == "unreachable":
            return f"systemd does not answer: {seen['LoadError'].splitlines()[-1]}"
        if seen["LoadState"] == "not-found":
            return f"systemd knows no unit {self.name}{self.near()}"
        if seen["LoadState"] == "masked":
            return f"{self.name} is masked: `systemctl unmask {self.name}`"
        if seen["LoadState"] != "loaded":
            return f"systemd cannot read the unit {self.name} ({seen['FragmentPath']}): {seen['LoadError']}"
        return self.not_allowed(seen)

    def near(self) -> str:
        kinds = ("list-units", "--all"), ("list-unit-files",)
        said = "\n".join(run([*self.control, *each, "--plain", "--no-legend"]).said for each in kinds)
        names = sorted({line.split()[0] for line in said.splitlines() if line.split()})
        wanted = self.name if "." in self.name else f"{self.name}.service"
        found = difflib.get_close_matches(wanted, names, 3)
        return f": did you mean {' or '.join(found)}?" if found else ""

    def not_allowed(self, seen: dict[str, str]) -> str:
        """Asks polkit for what changes nothing: to start what runs, or to stop what does not; sudo for each verb."""
        self.sudo = False
        if os.getuid() == 0 or "--user" in self.control:
            return ""
        verb = "stop" if seen["ActiveState"] in ("inactive", "failed") else "start"
        harmless = ("--no-ask-password", "--no-block", "--job-mode=ignore-dependencies")
        tried = run([*self.control, *harmless, verb, self.name])
        if not any(word in tried.said for word in REFUSED):
            return ""
        verbs = ("restart", "stop", *(["reload"] if self.can_hang_up() else []))
        commands = [[*self.control, each, self.name] for each in verbs]
        refused = next((each for each, command in zip(verbs, commands) if not sudo_allows(command)), "")
        self.sudo = not refused
        if self.sudo:
            return ""
        return (
            f"{us()} may not {refused} {self.name}: neither polkit nor sudo lets it without a password. "
            f"Add to sudoers:\n  {sudoers_line(us(), commands)}"
        )

    def by_sudo(self) -> bool:
        return self.sudo

    def state(self) -> State:
        seen = self.show()
        said = f"{seen['ActiveState'] or seen['LoadState']} ({seen['SubState']})"
        result = seen["Result"]
        main = seen["MainPID"] or "0"
        over = seen["ActiveState"] == "inactive" and seen["Type"] == "oneshot"
        return State(
            said if result in ("", "success") else f"{said}, {result}",
            over or seen["ActiveState"] in ("active", "reloading"),
            not over and seen["ActiveState"] in ("failed", "inactive", ""),
            (int(main),) if main != "0" else (),
            seen["ControlGroup"],
        )

    def declared(self) -> list[Declared]:
        seen = self.show()
        started = re.search(r"argv\[\]=(.*?) ; ignore_errors=", seen["ExecStart"])
        if not started:
            return []
        path = re.search(r"path=(.*?) ; argv\[\]=", seen["ExecStart"])
        words, folder = started.group(1), seen["WorkingDirectory"].lstrip("!")
        # The arguments come without quotes: only the path may hold a space and be told.
        if path and words.startswith(path.group(1)):
            return [Declared((path.group(1), *words[len(path.group(1)) :].split()), folder)]
        return [Declared(tuple(words.split()), folder)]

    def settings(self, command: list[str], folder: str) -> str:
        start = f"[Service]\nExecStart={in_configuration(command)}\nWorkingDirectory={folder}"
        return f"{start}\n(systemctl edit --full {self.name}, then: systemctl daemon-reload)"

    def can_hang_up(self) -> bool:
        """Whether a reload sends HUP: another ExecReload may do anything."""
        seen = self.show()
        return seen["CanReload"] == "yes" and re.search(r"\bkill\b.*\bHUP\b", seen["ExecReload"]) is not None

    def reload(self) -> Ran:
        return self.change("reload")

    def restart(self) -> Ran:
        return self.change("restart")

    def stop(self) -> Ran:
        return self.change("stop")

    def change(self, verb: str) -> Ran:
        if self.sudo:
            return run([*SUDO, *self.control, verb, self.name])
        return run([self.control[0], "--no-ask-password", *self.control[1:], verb, self.name])

    def last_lines(self) -> str:
        said = run([*self.control, "status", "--no-pager", "--full", "-n", "20", self.name]).said
        return said if "Loaded:" in said else ""


def unit_of(pid: int) -> Unit | None:
    """The service that a process belongs to, ours or the machine's; None when systemd has not started it as one."""
    path = processes.control_group(pid)
    names = [each for each in path.split("/") if each.endswith(".service")]
    if not names:
        return None
    ours = names[0] == f"user@{os.getuid()}.service"
    if names[0].startswith("user@") and not (ours and len(names) > 1):
        return None
    unit = Unit(names[-1], ours)
    # What a login or a cron job has started lies in their units, which are not to be restarted for it.
    one = processes.process(pid)
    return unit if one and {one.pid, one.parent} & set(unit.state().mains) else None
