"""Restarts a service by its process manager, and proves that it runs a release.

    python3 -ES service.py VERB --kind supervisor|systemd --name NAME --venv .venv [--release ID] [--timeout SECONDS]
                           [--state FILE] [--address-file FILE] [--health-check path|elsewhere]

It is run in deploy_path. VERB is one of:

check        is the manager there, does it know the service, may we restart it, and can the command that it starts
             come to another release? `problem=` for each that is not so.
environment  does all that the command names exist in --release?
restart      brings the service to --release, to which `current` points already: HUP for a Gunicorn where that is
             enough, else the manager's restart. `unproven=REASON` when what it runs cannot be seen.

stop         ends it again if it did not run at `check`, which noted that in --state: there is no release any more.

A manager's restart runs the command again, so it takes up everything, if only the command leads through `current`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from typing import Callable, NoReturn

import address
import processes
from arguments import Arguments, parse
from common import answer, fail
from layout import CURRENT, below_current, follows, live, release_folder
from managers import Declared, Manager, State, named
from masters import Master, listens_at, masters, workers
from privilege import Ran
from processes import Process
from proof import STABLE
from reload_signal import follows_unseen, reload_signal
from signals import end_unbooted
from start_command import RELEASE, rerouted
from tree import Judgement, judge

PAUSE = 0.2
STARTS = 10.0  # seconds that a service which is just being started is waited for, to know what it was
SETTLED = 5.0  # seconds that a service which does not tell when it has booted must stay as it is
BOOTS = 10.0  # seconds of a processor after which one that still computes is busy, and no longer booting
IDLE = 0.3  # of the time it computes, or would if it had a processor
DEATHS = 2  # main processes that ended before a service counts as dying again and again
LAST_LINES = 20


def main(words: list[str]) -> None:
    asked = parse(words)
    {"check": check, "environment": environment, "restart": restart, "stop": stop}[asked.verb](asked)


def check(asked: Arguments) -> None:
    one = named(asked.kind, asked.name)
    problem = obstacle(one, asked)
    state = one.state()
    if problem:
        answer("problem", problem)
    elif state.running:
        masters = gunicorns(state)
        found = [each for master in masters for each in listens_at(master)]
        if found:
            address.note(found, asked.address_file)
        elif masters and asked.address_file:  # it dies again and again before it listens: the next release may not
            open(f"{asked.address_file}-later", "w", encoding="ascii").close()
    elif asked.state:
        with open(asked.state, "w", encoding="ascii") as file:
            file.write("stopped\n")
    sys.exit(1 if problem else 0)


def obstacle(one: Manager, asked: Arguments) -> str:
    """What keeps its manager from bringing it to a new release; empty when nothing does. Says what will be done."""
    problem = one.problem()
    if problem:
        return problem
    state = one.state()
    problem = stuck(one, state, asked)
    if not problem and one.by_sudo():
        answer("note", f"{one.describe} is restarted by sudo")
    if not problem and not state.running:
        answer("note", f"{one.describe} is {state.text}: it will be started")
    return problem


def stuck(one: Manager, state: State, asked: Arguments) -> str:
    """What keeps its command from coming to a new release; empty when nothing can be seen that does."""
    for each in ways(one, state):
        command = [rerouted(word, CURRENT, RELEASE) for word in each.command]
        folder = rerouted(each.folder, CURRENT, RELEASE) if each.folder else CURRENT
        if command != list(each.command) or (each.folder and folder != each.folder):
            lines = one.settings(command, folder)
            return f"{one.describe} names a release, and would run it for ever. Have it say:\n{lines}"
    for master in gunicorns(state):
        started = master.command
        if not started or started.module or not os.path.isdir(f"{live()}/{asked.venv}"):
            continue
        if not follows(master.interpreter) and not follows(started.script):
            command = [f"{CURRENT}/{asked.venv}/bin/gunicorn", *started.options]
            return (
                f"{one.describe} starts a Gunicorn that is not the release's ({started.script}): it would never have "
                f"the libraries of a release. Have it say:\n{one.settings(command, CURRENT)}"
            )
    return ""


def ways(one: Manager, state: State) -> list[Declared]:
    """How it is started: what its configuration says, else what its main processes tell of that."""
    told = one.declared()
    return told or [Declared(processes.arguments(pid)[:2], "") for pid in state.mains]


def gunicorns(state: State) -> list[Master]:
    """The Gunicorns of this site among the processes of a service."""
    pids = {each.pid for each in state.tree()}
    return [each for each in masters() if each.pid in pids]


def environment(asked: Arguments) -> None:
    one = named(asked.kind, asked.name)
    problem = one.problem() or missing(one, asked)
    if problem:
        fail(problem)


def missing(one: Manager, asked: Arguments) -> str:
    """What its command names through `current`, and the release does not have; empty when it has all."""
    for way in ways(one, one.state()):
        for path in (*way.command[:2], way.folder):
            below = below_current(path) if path.startswith("/") else None
            if below is not None and not os.path.exists(os.path.join(release_folder(asked.release), below)):
                return f"{one.describe} needs {path}, which the new release does not have"
    return ""


def restart(asked: Arguments) -> None:
    bring(named(asked.kind, asked.name), asked, time.monotonic() + float(asked.timeout))


def stop(asked: Arguments) -> None:
    one = named(asked.kind, asked.name)
    if os.path.exists(asked.state) and not one.problem():
        ran = one.stop()
        if ran.code:
            answer("warning", f"{one.describe} was started by this run and does not stop: {ran.said}")


def bring(one: Manager, asked: Arguments, deadline: float) -> None:
    """Brings a service to the release, and says whether it is proven; ends the program as failed when it is not."""
    problem = one.problem()
    if problem:
        fail(problem)
    began = time.monotonic()
    state = one.known_state(began + STARTS)
    deadline += time.monotonic() - began
    before = set(state.tree())
    reloaded = gunicorns(state)
    if hang_up_is_enough(one, state, reloaded, asked):
        old = {each for master in reloaded for each in workers(master)}
        ran = one.reload()
        if not ran.code:
            with suppress(PermissionError):
                end_unbooted(old)
            print(f"{one.describe}: reloaded (HUP)", flush=True)
            return await_proof(one, old, asked, deadline)
        print(f"{one.describe} was not reloaded, and is restarted instead: {ran.said}", flush=True)
    began = time.monotonic()
    ran = one.restart()
    refuse_idle(one, ran, state, before)
    print(f"{one.describe}: {ran.said or 'restarted'}", flush=True)
    # A service may finish its work before it stops: that is not the new one's time.
    await_proof(one, before, asked, deadline + time.monotonic() - began)


def hang_up_is_enough(one: Manager, state: State, found: list[Master], asked: Arguments) -> bool:
    """Whether it is a Gunicorn whose workers alone bring it to the release. USR2 is never sent under a manager."""
    if not found or not state.running or {each.pid for each in found} != set(state.mains) or not one.can_hang_up():
        return False
    target = release_folder(asked.release)
    return all(
        follows_unseen(each, target, asked)
        if processes.hidden(each.pid)
        else reload_signal(each, target, asked)[0] == signal.SIGHUP
        for each in found
    )


def refuse_idle(one: Manager, ran: Ran, was: State, before: set[Process]) -> None:
    """Ends the program when the manager has not done what it was told; what came of it is seen by the proof."""
    if ran.code and was.mains and one.state().mains == was.mains and all(map(processes.alive, before)):
        fail(f"{one.describe} was not restarted: {ran.said or f'exit code {ran.code}'}")


def await_proof(one: Manager, before: set[Process], asked: Arguments, deadline: float) -> None:
    """Until the service is proven, and stays; else ends the program, with the last that the service has said."""
    since = looked = time.monotonic()
    wanted = 0.0
    settled: frozenset[int] | None = None
    mains: set[int] = set()
    seen: dict[int, Process] = {}
    while True:
        state = one.state()
        tree = state.tree()
        mains.update(state.mains)
        seen.update((each.pid, each) for each in tree if each.pid in state.mains)
        if state.failed or len(mains) - len(state.mains) >= DEATHS:
            died(one, f"does not stay up: it is {state.text}")
        judged = judge(tree, before, asked)
        left = next((each.pid for each in before if processes.alive(each)), None)
        reason = judged.wrong or (f"process {left} of before still runs" if left else "")
        wants = total(processes.cpu_wanted, tree)
        # Looked at last, and whatever the manager says: what has ended wants no processor, and is not idle for that.
        ended = next((pid for pid in state.mains if pid in seen and not processes.alive(seen[pid])), None)
        reason = reason or (f"process {ended} has ended" if ended else "")
        reason = reason if state.running else f"it is {state.text}"
        staff = frozenset([*state.mains, *(each.pid for master in judged.gunicorns for each in workers(master))])
        now = time.monotonic()
        if reason or staff != settled:
            since = looked = now
            wanted, settled = wants, None if reason else staff
        elif judged.gunicorns and now - since >= STABLE:
            break
        elif now - looked >= SETTLED:
            idle = wants - wanted < IDLE * (now - looked)
            if idle or now > deadline or total(processes.cpu_time, tree) > BOOTS:
                break
            looked, wanted = now, wants
        if now > deadline and (reason or now - since < SETTLED):
            died(one, f"is not proven to run {asked.release}: {reason or 'its processes come and go'}")
        time.sleep(PAUSE)
    tell(one, state, judged, asked)


def total(of: Callable[[int], float], tree: list[Process]) -> float:
    return sum(of(each.pid) for each in tree)


def died(one: Manager, what: str) -> NoReturn:
    said = one.last_lines().splitlines()[-LAST_LINES:]
    if said:
        print(f"the last that {one.describe} has said:", *said, sep="\n", flush=True)
    fail(f"{one.describe} {what}")


def tell(one: Manager, state: State, judged: Judgement, asked: Arguments) -> None:
    addresses = [each for master in gunicorns(state) for each in listens_at(master)]
    if addresses:
        address.note(addresses, asked.address_file)
    if judged.unclear and not (judged.hidden and address.is_asked(asked, addresses)):
        answer("unproven", f"{one.describe}: {judged.unclear}")
        return
    if judged.unclear:
        address.decides(asked)
        answer("note", f"{one.describe}: {judged.unclear}; it was started anew, and the health check decides")
    print(f"{one.describe}: {judged.proven or 'no'} processes seen to run {asked.release}", flush=True)
    answer("served", " ".join(map(str, state.mains)))


if __name__ == "__main__":
    main(sys.argv[1:])
