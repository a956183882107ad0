"""Runs the programs of a process manager: as ourselves, or by `sudo -n` where only root may."""

from __future__ import annotations

import os
import shutil
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
    """Whether sudo would run it without asking for a password, as far as sudo tells without running it."""
    if not shutil.which("sudo") or run([*SUDO, "-l", *words]).code:
        return False
    program = os.path.basename(words[0])
    granted = [line for line in run([*SUDO, "-l"]).said.splitlines() if "NOPASSWD:" in line]
    return any(program in line or line.rstrip().endswith("ALL") for line in granted)


def sudoers_line(user: str, commands: list[list[str]]) -> str:
    """The line that allows the commands, to be put into /etc/sudoers by visudo."""
    allowed = ", ".join(" ".join([words[0], *map(escaped, words[1:])]) for words in commands)
    return f"{user} ALL=(root) NOPASSWD: {allowed}"


def escaped(word: str) -> str:
    """An argument as sudoers wants it."""
    return "".join("\\" + each if each in "\\,:=*?[]! " else each for each in word)
