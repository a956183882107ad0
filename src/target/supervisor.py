"""Programs under supervisord, asked by supervisorctl.

`supervisorctl restart` says "started" and ends with 0 even when the program dies after its startsecs: its word is no
proof of anything.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import time
from typing import NamedTuple

import processes
from layout import DEPLOY, is_inside
from managers import Declared, Manager, State, in_configuration, us
from privilege import SUDO, Ran, run, sudo_allows, sudoers_line
from supervisor_config import DEFAULTS, declarations

STATUS = re.compile(r"^(\S+)\s+(STOPPED|STARTING|RUNNING|BACKOFF|STOPPING|EXITED|FATAL|UNKNOWN)\b\s*(.*)$")
PAUSE = 0.5
UNKNOWN = "PROGRAM"


class Daemon(NamedTuple):
    """A supervisord that runs. `config` is empty where it found one by itself, and we cannot see which."""

    pid: int
    control: str
    config: str


class Program(Manager):
    """A program, GROUP:PROGRAM or GROUP:*. `control`: the words of supervisorctl that reach its supervisord."""

    def __init__(self, name: str, control: list[str], sudo: bool = False, wrong: str = "", config: str = "") -> None:
        self.name, self.control, self.sudo, self.wrong, self.config = name, control, sudo, wrong, config
        self.describe = f"{name} (supervisor)"

    def problem(self) -> str:
        return self.wrong

    def by_sudo(self) -> bool:
        return self.sudo

    def ask(self, *words: str) -> Ran:
        return run([*(SUDO if self.sudo else ()), *self.control, *words])

    def state(self) -> State:
        said = self.ask("status", self.name).said
        lines = [match for match in map(STATUS.match, said.splitlines()) if match]
        states = {line.group(2) for line in lines}
        pids = [re.search(r"\bpid (\d+)", line.group(3)) for line in lines]
        return State(
            " / ".join(" ".join(line.group(0).split()) for line in lines) or said,
            bool(states) and states == {"RUNNING"},
            bool(states & {"FATAL", "EXITED", "STOPPED", "UNKNOWN"}) or not states,
            tuple(int(pid.group(1)) for pid in pids if pid),
        )

    def known_state(self, deadline: float) -> State:
        """It tells no number of what it has started within the last `startsecs`."""
        state = self.state()
        while "STARTING" in state.text and time.monotonic() < deadline:
            time.sleep(PAUSE)
            state = self.state()
        return state

    def declared(self) -> list[Declared]:
        return declarations(self.config, self.name)

    def settings(self, command: list[str], folder: str) -> str:
        return f"command={in_configuration(command)}\ndirectory={folder}\n(then: supervisorctl update)"

    def can_hang_up(self) -> bool:
        return True

    def reload(self) -> Ran:
        return self.ask("signal", "HUP", self.name)

    def restart(self) -> Ran:
        """One that is stopping already is waited for: supervisor would refuse to start it."""
        while "STOPPING" in self.state().text:
            time.sleep(PAUSE)
        return self.ask("restart", self.name)

    def stop(self) -> Ran:
        return self.ask("stop", self.name)

    def last_lines(self) -> str:
        names = [line.group(1) for line in map(STATUS.match, self.ask("status", self.name).said.splitlines()) if line]
        tails = [self.ask("tail", "-2000", name, channel) for name in names for channel in ("stdout", "stderr")]
        return "\n".join(each.said for each in tails if not each.code and each.said and "ERROR (" not in each.said)


def named(name: str) -> Program:
    """The program of that name; where several supervisords have one, that of this site."""
    asked = [look_up(name, control, config) for control, config in controls()]
    # Two ways may lead to one supervisord.
    known = [one for one in asked if not one.wrong]
    known = list({number_of(one): one for one in known}.values()) if len(known) > 1 else known
    ours = known if len(known) == 1 else [one for one in known if is_of_site(one)]
    if len(ours) == 1:
        return ours[0]
    if known:
        ways = " and ".join(" ".join(map(shlex.quote, one.control)) for one in known)
        wrong = f"several supervisords have a program {name}, and which one serves {DEPLOY} cannot be seen: {ways}"
        return Program(name, [], wrong=wrong)
    if not asked:
        return Program(name, [], wrong="no supervisord runs, and no supervisorctl is on PATH: is supervisor installed?")
    # One that runs says more than one that is not there.
    there = [one for one in asked if "does not run" not in one.wrong] or asked[:1]
    return Program(name, [], wrong="\n".join(one.wrong for one in there))


def number_of(one: Program) -> str:
    """What its supervisord is known by: its number, else, where that is not ours to ask, its configuration."""
    said = one.ask("pid").said
    return said if said.isdigit() else one.config


def is_of_site(one: Program) -> bool:
    """Whether it is started in deploy_path, or lives there."""
    told = [word for each in one.declared() for word in (*each.command, each.folder)]
    return any(map(is_inside, [*told, *(processes.folder(each.pid) for each in one.state().tree())]))


def controls() -> list[tuple[list[str], str]]:
    """Ways to call supervisorctl, each with the configuration it reads: those of what runs, then its own default."""
    found = [
        ([each.control, *(["-c", each.config] if each.config else [])], each.config or default_config())
        for each in daemons()
    ]
    default = shutil.which("supervisorctl")
    if default:
        found.append(([default], default_config()))
    return found


def daemons() -> list[Daemon]:
    return [each for each in map(daemon, sorted(processes.table())) if each]


def daemon(pid: int) -> Daemon | None:
    """A supervisord as its command line tells of it: a script that some Python runs."""
    words = processes.arguments(pid)
    script = next((word for word in words[:2] if os.path.basename(word) == "supervisord"), "")
    # Its configuration can name code, and beside it lies a supervisorctl: another account's would have us run anything.
    if not script or processes.contained(pid) or processes.user(pid) not in (us(), "root"):
        return None
    return Daemon(pid, control_of(pid, script, words[0]), config_of(words, pid))


def config_of(words: tuple[str, ...], pid: int) -> str:
    for at, word in enumerate(words):
        if word in ("-c", "--configuration"):
            return located("".join(words[at + 1 : at + 2]), pid)
        if word.startswith("--configuration="):
            return located(word.partition("=")[2], pid)
        if word.startswith("-c") and not word.startswith("--"):
            return located(word[2:], pid)
    return ""


def located(path: str, pid: int) -> str:
    """The absolute path, for it changes its folder only where its configuration says so; empty where that is hidden."""
    folder = "" if path.startswith("/") else processes.folder(pid)
    return os.path.normpath(os.path.join(folder, path)) if folder or path.startswith("/") else ""


def control_of(pid: int, script: str, interpreter: str) -> str:
    """The supervisorctl beside it, else the one on PATH."""
    for beside in (located(script, pid), interpreter):
        path = os.path.join(os.path.dirname(beside), "supervisorctl")
        if path.startswith("/") and os.access(path, os.X_OK):
            return path
    return shutil.which("supervisorctl") or "supervisorctl"


def default_config() -> str:
    return next((path for path in DEFAULTS if os.path.exists(path)), "")


def look_up(name: str, control: list[str], config: str) -> Program:
    """The program, asked as ourselves, else by sudo; its `wrong` says why neither helps."""
    one = Program(name, control, config=config)
    ran = one.ask("status", name)
    if reached(ran):
        return recognised(one, ran)
    if os.getuid() and sudo_allows([*control, "status", name]):
        one.sudo = True
        ran = one.ask("status", name)
        if reached(ran):
            return recognised(one, ran)
    one.wrong = unreachable(one, ran)
    return one


def verbs(name: str) -> list[list[str]]:
    """What a deploy or its undo may ask of a program."""
    return [["status", name], ["restart", name], ["signal", "HUP", name], ["stop", name]]


def reached(ran: Ran) -> bool:
    """Whether a supervisord has answered: with the states, or that there is no such program."""
    answered = any(map(STATUS.match, ran.said.splitlines())) or "ERROR (no such" in ran.said
    return ran.code in (0, 3, 4) and answered


def recognised(one: Program, ran: Ran) -> Program:
    if "ERROR (no such" not in ran.said:
        refused = [each for each in verbs(one.name) if one.sudo and not sudo_allows([*one.control, *each])]
        if refused:
            one.wrong = f"{us()} may not {refused[0][0]} {one.name} by sudo without a password. {to_allow(one)}"
        return one
    whole = Program(f"{one.name}:*", one.control, one.sudo, config=one.config)
    asked = whole.ask("status", whole.name) if ":" not in one.name else ran
    if not reached(asked):
        one.wrong = f"supervisor knows no program {one.name}. If it is a group, name it {whole.name}"
        return one
    if "ERROR (no such" not in asked.said:
        return recognised(whole, asked)
    known = [match.group(1) for match in map(STATUS.match, one.ask("status").said.splitlines()) if match]
    near = difflib.get_close_matches(one.name, {*known, *(each.partition(":")[0] for each in known)}, 3)
    choice = f"did you mean {' or '.join(near)}?" if near else f"it knows {', '.join(known) or 'none at all'}"
    one.wrong = f"supervisor knows no program {one.name}: {choice} (a new one: supervisorctl update)"
    return one


def unreachable(one: Program, ran: Ran) -> str:
    said = ran.said.splitlines()[-1] if ran.said else f"exit code {ran.code}"
    asked = " ".join(map(shlex.quote, [*one.control, "status", one.name]))
    if "refused connection" in said or "no such file" in said:
        return f"supervisord does not run, or elsewhere: `{asked}` says: {said}"
    if os.getuid() == 0 or not any(word in ran.said for word in ("PermissionError", "Permission denied", "password")):
        return f"`{asked}` does not work: {said}"
    return (
        f"{us()} may not ask supervisor, nor by sudo: `{asked}` says: {said}. Either set chown={us()} under "
        f"[unix_http_server] of supervisord, or let sudo do it. {to_allow(one)}"
    )


def to_allow(one: Program) -> str:
    named = "" if one.name != UNKNOWN else f" ({UNKNOWN}: its name)"
    asked = verbs(one.name) if one.name != UNKNOWN else [["status"], *verbs(one.name)]
    return f"Add to sudoers{named}:\n  {sudoers_line(us(), [[*one.control, *each] for each in asked])}"


def program_of(pid: int) -> Program | None:
    """The program that a process belongs to; None when no supervisord has started it."""
    table = processes.table()
    while pid in table:
        parent = table[pid].parent
        above = daemon(parent)
        if above:
            control = [above.control, *(["-c", above.config] if above.config else [])]
            return program_with(pid, control, above.config or default_config())
        pid = parent
    return None


def program_with(pid: int, control: list[str], config: str) -> Program:
    """The program whose main process that is; without a name, and wrong, where supervisor does not tell."""
    for sudo in (False, True) if os.getuid() else (False,):
        asked = Program("", control, sudo, config=config)
        for line in asked.ask("status").said.splitlines():
            match = STATUS.match(line)
            if match and re.search(rf"\bpid {pid},", match.group(3)):
                found = look_up(match.group(1), control, config)
                return found
    wrong = unreachable(Program(UNKNOWN, control), run([*control, "status"]))
    return Program("", control, wrong=wrong, config=config)
