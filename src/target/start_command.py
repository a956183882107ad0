"""The lines that start a Gunicorn so that every reload works, and what of a live one's command a new release gets."""

from __future__ import annotations

import os

import processes
from arguments import Arguments
from command_line import Command, option
from layout import CURRENT, DEPLOY, environment_of, gunicorn_version, is_deploy_path, live, release_folder, release_of
from master_settings import settings_of, without_handover
from masters import Master

RELEASE = "releases/[^/]+"


def cure(master: Master, asked: Arguments) -> str:
    """What to type so that a master can be reloaded."""
    return f"Start it with:\n  {start_again(master, asked)}"


def start_again(master: Master, asked: Arguments) -> str:
    """Its own command, in the words that let every reload work."""
    if not master.command:
        return start_command(asked)
    folder = option(master.options, "--chdir") or processes.folder(master.pid)
    return quoted(
        [*python_and_gunicorn(CURRENT, asked), "--chdir", through_current(folder, asked), *kept(master.command)]
    )


def start_command(asked: Arguments) -> str:
    """The command for a site that nothing serves yet."""
    words = [*python_and_gunicorn(CURRENT, asked), "--chdir", os.path.normpath(f"{CURRENT}/{project(asked)}")]
    # From 25.1 on, all Gunicorns of a user would share one control socket.
    version = gunicorn_version(environment_of(live(), asked.venv)).split(".")
    if [int(each) for each in version[:2] if each.isdigit()] >= [25, 1]:
        words.append("--no-control-socket")
    return quoted([*words, "--bind", "127.0.0.1:8000", found_module(asked) or "PROJECT.wsgi"])


def project(asked: Arguments) -> str:
    """The folder of manage.py below the live release: as prelude.ts finds it, `.` where that is not clear."""
    if asked.project or os.path.isfile(f"{live()}/manage.py"):
        return asked.project or "."
    found = []
    for folder, folders, files in os.walk(live()):
        below = os.path.relpath(folder, live())
        found += [below] * ("manage.py" in files and not os.path.islink(os.path.join(folder, "manage.py")))
        deep = below.count("/") >= 2
        folders[:] = [] if deep else [each for each in folders if each not in ("node_modules", asked.venv)]
    return found[0] if len(found) == 1 else "."


def found_module(asked: Arguments) -> str:
    place = os.path.join(live(), project(asked))
    folders = sorted(os.listdir(place)) if os.path.isdir(place) else []
    found = [each for each in folders if os.path.isfile(f"{place}/{each}/wsgi.py")]
    return f"{found[0]}.wsgi" if len(found) == 1 else ""


def quoted(words: list[str]) -> str:
    import shlex

    return " ".join(shlex.quote(word) for word in words)


def in_release(master: Master, asked: Arguments) -> tuple[list[str], str, dict[str, str]]:
    """Its command, folder and environment, as if it had been started in the new release: only to be looked at."""
    assert master.command
    release = release_folder(asked.release)
    settings = settings_of(master)
    folder = release + (through_current(settings.folder, asked)[len(CURRENT) :] if settings else "")
    words = [*python_and_gunicorn(release, asked), *(rerouted(word, release) for word in kept(master.command))]
    environ = dict(without_handover(master.environ), PWD=folder)
    return [*words, "--chdir", folder, "--check-config"], folder, environ


def python_and_gunicorn(release: str, asked: Arguments) -> list[str]:
    return [f"{release}/{asked.venv}/bin/{each}" for each in ("python", "gunicorn")]


def through_current(folder: str, asked: Arguments) -> str:
    """The same folder of whatever release is live; the project's where it lies in no release."""
    path = os.path.realpath(os.path.join(DEPLOY, folder))
    release = release_of(path)
    return os.path.normpath(f"{CURRENT}/{os.path.relpath(path, release) if release else project(asked)}")


def kept(started: Command) -> list[str]:
    """The options but --chdir, with paths into a release led through `current`."""
    words = list(started.options)
    for at in reversed(range(len(words))):
        if words[at] == "--chdir":
            del words[at : at + 2]
        elif words[at].startswith("--chdir="):
            del words[at]
    return [rerouted(word, CURRENT) for word in words]


def rerouted(word: str, to: str, part: str = f"current|{RELEASE}") -> str:
    """Leads the path in an option, if it goes into a release or through `current`, into another folder."""
    import re

    for match in re.finditer(f"/({part})(?=/|$)", word):
        before = word[: match.start()]
        for slash in re.finditer("/", before):
            if is_deploy_path(before[slash.start() :]):
                return before[: slash.start()] + to + word[match.end() :]
    return word
