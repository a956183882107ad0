"""The command line of a Gunicorn, taken apart."""

from __future__ import annotations

import os

from named_tuple import NamedTuple

TAKES_VALUE = ("-X", "-W", "--check-hash-based-pycs")  # options of Python


class Command(NamedTuple):
    """How a Gunicorn was started, in its words; `script` is the module's name where `module` is true."""

    interpreter: str
    module: bool
    script: str
    options: tuple[str, ...]


def is_gunicorn(words: tuple[str, ...]) -> bool:
    """Whether that is a Gunicorn that serves, or one of its workers."""
    started = command(words)
    if not started:
        return is_hidden(words)
    return not any(word in ("--check-config", "--print-config") for word in started.options)


def is_hidden(words: tuple[str, ...]) -> bool:
    """Whether setproctitle has written over the command line of a Gunicorn: `gunicorn: master [shop]`."""
    return bool(words) and words[0].startswith("gunicorn: ")


def command(words: tuple[str, ...]) -> Command | None:
    """The parts of the command line of a Gunicorn; None when it is none, or hidden."""
    if not words or is_hidden(words):
        return None
    if not os.path.basename(words[0]).startswith(("python", "pypy")):
        return Command("", False, words[0], words[1:]) if names_gunicorn(words[0]) else None
    at = 1
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        if not words[at].startswith("--") and words[at].endswith("m"):
            module = words[at + 1 : at + 2]
            return Command(words[0], True, module[0], words[at + 2 :]) if module and names_gunicorn(module[0]) else None
        if words[at] == "-c":
            return None
        at += 2 if words[at] in TAKES_VALUE else 1
    script = words[at] if at < len(words) else ""
    return Command(words[0], False, script, words[at + 1 :]) if names_gunicorn(script) else None


def names_gunicorn(script: str) -> bool:
    """`gunicorn`, `/usr/bin/gunicorn3`, `gunicorn-3.11`, and the module's `gunicorn.app.wsgiapp`."""
    base = os.path.basename(script)
    return base.rstrip("0123456789.-") == "gunicorn" or base == "gunicorn.app.wsgiapp"


def option(options: tuple[str, ...], *names: str) -> str:
    """The value of an option, in any of its spellings; the last one counts, empty when there is none."""
    value = ""
    for at, word in enumerate(options):
        for each in names:
            if word == each:
                value = "".join(options[at + 1 : at + 2])
            elif each.startswith("--") and word.startswith(each + "="):
                value = word[len(each) + 1 :]
            elif not each.startswith("--") and word.startswith(each) and not word.startswith("--"):
                value = word[len(each) :]
    return value
