"""Proves that the processes of a service run a release, whatever the service is: Gunicorn, Celery, uWSGI, a script.

Of a Gunicorn the workers are proven (proof.py). Of anything else each process that is a Python: it was started after
the restart, lives inside the release, and has the release's environment.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import processes
import uwsgi
from arguments import Arguments
from layout import DEPLOY, environment_named, environment_of, release_folder
from masters import Master, masters, workers
from processes import Process
from proof import why_unproven


class Judgement(NamedTuple):
    """`wrong`: what is surely not the release. `unclear`: what cannot be seen, `hidden` where only because it is of
    another user. `proven`: how many processes are."""

    wrong: str
    unclear: str
    hidden: bool
    proven: int
    gunicorns: list[Master]


def judge(tree: list[Process], before: set[Process], asked: Arguments) -> Judgement:
    """What can be said of a service's processes now; `before` are those that the restart should have ended."""
    pids = {one.pid for one in tree}
    gunicorns = [each for each in masters() if each.pid in pids and processes.folder(each.pid)]
    staff = {each.pid: workers(each) for each in gunicorns}
    done = {one.pid for each in staff.values() for one in each} | set(staff)
    wrong = why_unproven(gunicorns, staff, before, asked) if gunicorns else ""
    unclear, hidden, proven = "", True, sum(map(len, staff.values()))
    for one in tree:
        if one.pid in done:
            continue
        if one in before:
            wrong = wrong or f"{named(one)} is still one of before"
        elif is_python(one):
            its_wrong, its_unclear = judge_one(one, asked)
            wrong, unclear = wrong or its_wrong, unclear or its_unclear
            hidden = hidden and (not its_unclear or not processes.folder(one.pid))
            proven += not its_wrong and not its_unclear
    if not wrong and not unclear and not proven:
        unclear, hidden = "none of its processes is a Python", False
    return Judgement(wrong, unclear, hidden, proven, gunicorns)


def named(one: Process) -> str:
    return f"{processes.name(one.pid) or 'process'} {one.pid}"


def is_python(one: Process) -> bool:
    """Whether it is a Python, or has one in it."""
    words = processes.arguments(one.pid)
    names = (os.path.basename(processes.executable(one.pid)), os.path.basename(words[0]) if words else "")
    return any(name.startswith(("python", "pypy")) for name in names) or uwsgi.is_uwsgi(one.pid)


def judge_one(one: Process, asked: Arguments) -> tuple[str, str]:
    """What is wrong with a Python, and what is unclear about it; both empty when it is proven."""
    release = os.path.realpath(release_folder(asked.release))
    env = environment_of(release, asked.venv)
    where, name = processes.folder(one.pid), named(one)
    if not where:
        told = environment_named(interpreter(one))
        if env and told != env and told.startswith(DEPLOY + "/"):
            return f"{name} runs with {told}", ""
        return "", f"{name} belongs to {processes.user(one.pid)}: the folder that it is in cannot be seen"
    if where != release and not where.startswith(release + "/"):
        said = f"{name} runs in {where}"
        return (said, "") if where.startswith(DEPLOY + "/releases/") else ("", said)
    if not env:
        return "", ""
    has = environment_had(one)
    if not has:
        return "", f"{name} does not tell which libraries it has"
    if has != env:
        return f"{name} runs with {has}", ""
    if not uwsgi.is_uwsgi(one.pid) and processes.executable(one.pid) != os.path.realpath(env + "/bin/python"):
        return f"{name} executes {processes.executable(one.pid)}", ""
    return "", ""


def environment_had(one: Process) -> str:
    """The environment of a Python started after the switch: by its command line, else by what it has mapped."""
    if uwsgi.is_uwsgi(one.pid):
        told = uwsgi.home(one.pid)
        return os.path.realpath(os.path.join(DEPLOY, told)) if told else mapped(one)
    return environment_named(interpreter(one)) or mapped(one)


def interpreter(one: Process) -> str:
    """Its Python, absolute, links not resolved; empty where a title is written over its command line."""
    words = processes.arguments(one.pid)
    if not words or not os.path.basename(words[0]).startswith(("python", "pypy")):
        return ""
    if "/" in words[0]:
        return os.path.join(processes.folder(one.pid), words[0])
    search = processes.environment(one.pid).get("PATH", "").split(":")
    return next((f"{each}/{words[0]}" for each in search if os.access(f"{each}/{words[0]}", os.X_OK)), "")


def mapped(one: Process) -> str:
    """The only environment of this site whose libraries it has mapped."""
    head = DEPLOY + "/.deployer/environments/"
    found = {path[len(head) :].partition("/")[0] for path in processes.mapped(one.pid) if path.startswith(head)}
    return os.path.realpath(head + found.pop()) if len(found) == 1 else ""
