"""Has a uWSGI reload by the file that it watches (`touch-reload`), and proves that it runs a release.

    python3 -ES touch.py check|restart --file FILE --venv .venv [--release ID] [--timeout SECONDS] [--state FILE]

It is run in deploy_path. uWSGI finishes the requests of its old workers, and starts itself again where it was started:
only what it is told (`chdir`, `home`) leads it to another release, and only if that goes through `current`. `check`
notes in --state which ones there are: one that is gone later is a failure, in the undo as well.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

import processes
import uwsgi
from arguments import Arguments, parse
from common import answer, fail
from layout import CURRENT, follows, live, release_of
from processes import Process
from tree import judge

PAUSE = 0.1
STABLE = 1.0  # seconds that its workers must stay


def main(words: list[str]) -> None:
    asked = parse(words)
    {"check": check, "restart": restart}[asked.verb](asked)


def check(asked: Arguments) -> None:
    problems = [not_writable(asked.file)]
    found = watchers(asked.file)
    if not found:
        answer("note", f"no uWSGI that watches {asked.file} was found: whether one reloads will not be known")
    problems += [stuck(one, asked) for one in found]
    if asked.state:
        with open(asked.state, "w", encoding="ascii") as file:
            file.writelines(f"{one.pid} {one.start}\n" for one in found)
    for problem in filter(None, problems):
        answer("problem", problem)
    sys.exit(1 if any(problems) else 0)


def not_writable(path: str) -> str:
    """What keeps us from touching it."""
    us = processes.user(os.getpid())
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        return f"restart: {path} is a folder; uWSGI watches a file"
    if os.path.exists(path):
        return "" if os.access(path, os.W_OK) else f"{us} may not touch {path}: sudo chown {us} {path}"
    if not os.path.isdir(folder):
        return f"restart: there is no folder {folder} for {os.path.basename(path)}"
    return "" if os.access(folder, os.W_OK) else f"{us} may not make {path}: sudo install -o {us} /dev/null {path}"


def watchers(path: str) -> list[Process]:
    """The uWSGIs that were told to watch the file (or, by their Emperor, are told by it what they are), else those that
    serve this site."""
    tops = uwsgi.tops()
    told = [one for one in tops if os.path.realpath(path) in map(os.path.realpath, watched(one.pid))]
    return told or [one for one in tops if any(release_of(processes.folder(each.pid)) for each in staff(one))]


def watched(pid: int) -> list[str]:
    told = uwsgi.settings(pid).items()
    folder = uwsgi.started_in(pid)
    return [os.path.join(folder, path) for name, values in told if "touch" in name or name == "ini" for path in values]


def staff(top: Process) -> list[Process]:
    """The workers of a uWSGI; itself where it has no master."""
    return [one for one in processes.children(top.pid) if uwsgi.is_uwsgi(one.pid)] or [top]


def stuck(top: Process, asked: Arguments) -> str:
    """What keeps a uWSGI in the release of before; empty where nothing does, or where its settings cannot be read."""
    told = uwsgi.settings(top.pid)
    if any(told["unread"]) or not any(release_of(processes.folder(one.pid)) for one in staff(top)):
        return ""
    folder, home = uwsgi.folder(top.pid), uwsgi.home(top.pid)
    lines = []
    if not follows(folder):
        lines.append(f"chdir = {CURRENT}")
    if not follows(home) and os.path.isdir(f"{live()}/{asked.venv}"):
        lines.append(f"home = {CURRENT}/{asked.venv}")
    if not lines:
        return ""
    return f"uWSGI {top.pid} would run the release of before for ever. Have its configuration say:\n" + "\n".join(lines)


def restart(asked: Arguments) -> None:
    deadline = time.monotonic() + float(asked.timeout)
    found = watchers(asked.file)
    before = {one for top in found for one in staff(top)}
    with_workers = {top for top in found if top not in before}
    touch(asked.file)
    print(f"touched {asked.file}", flush=True)
    if not found:
        refuse_dead(asked)
        answer("unproven", f"no uWSGI that watches {asked.file} was found")
        return
    since, settled = time.monotonic(), frozenset()  # type: float, frozenset[Process]
    while True:
        now = time.monotonic()
        alive = [one for one in found if processes.alive(one)]
        ended = next((one for one in found if one not in alive), None)
        if ended:
            fail(f"the server is down: uWSGI {ended.pid} ended when {asked.file} was touched; its log says why")
        present = frozenset(one for top in alive for one in staff(top))
        judged = judge(sorted(present), before, asked)
        # While a master imports the application it has no workers yet.
        wrong = judged.wrong or ("it has no workers yet" if present & with_workers else "")
        if wrong or present != settled:
            since, settled = now, frozenset() if wrong else present
        elif now - since >= STABLE:
            break
        if now > deadline:
            fail(f"uWSGI does not run {asked.release}: {wrong or 'its workers come and go'}")
        time.sleep(PAUSE)
    refuse_dead(asked)
    if judged.unclear:
        answer("unproven", f"uWSGI: {judged.unclear}")
        return
    print(f"uWSGI: {judged.proven} workers seen to run {asked.release}", flush=True)
    answer("served", " ".join(str(one.pid) for one in found))


def refuse_dead(asked: Arguments) -> None:
    """Fails if one that was there at `check` has ended and nothing has taken its place."""
    if not os.path.exists(asked.state):
        return
    with open(asked.state, encoding="ascii") as file:
        seen = [Process(int(pid), 0, int(start)) for pid, start in map(str.split, file)]
    dead = [one for one in seen if not processes.alive(one)]
    if dead and len(watchers(asked.file)) < len(seen):
        fail(f"the server is down: uWSGI {dead[0].pid}, which was told to watch {asked.file}, has ended: see its log")


def touch(path: str) -> None:
    """Gives the file a time that is later by a whole second at least: uWSGI compares no fractions."""
    with open(path, "ab"):
        pass
    old = int(os.stat(path).st_mtime)
    with suppress(PermissionError):
        os.utime(path, (max(time.time(), old + 1), max(time.time(), old + 1)))
        return
    while time.time() < old + 1:
        time.sleep(PAUSE)
    os.utime(path)


if __name__ == "__main__":
    main(sys.argv[1:])
