"""A uWSGI: its Python is inside it, so what it was told says which environment it has, not its executable."""

from __future__ import annotations

import os

import processes
from layout import DEPLOY
from processes import Process

HOME = ("home", "virtualenv", "venv", "pyhome", "H")
FOLDER = ("chdir",)
ELSEWHERE = ("xml", "yaml", "yml", "json", "emperor", "include")


def is_uwsgi(pid: int) -> bool:
    """By its command line, which everybody can read; uWSGI may write its name into it (--procname, --auto-procname)."""
    words = processes.arguments(pid)
    name = os.path.basename(words[0].split(" ")[0]) if words else ""
    return name.startswith("uwsgi") or os.path.basename(processes.executable(pid)).startswith("uwsgi")


def tops() -> list[Process]:
    """The uWSGIs of this machine that serve: those that no other has started but an Emperor, and no Emperor."""
    table = processes.table()
    found = {pid for pid in table if is_uwsgi(pid) and not processes.contained(pid)}
    above = [pid for pid in sorted(found) if table[pid].parent not in found]
    emperors = {pid for pid in above if "emperor" in settings(pid)}
    vassals = [pid for pid in sorted(found) if table[pid].parent in emperors]
    return [table[pid] for pid in (*above, *vassals) if pid not in emperors]


def settings(pid: int) -> dict[str, list[str]]:
    """What its command line says, and the ini files that it names; names without dashes, `_` as `-`.

    `unread` is what it names besides, and we cannot read.
    """
    words = processes.arguments(pid)[1:]
    folder = started_in(pid)
    found: dict[str, list[str]] = {}
    for at, word in enumerate(words):
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-"):
            following = "".join(words[at + 1 : at + 2])
            add(found, name, value if equals else "" if following.startswith("-") else following)
        elif word.endswith(".ini"):
            add(found, "ini", word)
    for path in list(found.get("ini", [])):
        pairs = read_ini(os.path.join(folder, path))
        for name, value in pairs or [("unread", path)]:
            add(found, name, value)
    for kind in ELSEWHERE:
        found.setdefault("unread", []).extend(found.get(kind, []))
    return found


def add(found: dict[str, list[str]], name: str, value: str) -> None:
    found.setdefault(name.strip().replace("_", "-"), []).append(value.strip())


def started_in(pid: int) -> str:
    """Where relative paths of its command line were read, as far as its environment tells: for a vassal of an Emperor,
    in the folder of the vassals."""
    own = processes.environment(pid).get("PWD", "") or DEPLOY
    one = processes.process(pid)
    while one and is_uwsgi(one.parent):
        above = settings(one.parent).get("emperor")
        if above:
            return os.path.join(started_in(one.parent), above[-1])
        one = processes.process(one.parent)
    return own


def read_ini(path: str) -> list[tuple[str, str]]:
    """The pairs of an ini file, with its own `%d` and `$(…)` of what is above; empty when it cannot be read."""
    path, _, _ = path.partition(":") if not os.path.exists(path) else (path, "", "")
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    pairs: list[tuple[str, str]] = []
    for line in lines:
        name, equals, value = line.partition("=")
        if not equals or line.lstrip().startswith(("#", ";", "[")):
            continue
        value = value.strip().replace("%d", os.path.dirname(path) + "/")
        for known, meant in pairs:
            value = value.replace(f"$({known})", meant).replace(f"%({known})", meant)
        pairs.append((name.strip(), value))
    return pairs


def chosen(found: dict[str, list[str]], names: tuple[str, ...]) -> str:
    """The last value of an option under any of its names; empty when it is not there."""
    return next((found[name][-1] for name in names if found.get(name)), "")


def home(pid: int) -> str:
    """The virtualenv that it was told, links not resolved; empty when it does not say."""
    return chosen(settings(pid), HOME) or processes.environment(pid).get("VIRTUAL_ENV", "")


def folder(pid: int) -> str:
    """The folder that it was told to change into; empty when it does not say."""
    return chosen(settings(pid), FOLDER)
