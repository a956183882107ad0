"""Finds the Gunicorn that serves a site, brings it to another release, and proves that it is there.

    python3 -ES gunicorn.py VERB --venv .venv [--release ID] [--at PATH] [--state FILE] [--timeout SECONDS]
                            [--address-file FILE] [--project FOLDER] [--health-check path|elsewhere]

It is run in deploy_path. VERB is one of:

check         can each master be brought to a new release by the way it was started? `problem=` for each that can not.
              Writes the masters it saw to --state, so that a later verb knows when one has died, and where they listen
              to --address-file.
look          only writes what `check` writes: what a command restarts need not be fit for a signal.
environment   can each master take up the environment of --release? Asked before anything depends on it.
check-config  `gunicorn --check-config` of --release, with the arguments of each live master.
reload        brings each master to --release, to which `current` points already, and proves it. `served=PIDS`, or
              `unserved=COMMAND` when no Gunicorn is there.
prove         the same proof with no signal, for what this step has restarted otherwise. `served=` or `unproven=`.

A master is followed by its workers, and the workers are what is proven. Where to read on: masters.py finds the masters
and command_line.py takes their command lines apart, reload_signal.py decides which signal helps (by master_settings.py
and start_folder.py), signals.py sends it, proof.py proves, start_command.py writes the lines to type.
"""

from __future__ import annotations

import os
import sys
import time

import address
import processes
from arguments import Arguments, parse
from command_line import command
from common import answer, fail
from layout import CURRENT, follows, live, release_folder
from master_settings import not_ours_to_run
from masters import Master, listens_at, masters, overlooked, workers
from processes import Process
from reload_signal import SIGHUP, keep_way_back, released_before, reload_signal
from start_command import cure, in_release, start_again, start_command

NOTHING = "{}"  # the module json costs 5 ms

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import Any, Callable


def main(words: list[str]) -> None:
    asked = parse(words)
    verbs = {
        "check": check,
        "look": look,
        "environment": environment,
        "check-config": check_config,
        "reload": reload,
        "prove": prove,
    }
    verbs[asked.verb](asked)


def note_masters(asked: Arguments) -> list[Master]:
    found = masters(asked.at)
    remember(found, asked.state)
    if found:
        # while there is room: a disk that fills up must not stop an undo
        address.note([each for master in found for each in listens_at(master)], asked.address_file)
    return found


def look(asked: Arguments) -> None:
    try:
        note_masters(asked)
    except Exception as error:  # what a command restarts need not be one that we understand
        print(f"what serves the site is not known: {error!r}", flush=True)


def check(asked: Arguments) -> None:
    found = note_masters(asked)
    problems = []
    if not found:
        answer("note", f"no Gunicorn serves {CURRENT}: nothing will be reloaded")
        problems.append(overlooked(asked.at))
    for master in found:
        _, reason = reload_signal(master, live(), asked)
        if not reason and (not master.command or follows(master.interpreter)):
            continue
        from managers import manager_of

        one = manager_of(master.pid)
        if reason and one:
            from service import obstacle

            problem = obstacle(one, asked)
            problems.append(f"{reason}\n{problem}" if problem else "")
        elif reason:
            problems.append(reason)
        elif not one:
            answer("warning", f"Gunicorn {master.pid} cannot take up changed requirements. {cure(master, asked)}")
    for problem in filter(None, problems):
        answer("problem", problem)
    sys.exit(1 if any(problems) else 0)


def remember(found: list[Master], path: str) -> None:
    if not path:
        return
    if not found:
        with open(path, "w", encoding="ascii") as file:
            file.write(NOTHING)
        return
    import json

    seen = [[master.pid, master.process.start, list(processes.arguments(master.pid))] for master in found]
    staff = [[one.pid, one.start] for master in found for one in workers(master)]
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"masters": seen, "workers": staff}, file)


def environment(asked: Arguments) -> None:
    release = release_folder(asked.release)
    reasons = []
    for master in masters(asked.at):
        reason = reload_signal(master, release, asked)[1]
        if reason:
            from managers import manager_of
            from service import missing

            one = manager_of(master.pid)
            reasons.append((one.problem() or missing(one, asked)) if one else reason)
    if any(reasons):
        fail("the services cannot take up the new environment: " + "\n".join(filter(None, reasons)))


def check_config(asked: Arguments) -> None:
    import subprocess

    for master in masters(asked.at):
        if not master.command or processes.hidden(master.pid) or not_ours_to_run(master):
            why = "is of another user" if master.command else "hides its arguments (setproctitle)"
            answer("note", f"Gunicorn {master.pid} {why}: --check-config is left out")
            continue
        words, folder, environ = in_release(master, asked)
        print(f"Gunicorn {master.pid}, its arguments with the new release: --check-config", flush=True)
        done = subprocess.run(words, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = done.stdout.decode("utf-8", "replace").strip()
        if said:
            print(said, flush=True)
        if done.returncode:
            last = said.splitlines()[-1].strip() if said else f"exit code {done.returncode}"
            fail(f"gunicorn --check-config fails in the new release: {last}", "the server would not start")


def reload(asked: Arguments) -> None:
    from signals import end_strays, hang_up, succeed

    deadline = time.monotonic() + float(asked.timeout)
    found = masters(asked.at)
    refuse_dead(found, asked)
    if not found:
        other = overlooked(asked.at)
        if other:
            fail(other)
        answer("unserved", start_command(asked))
        return
    serving = []
    left: list[tuple[Master, str]] = []
    for master in found:
        chosen, reason = reload_signal(master, release_folder(asked.release), asked)
        if not chosen:
            left.append((master, reason))
            continue
        end_strays(master)
        if chosen == SIGHUP:
            keep_way_back(master)
            serving.append(hang_up(master, asked, deadline))
        else:
            serving.append(succeed(master, asked, deadline))
    if serving:
        say_served(serving, asked)
    if left:
        bring_by_manager(left, asked, deadline)


def bring_by_manager(left: list[tuple[Master, str]], asked: Arguments, deadline: float) -> None:
    """Has the managers of these masters bring them to the release, each service once."""
    from managers import manager_of
    from service import bring

    services = {}
    for master, reason in left:
        one = manager_of(master.pid)
        if not one:
            fail(reason)
        services[one.describe] = one
    for one in services.values():
        bring(one, asked, deadline)


def refuse_dead(found: list[Master], asked: Arguments) -> None:
    """Fails if a master that was there at `check` has died and nothing has taken its place."""
    before = recall(asked.state)
    dead = [master for master in before if not processes.alive(master.process)]
    if dead and len(found) < len(before):
        fail(
            f"the server is down: Gunicorn {dead[0].pid} served the site when this run began, and is gone",
            f"Start it with: {start_again(dead[0], asked)}",
        )


def recall(path: str) -> list[Master]:
    """The masters that `check` saw."""
    seen = noted(path).get("masters", [])
    return [Master(Process(pid, 0, start), command(tuple(words)), {}) for pid, start, words in seen]


def noted(path: str) -> dict[str, Any]:
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if text == NOTHING:
        return {}
    import json

    seen: dict[str, Any] = json.loads(text)
    return seen


def say_served(serving: list[Master], asked: Arguments) -> None:
    addresses = [each for master in serving for each in listens_at(master)]
    address.note(addresses, asked.address_file)
    unseen = [master for master in serving if any(processes.hidden(one.pid) for one in workers(master))]
    if unseen and not address.is_asked(asked, addresses):
        answer("unproven", unseen_by_us(unseen[0], asked))
    else:
        if unseen:
            address.decides(asked)
        answer("served", " ".join(str(master.pid) for master in serving))


def unseen_by_us(master: Master, asked: Arguments) -> str:
    user, us = processes.user(master.pid), processes.user(os.getpid())
    missing = "give health_check a url or a socket" if asked.health_check else "add a health_check"
    return (
        f"the workers of Gunicorn {master.pid} run as {user} and were started after the switch, but what they run is "
        f"hidden from {us}: {missing}, which makes it a proof"
    )


def prove(asked: Arguments) -> None:
    from proof import proof

    deadline = time.monotonic() + float(asked.timeout)
    if not recall(asked.state) and not masters(asked.at):
        answer("unproven", "nothing found")
        return
    reason = proof(lambda: masters(asked.at), set(), asked, deadline, patient=True, unseen=in_place(asked))
    if reason:
        fail(f"the restarted services are not proven to run {asked.release}: {reason}")
    say_served(masters(asked.at), asked)


def in_place(asked: Arguments) -> Callable[[Process], bool]:
    """Whether a worker that hides what it runs was started after the switch: by this step, whose shell is our parent.

    In the undo also one that was there before the run began: it has never left the release that is gone back to.
    """
    step = processes.process(os.getppid())
    seen = [] if released_before(asked) else noted(asked.state).get("workers", [])
    return lambda one: (step is not None and one.start >= step.start) or [one.pid, one.start] in seen


if __name__ == "__main__":
    main(sys.argv[1:])
