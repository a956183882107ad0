"""Runs the programs of a process manager: as ourselves, or by `sudo -n` where only root may."""

from __future__ import annotations

import os
import re
import shutil
from fnmatch import fnmatchcase
from typing import NamedTuple

SUDO = ("sudo", "-n")
NEVER_ENDS = 3600  # seconds; a manager that stops a service first waits for its last requests


class Ran(NamedTuple):
    """How a program ended, and what it said on both streams. 127: there is no such program."""

    code: int
    said: str


def run(words: list[str]) -> Ran:
    """Runs it with no input, in no language but English."""
    import subprocess

    environ = dict(os.environ, LC_ALL="C")
    try:
        done = subprocess.run(
            words,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=NEVER_ENDS,
        )
    except OSError as error:
        return Ran(127, str(error))
    except subprocess.TimeoutExpired:
        return Ran(124, f"{words[0]} did not end within {NEVER_ENDS} s")
    return Ran(done.returncode, done.stdout.decode("utf-8", "surrogateescape").strip())


def sudo_allows(words: list[str]) -> bool:
    """Whether sudo would run it without asking for a password, as far as sudo tells without running it.

    Of one command it tells only whether it is allowed, with or without a password; which, its list says.
    """
    if not shutil.which("sudo") or run([*SUDO, "-l", *words]).code:
        return False
    rights = run([*SUDO, "-l"])
    return not rights.code and without_password(words, rights.said)


def without_password(words: list[str], rights: str) -> bool:
    """By the last entry of the list that means the command as root's, as sudo itself decides."""
    defaults, _, entries = rights.partition(" may run ")
    ways = (" ".join(words), words[0], os.path.dirname(words[0]) + "/", "ALL")
    found = False
    for line in entries.splitlines()[1:]:
        users, _, commands = line.partition(") ")
        free = "!authenticate" in defaults
        for entry in re.split(r"(?<!\\), ", commands.strip()):
            *tags, pattern = re.split(r"(?<=[A-Z]): ", entry) if re.match("[A-Z]+: ", entry) else [entry]
            free = {"NOPASSWD": True, "PASSWD": False}.get("".join(each for each in tags if "PASSWD" in each), free)
            meant = "^" in pattern or any(fnmatchcase(each, unescaped(pattern)) for each in ways)
            found = free if meant and re.search(r"\b(root|ALL)\b", users) else found
    return found


def sudoers_line(user: str, commands: list[list[str]]) -> str:
    """The line that allows the commands, to be put into /etc/sudoers by visudo."""
    allowed = ", ".join(" ".join(map(escaped, words)) for words in commands)
    return f"{user} ALL=(root) NOPASSWD: {allowed}"


def escaped(word: str) -> str:
    """A word of a command as sudoers wants it."""
    return "".join("\\" + each if each in "\\,:=*?[]!#^ " else each for each in word)


def unescaped(entry: str) -> str:
    """A command of sudo's list as a pattern for fnmatch."""
    return re.sub(r"\\(.)", lambda found: f"[{found.group(1)}]" if found.group(1) in "*?[" else found.group(1), entry)
