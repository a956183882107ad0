"""Finds the Gunicorn that serves a site, brings it to another release, and proves that it is there.

    python3 -ES gunicorn.py VERB --venv .venv [--release ID] [--at PATH] [--state FILE] [--timeout SECONDS]
                            [--address-file FILE] [--project FOLDER] [--wsgi MODULE]

It is run in deploy_path. VERB is one of:

check         can each master be brought to a new release by the way it was started? `problem=` for each that can not.
              Writes the masters it saw to --state, so that a later verb knows when one has died.
environment   can each master take up the environment of --release? Asked before anything depends on it.
check-config  `gunicorn --check-config` of --release, with the arguments of each live master.
reload        brings each master to --release, to which `current` points already, and proves it. `served=PIDS`, or
              `unserved=COMMAND` when no Gunicorn is there.
prove         the same proof with no signal, for services that something else has restarted. `served=` or `unproven=`.

A master is followed by its workers, and the workers are what is proven. For a master to take up what `current` points
to, its workers must change into a folder below `current` (not the release it pointed to once), and its interpreter
must be named through `current` too, or the libraries stay those of the environment it was started with.

HUP starts new workers in the old master: what the master itself has imported stays (the application with --preload,
Gunicorn, the worker class, Python). USR2 starts a new master beside the old one, which then gets TERM; never QUIT,
which cuts requests. With USR2 the old master serves on when the new one fails; with HUP both are gone.
"""

import os
import signal
import sys
import time
from typing import Callable, Dict, List, NamedTuple, NoReturn, Optional, Set, Tuple

import processes
from common import answer, fail
from processes import Process

# Seconds that all workers must be there, booted and proven, without one dying or coming: a worker that fails in its
# first moments is replaced by then. That its application is imported is seen by itself (`booted`): no time tells it.
STABLE = 1.0
PAUSE = 0.05
# Seconds within which USR2 must have started another master, and a failed master must have left.
SUCCESSION = 10.0
# Seconds after its start in which a master has made its first workers.
UNTOUCHED = 60

IN_LIBRARY = ("sync", "gthread", "asgi", "gunicorn.workers.sync.SyncWorker", "gunicorn.workers.gthread.ThreadWorker")
MANAGERS = ("supervisord", "circusd", "runsv", "s6-supervise", "tini", "docker-init", "dumb-init", "catatonit")
TAKES_VALUE = ("-X", "-W", "--check-hash-based-pycs")

ASK_GUNICORN = """
import sys
from gunicorn.app.wsgiapp import WSGIApplication
sys.argv = sys.argv[1:]
settings = WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]").cfg
print("\\n" + "\\0".join((settings.chdir, "preload" if settings.preload_app else "", str(settings.worker_class_str))))
"""

DEPLOY = os.getcwd()


class Arguments(NamedTuple):
    """What the step asked for."""

    verb: str
    venv: str
    release: str = ""
    at: str = ""
    state: str = ""
    timeout: str = "60"
    address_file: str = ""
    project: str = "."
    wsgi: str = ""


class Command(NamedTuple):
    """How a Gunicorn was started, in its words."""

    interpreter: str
    module: bool
    script: str
    options: Tuple[str, ...]


class Master(NamedTuple):
    """A Gunicorn that serves this site. `command` is None where setproctitle has written over it."""

    process: Process
    command: Optional[Command]
    environ: Dict[str, str]

    @property
    def pid(self) -> int:
        return self.process.pid


class Settings(NamedTuple):
    """What decides which signal can help. `folder`: where its workers change into."""

    folder: str
    preload: bool
    worker_class: str


class Gone(Exception):
    """There is no master left that could be proven."""


def main(words: List[str]) -> None:
    asked = parse(words)
    verbs = {
        "check": check,
        "environment": environment,
        "check-config": check_config,
        "reload": reload,
        "prove": prove,
    }
    verbs[asked.verb](asked)


def parse(words: List[str]) -> Arguments:
    pairs = zip(words[1::2], words[2::2])
    return Arguments(words[0], **{name[2:].replace("-", "_"): value for name, value in pairs})


# --- the verbs


def check(asked: Arguments) -> None:
    found = masters(asked)
    if asked.state:
        remember(found, asked.state)
    if not found:
        answer("note", f"no Gunicorn serves {DEPLOY}/current: nothing will be reloaded")
    overlooked = served_by_another(found, asked)
    if overlooked:
        answer("problem", overlooked)
    problems = 1 if overlooked else 0
    for master in found:
        way, reason = way_to(master, live(), asked)
        if not way:
            answer("problem", reason)
            problems += 1
        elif master.command and not follows(interpreter(master)):
            answer("warning", f"Gunicorn {master.pid} cannot take up changed requirements. {cure(master, asked)}")
    sys.exit(1 if problems else 0)


def environment(asked: Arguments) -> None:
    reasons = [way_to(master, release_folder(asked), asked)[1] for master in masters(asked)]
    if any(reasons):
        fail("the services cannot take up the new environment: " + "\n".join(filter(None, reasons)))


def check_config(asked: Arguments) -> None:
    import subprocess

    for master in masters(asked):
        if not master.command:
            answer("note", f"Gunicorn {master.pid} hides its arguments (setproctitle): --check-config is left out")
            continue
        command, folder, environ = in_release(master, asked)
        print(f"Gunicorn {master.pid}, its arguments with the new release: --check-config", flush=True)
        done = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = done.stdout.decode("utf-8", "replace").strip()
        if said:
            print(said, flush=True)
        if done.returncode:
            last = said.splitlines()[-1].strip() if said else f"exit code {done.returncode}"
            fail(f"gunicorn --check-config fails in the new release: {last}", "the server would not start")


def reload(asked: Arguments) -> None:
    deadline = time.monotonic() + float(asked.timeout)
    found = masters(asked)
    refuse_dead(found, asked)
    overlooked = served_by_another(found, asked)
    if overlooked:
        fail(overlooked)
    if not found:
        answer("unserved", start_command(asked))
        return
    serving: List[Master] = []
    for master in found:
        way, reason = way_to(master, release_folder(asked), asked)
        if not way:
            fail(reason)
        end_strays(master)
        serving.append((hang_up if way == signal.SIGHUP else succeed)(master, asked, deadline))
    say_served(serving, asked)


def prove(asked: Arguments) -> None:
    deadline = time.monotonic() + float(asked.timeout)
    expected = bool(recall(asked.state))
    if not expected and not masters(asked):
        answer("unproven", "nothing found")
        return

    def find() -> List[Master]:
        return masters(asked)

    reason = proof(find, set(), asked, deadline, patient=True)
    if reason:
        fail(f"the restarted services are not proven to run {asked.release}: {reason}")
    say_served(find(), asked)


def say_served(serving: List[Master], asked: Arguments) -> None:
    if asked.address_file:
        addresses = [address for master in serving for address in listens_at(master)]
        with open(asked.address_file, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(addresses[:1]))
    answer("served", " ".join(str(master.pid) for master in serving))


# --- which masters


def masters(asked: Arguments) -> List[Master]:
    """The masters that serve this site; with --at, the one that the pid file or the socket names."""
    known = processes.table()
    commands = {pid: processes.arguments(pid) for pid in known}
    gunicorns = {pid: words for pid, words in commands.items() if is_gunicorn(words)}
    tops = [pid for pid in sorted(gunicorns) if not belongs(pid, known[pid].parent, gunicorns)]
    serving = [pid for pid in tops if serves(pid, gunicorns[pid]) and not processes.contained(pid)]
    if asked.at:
        named = named_by(asked.at)
        serving = [pid for pid in serving if pid in named]
    return [Master(known[pid], command(gunicorns[pid]), processes.environment(pid)) for pid in serving]


def served_by_another(found: List[Master], asked: Arguments) -> str:
    """What is wrong when the pid file or socket names nobody, yet somebody serves the site: it would go on as it is."""
    others = masters(asked._replace(at="")) if asked.at and not found else []
    if not others:
        return ""
    return (
        f"{asked.at} names no Gunicorn that runs, but Gunicorn {others[0].pid} serves {DEPLOY}: start it with "
        f"`--pid {asked.at}` (or bind it to that socket), or use `restart: auto`"
    )


def is_gunicorn(words: Tuple[str, ...]) -> bool:
    started = command(words)
    if not started:
        return bool(words) and words[0].startswith("gunicorn: ")
    return not any(word in ("--check-config", "--print-config") for word in started.options)


def command(words: Tuple[str, ...]) -> Optional[Command]:
    """Takes the command line of a Gunicorn apart; None when it is none, or hidden."""
    if not words or words[0].startswith("gunicorn: "):
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


def belongs(pid: int, parent: int, gunicorns: Dict[int, Tuple[str, ...]]) -> bool:
    """Whether it is a worker of a Gunicorn, or the master that one has started with USR2."""
    if parent not in gunicorns:
        return False
    return gunicorns[pid] == gunicorns[parent] or hidden(gunicorns[pid]) or is_successor(pid, parent)


def hidden(words: Tuple[str, ...]) -> bool:
    return words[0].startswith("gunicorn: ")


def is_successor(pid: int, parent: int) -> bool:
    """Whether its parent has started it with USR2: a master of its own. It gets the parent's number when it starts."""
    words = processes.arguments(pid)
    if words and hidden(words):
        return words[0].startswith("gunicorn: master [") and words[0].rstrip().endswith(".2]")
    return processes.environment(pid).get("GUNICORN_PID") == str(parent)


def successors(master: Master) -> List[Process]:
    return [one for one in processes.table().values() if one.parent == master.pid and is_successor(one.pid, master.pid)]


def workers(master: Master) -> List[Process]:
    """Its workers: other children, such as one that a hook of its has started, have another command line."""
    own = processes.arguments(master.pid)
    children = [one for one in processes.table().values() if one.parent == master.pid]
    return [one for one in children if is_worker(one, own) and not is_successor(one.pid, master.pid)]


def is_worker(one: Process, own: Tuple[str, ...]) -> bool:
    words = processes.arguments(one.pid)
    return words == own or (bool(words) and words[0].startswith("gunicorn: worker ["))


def serves(pid: int, words: Tuple[str, ...]) -> bool:
    started = command(words)
    paths = [started.interpreter, started.script, option(started.options, "--chdir")] if started else []
    if any(inside(path) for path in paths):
        return True
    children = [one.pid for one in processes.table().values() if one.parent == pid]
    return any(release_of(processes.folder(each)) for each in [pid, *children])


def inside(path: str) -> bool:
    """Whether an absolute path lies in deploy_path, also where a link leads there."""
    return any(each.startswith(DEPLOY + "/") for each in (path, os.path.realpath(path))) if path[:1] == "/" else False


def release_of(folder: str) -> str:
    """The release that a real path lies in, as a path; empty when in none."""
    head = DEPLOY + "/releases/"
    return head + folder[len(head) :].partition("/")[0] if folder.startswith(head) else ""


def named_by(path: str) -> List[int]:
    """The processes that a pid file or a Unix socket names. What it names may be gone, or be somebody else's by now."""
    try:
        with open(path, encoding="ascii") as file:
            return [int(file.read())]
    except ValueError:
        return []
    except OSError:
        return processes.listeners_of(path)


def listens_at(master: Master) -> List[str]:
    """Its addresses, but not the control socket of Gunicorn 25.1 and later."""
    options = master.command.options if master.command else ()
    control = option(options, "--control-socket")
    addresses = processes.listens_at(master.pid)
    own = [each for each in addresses if not each.endswith("/gunicorn.ctl") and each != f"unix:{control}"]
    return [f"unix:{located(master, each[5:])}" if each.startswith("unix:") else each for each in own]


# --- how a master was started, and what that allows


def way_to(master: Master, release: str, asked: Arguments) -> Tuple[Optional[signal.Signals], str]:
    """The signal that brings a master to a release, or why none does and what to change."""
    if not processes.signallable(master.pid) or not processes.folder(master.pid):
        return None, foreign(master)
    if processes.folder(master.pid).endswith(" (deleted)"):
        return None, f"Gunicorn {master.pid} lives in a removed folder: a reload would end it. {cure(master, asked)}"
    old, new = environment_of(release_of(processes.folder(master.pid)), asked), environment_of(release, asked)
    if not master.command:
        return way_in_the_dark(master, old, new, asked)
    settings = settings_of(master)
    if settings is None:
        return None, f"Gunicorn {master.pid} cannot read its configuration any more: a reload would end it"
    if not follows(settings.folder):
        return None, (
            f"Gunicorn {master.pid} serves {settings.folder} for ever: it was started there, not in `current`. "
            f"{cure(master, asked)}"
        )
    runs = old if follows(interpreter(master)) else environment_named(interpreter(master))
    if new and runs != new and not follows(interpreter(master)):
        return None, (
            f"Gunicorn {master.pid} keeps the libraries of {runs or 'an environment that it does not name'} for ever: "
            f"its Python is not named through `current`. {cure(master, asked)}"
        )
    inherited = changed_in_master(master, runs, new, settings)
    if not inherited:
        return signal.SIGHUP, ""
    obstacle = why_no_successor(master, settings.folder)
    if not obstacle:
        return signal.SIGUSR2, ""
    return None, f"Gunicorn {master.pid} needs a new master, for {inherited}, but {obstacle}. {cure(master, asked)}"


def way_in_the_dark(master: Master, old: str, new: str, asked: Arguments) -> Tuple[Optional[signal.Signals], str]:
    """With its command line hidden: a new master does no harm if it fails, so it is tried, and the proof decides."""
    if not managed(master) and began_here(master):
        return signal.SIGUSR2, ""
    if old == new or not new:
        answer("warning", f"Gunicorn {master.pid} hides its arguments (setproctitle): with --preload it mixes releases")
        return signal.SIGHUP, ""
    return None, (
        f"Gunicorn {master.pid} hides how it was started (setproctitle), so whether it takes up another environment "
        f"cannot be seen. Remove setproctitle from the requirements and restart it"
    )


def changed_in_master(master: Master, old: str, new: str, settings: Settings) -> str:
    """What the master has in its memory that the release has otherwise; empty when new workers are enough."""
    if settings.preload:
        return "--preload"
    if not new:
        return ""
    if processes.executable(master.pid) != os.path.realpath(new + "/bin/python"):
        return f"another Python, {os.path.realpath(new + '/bin/python')}"
    if gunicorn_version(old) != gunicorn_version(new):
        return f"Gunicorn {gunicorn_version(new) or '(none)'}"
    if old != new and settings.worker_class not in IN_LIBRARY:
        return f"the changed libraries of its worker class, {settings.worker_class}"
    return ""


def why_no_successor(master: Master, folder: str) -> str:
    assert master.command
    if master.command.module:
        return "USR2 fails where it was started with `python -m gunicorn`"
    if not master.command.script.startswith("/"):
        return "USR2 fails where it was started by a relative path"
    if managed(master):
        return f"{managed(master)} manages it and would start a third one"
    if os.path.normpath(master.environ.get("PWD", "")) != folder and not began_here(master):
        return "USR2 returns to the release it was started in (had it been started with `cd` into `current`: to that)"
    return ""


def began_here(master: Master) -> bool:
    """Whether it is still in the folder it was started in, which USR2 needs: some worker is about as old as itself.

    After a HUP all workers are younger. If that folder was removed since, the failing USR2 takes the old workers and
    the socket's file with it, so a doubt is a no.
    """
    oldest = min((one.start for one in workers(master)), default=sys.maxsize)
    return oldest - master.process.start < UNTOUCHED * os.sysconf("SC_CLK_TCK")


def managed(master: Master) -> str:
    """Who starts another master when this one ends."""
    if master.pid == 1:
        return "the container"
    parent = processes.name(master.process.parent)
    unit = processes.unit(master.pid)
    if parent == "systemd" and unit.endswith(".service") and not unit.startswith("user@"):
        return f"systemd ({unit})"
    return parent if parent in MANAGERS else ""


def foreign(master: Master) -> str:
    user = processes.user(master.pid)
    us = processes.user(os.getpid())
    return (
        f"Gunicorn {master.pid} serves {DEPLOY} as user {user}: {us} can neither reload it nor prove what it runs. "
        f"Run it as {us}, or deploy as {user}, or say how to restart it: `restart: {{command: …}}`"
    )


def settings_of(master: Master) -> Optional[Settings]:
    """From its arguments, or, if it reads a configuration file, from Gunicorn itself; None when that fails."""
    assert master.command
    options = all_options(master)
    folder = option(options, "--chdir")
    start = started_in(master, folder)
    if option(options, "-c", "--config") or os.path.exists(os.path.join(start, "gunicorn.conf.py")):
        return ask_gunicorn(master, start)
    chosen = option(options, "-k", "--worker-class")
    return Settings(os.path.normpath(os.path.join(start, folder)), "--preload" in options, chosen or "sync")


def ask_gunicorn(master: Master, start: str) -> Optional[Settings]:
    import subprocess

    assert master.command
    python = interpreter(master) or processes.executable(master.pid)
    words = [python, "-c", ASK_GUNICORN, master.command.script, *master.command.options]
    environ = dict(without_handover(master.environ), PWD=start)
    done = subprocess.run(words, cwd=start, env=environ, stdout=subprocess.PIPE)
    if done.returncode:
        return None
    said = done.stdout.decode("utf-8", "surrogateescape").rstrip("\n").rpartition("\n")[2]
    folder, preload, chosen = said.split("\0")
    return Settings(folder, bool(preload), chosen)


def all_options(master: Master) -> Tuple[str, ...]:
    assert master.command
    more = master.environ.get("GUNICORN_CMD_ARGS", "")
    if not more:
        return master.command.options
    import shlex

    return (*shlex.split(more), *master.command.options)


def option(options: Tuple[str, ...], *names: str) -> str:
    """The value of an option, in any of its spellings; the last one counts."""
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


def started_in(master: Master, relative: str) -> str:
    """Where it was started: Gunicorn believes $PWD if that is the folder it is in, and goes there again on HUP."""
    now = processes.folder(master.pid)
    pwd = master.environ.get("PWD", "")
    if not relative:
        return pwd if follows(pwd) and release_of(now) else now
    if relative.startswith("/"):
        return pwd if pwd.startswith("/") and os.path.isdir(pwd) else now
    return next((each for each in (pwd, DEPLOY) if each and os.path.isdir(os.path.join(each, relative))), now)


def located(master: Master, path: str) -> str:
    return os.path.normpath(os.path.join(processes.folder(master.pid), path))


def interpreter(master: Master) -> str:
    """Its Python as an absolute path that may lead through `current`; empty when its command line does not tell."""
    assert master.command
    path = master.command.interpreter
    if path.startswith("/"):
        return os.path.normpath(path)
    if "/" in path:
        # Python has resolved it from a folder without links: through `current` only if it says so itself.
        candidate = os.path.join(DEPLOY, path)
        return candidate if follows(candidate) and os.path.exists(candidate) else ""
    search = [each for each in master.environ.get("PATH", "").split(":") if each.startswith("/")]
    return next((f"{each}/{path}" for each in search if path and os.access(f"{each}/{path}", os.X_OK)), "")


def follows(path: str) -> bool:
    """Whether a path leads through this site's `current`, so that it means another place after a switch."""
    while len(path) > 1:
        path, last = os.path.split(path.rstrip("/"))
        if last == "current" and os.path.exists(path) and os.path.samefile(path, DEPLOY):
            return True
    return False


def live() -> str:
    return os.path.realpath(DEPLOY + "/current")


def release_folder(asked: Arguments) -> str:
    return f"{DEPLOY}/releases/{asked.release}"


def environment_of(release: str, asked: Arguments) -> str:
    """The real path of a release's virtualenv; empty when it has none."""
    path = os.path.join(release, asked.venv)
    return os.path.realpath(path) if release and os.path.isdir(path) else ""


def environment_named(python: str) -> str:
    return os.path.dirname(os.path.realpath(os.path.dirname(python))) if python else ""


def gunicorn_version(env: str) -> str:
    """The Gunicorn that is installed in an environment; empty when there is none."""
    libraries = env + "/lib"
    for python in os.listdir(libraries) if os.path.isdir(libraries) else []:
        packages = f"{libraries}/{python}/site-packages"
        for each in os.listdir(packages) if os.path.isdir(packages) else []:
            if each.startswith("gunicorn-") and each.endswith((".dist-info", ".egg-info")):
                return each[len("gunicorn-") : -len(".dist-info")]
    return ""


# --- signals


def hang_up(master: Master, asked: Arguments, deadline: float) -> Master:
    before = set(workers(master))
    os.kill(master.pid, signal.SIGHUP)
    end_unbooted(before)

    def find() -> List[Master]:
        return [master] if processes.alive(master.process) else []

    try:
        reason = proof(find, before, asked, deadline)
    except Gone:
        fail(
            f"the server is down: Gunicorn {master.pid} ended when it was reloaded, for the release does not boot",
            f"its log says why. Start it again with: {start_again(master, asked)}",
        )
    if reason:
        fail(f"Gunicorn {master.pid} was reloaded, but does not serve {asked.release}: {reason}")
    print(f"Gunicorn {master.pid}: reloaded (HUP)", flush=True)
    return master


def end_unbooted(before: Set[Process]) -> None:
    """Ends workers that still import the release of before: none has served, TERM may pass them by, and one that fails
    later would end the whole server."""
    for one in before:
        if processes.alive(one) and not booted(one):
            os.kill(one.pid, signal.SIGKILL)


def succeed(master: Master, asked: Arguments, deadline: float) -> Master:
    os.kill(master.pid, signal.SIGUSR2)
    new = await_successor(master, asked, deadline)

    def find() -> List[Master]:
        return [new] if processes.alive(new.process) else []

    try:
        reason = proof(find, set(), asked, deadline)
    except Gone:
        reason = "the new master ended while it started; its log says why"
    if reason:
        end(new.process)
        keeps_serving(master, asked, reason)
    os.kill(master.pid, signal.SIGTERM)
    if not until(lambda: not processes.alive(master.process), deadline):
        answer("warning", f"the old Gunicorn {master.pid} still finishes its last requests")
    until(lambda: promoted(master, new, asked), time.monotonic() + 3)
    if not processes.alive(new.process):
        fail(f"the server is down: the new Gunicorn {new.pid} ended", f"Start it with: {start_again(master, asked)}")
    print(f"Gunicorn {new.pid} has taken over from {master.pid} (USR2, TERM)", flush=True)
    return new


def await_successor(master: Master, asked: Arguments, deadline: float) -> Master:
    found: List[Process] = []

    def appeared() -> bool:
        found.extend(successors(master))
        return bool(found)

    if not until(appeared, min(deadline, time.monotonic() + SUCCESSION)):
        keeps_serving(master, asked, f"USR2 started no other master within {SUCCESSION:.0f} s; its log says why")
    return Master(found[0], master.command, processes.environment(found[0].pid))


def promoted(old: Master, new: Master, asked: Arguments) -> bool:
    """Whether the pid file, where it has one, names the new master: it is renamed within a second."""
    options = all_options(old) if old.command else ()
    path = asked.at or option(options, "-p", "--pid")
    has_file = os.path.isfile(path) or os.path.isfile(path + ".2")
    return not has_file or new.pid in named_by(path)


def keeps_serving(master: Master, asked: Arguments, reason: str) -> NoReturn:
    fail(f"Gunicorn {master.pid} serves on as before, for no successor came to serve {asked.release}: {reason}")


def end_strays(master: Master) -> None:
    """Ends a second master that an interrupted reload has left beside this one."""
    for stray in successors(master):
        end(stray)


def end(one: Process) -> None:
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL):
        if not processes.alive(one):
            return
        os.kill(one.pid, number)
        until(lambda: not processes.alive(one), time.monotonic() + SUCCESSION)


def until(true: Callable[[], bool], deadline: float) -> bool:
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


# --- the proof


def proof(
    find: Callable[[], List[Master]], before: Set[Process], asked: Arguments, deadline: float, patient: bool = False
) -> str:
    """Waits until every worker of the masters found is proven, and stays; empty then, else what is wrong with one.

    Raises Gone when there is no master any more, unless patient.
    """
    since, settled = time.monotonic(), None
    while True:
        found = find()
        if not found and not patient:
            raise Gone
        staff = {master.pid: workers(master) for master in found}
        present = {one for each in staff.values() for one in each}
        reason = why_unproven(found, staff, before, asked)
        now = time.monotonic()
        if reason or present != settled:
            since, settled = now, None if reason else present
        elif now - since >= STABLE:
            return ""
        if now > deadline:
            return reason or "its workers come and go"
        time.sleep(PAUSE)


def why_unproven(found: List[Master], staff: Dict[int, List[Process]], before: Set[Process], asked: Arguments) -> str:
    if not found:
        return "no Gunicorn serves the site now"
    for master in found:
        if not processes.signallable(master.pid) or not processes.folder(master.pid):
            return foreign(master)
        if not staff[master.pid]:
            return f"Gunicorn {master.pid} has no workers"
        for one in staff[master.pid]:
            reason = why_not(one, before, asked)
            if reason:
                return f"worker {one.pid} {reason}"
    return ""


def why_not(one: Process, before: Set[Process], asked: Arguments) -> str:
    """What keeps a worker from being proven, in words that follow its name; empty when nothing does."""
    release = os.path.realpath(release_folder(asked))
    folder = processes.folder(one.pid)
    if one in before:
        return "is still one of before"
    if folder != release and not folder.startswith(release + "/"):
        return f"runs in {folder or 'a folder that cannot be seen'}"
    env = environment_of(release, asked)
    if env and runs_environment(one) != env and not maps_only(one, env):
        return f"runs with {runs_environment(one) or 'libraries of another environment'}"
    if env and processes.executable(one.pid) != os.path.realpath(env + "/bin/python"):
        return f"executes {processes.executable(one.pid)}"
    return "" if booted(one) else "has not booted yet"


def runs_environment(one: Process) -> str:
    """The environment that the interpreter on its command line belongs to; empty when hidden."""
    started = command(processes.arguments(one.pid))
    return environment_named(interpreter(Master(one, started, processes.environment(one.pid)))) if started else ""


def maps_only(one: Process, env: str) -> bool:
    """Where setproctitle hides the command line: its own library tells where the libraries come from."""
    words = processes.arguments(one.pid)
    libraries = [path for path in processes.mapped(one.pid) if "/site-packages/" in path]
    return bool(words) and hidden(words) and bool(libraries) and all(path.startswith(env + "/") for path in libraries)


def booted(one: Process) -> bool:
    """Whether it has imported its application and entered its loop.

    It then reports to its master on a deleted file: the times of it (the mode, before Gunicorn 21) are not those it
    was made with. A worker without such a file is believed.
    """
    for number, target in processes.open_files(one.pid):
        if os.path.basename(target).startswith("wgunicorn-"):
            try:
                status = os.stat(f"/proc/{one.pid}/fd/{number}")
            except OSError:
                return False
            return status.st_mode & 0o777 in (0, 1) or status.st_mtime < status.st_ctime - 86400
    return True


# --- what was there before, and what to type


def remember(found: List[Master], path: str) -> None:
    import json

    seen = [[master.pid, master.process.start, list(processes.arguments(master.pid))] for master in found]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(seen, file)


def recall(path: str) -> List[Master]:
    if not path or not os.path.exists(path):
        return []
    import json

    with open(path, encoding="utf-8") as file:
        seen = json.load(file)
    return [Master(Process(pid, 0, start), command(tuple(words)), {}) for pid, start, words in seen]


def refuse_dead(found: List[Master], asked: Arguments) -> None:
    """Fails if a master that was there at `check` has died and nothing has taken its place."""
    before = recall(asked.state)
    dead = [master for master in before if not processes.alive(master.process)]
    if dead and len(found) < len(before):
        fail(
            f"the server is down: Gunicorn {dead[0].pid} served the site when this run began, and is gone",
            f"Start it with: {start_again(dead[0], asked)}",
        )


def cure(master: Master, asked: Arguments) -> str:
    return f"Start it with:\n  {start_again(master, asked)}"


def start_again(master: Master, asked: Arguments) -> str:
    """Its own command, in the words that let every reload work."""
    if not master.command:
        return start_command(asked)
    folder = option(all_options(master), "--chdir") or processes.folder(master.pid)
    return quoted([*python_and_gunicorn(asked), "--chdir", through_current(folder, asked), *rest_of(master.command)])


def rest_of(started: Command) -> List[str]:
    """The options but --chdir, with paths into a release led through `current`."""
    words = list(started.options)
    for at in reversed(range(len(words))):
        if words[at] == "--chdir":
            del words[at : at + 2]
        elif words[at].startswith("--chdir="):
            del words[at]
    return [rerouted(word, f"{DEPLOY}/current") for word in words]


def rerouted(word: str, to: str) -> str:
    """Leads the path in an option, if it goes into a release or through `current`, into another folder."""
    for head in (f"{DEPLOY}/current", release_of(word[word.find(DEPLOY) :]) if DEPLOY in word else ""):
        before, found, after = word.partition(head) if head else ("", "", "")
        if found and (not after or after.startswith("/")):
            return before + to + after
    return word


def through_current(folder: str, asked: Arguments) -> str:
    release = release_of(os.path.realpath(os.path.join(DEPLOY, folder)))
    inner = os.path.relpath(os.path.realpath(os.path.join(DEPLOY, folder)), release) if release else asked.project
    return os.path.normpath(f"{DEPLOY}/current/{inner}")


def start_command(asked: Arguments) -> str:
    """For a site that nothing serves yet."""
    words = [*python_and_gunicorn(asked), "--chdir", os.path.normpath(f"{DEPLOY}/current/{asked.project}")]
    # From 25.1 on, all Gunicorns of a user would share one control socket.
    version = gunicorn_version(environment_of(live(), asked)).split(".")
    if [int(each) for each in version[:2] if each.isdigit()] >= [25, 1]:
        words.append("--no-control-socket")
    return quoted([*words, "--bind", "127.0.0.1:8000", asked.wsgi or found_module(asked) or "PROJECT.wsgi"])


def found_module(asked: Arguments) -> str:
    project = os.path.join(live(), asked.project)
    folders = sorted(os.listdir(project)) if os.path.isdir(project) else []
    found = [each for each in folders if os.path.isfile(f"{project}/{each}/wsgi.py")]
    return f"{found[0]}.wsgi" if len(found) == 1 else ""


def python_and_gunicorn(asked: Arguments) -> List[str]:
    return [f"{DEPLOY}/current/{asked.venv}/bin/{each}" for each in ("python", "gunicorn")]


def quoted(words: List[str]) -> str:
    import shlex

    return " ".join(shlex.quote(word) for word in words)


def in_release(master: Master, asked: Arguments) -> Tuple[List[str], str, Dict[str, str]]:
    """Its command, folder and environment, as if it had been started in the new release: only to be looked at."""
    assert master.command
    release = release_folder(asked)
    settings = settings_of(master)
    inner = through_current(settings.folder, asked)[len(f"{DEPLOY}/current") :] if settings else ""
    folder = release + inner
    words = [f"{release}/{asked.venv}/bin/{each}" for each in ("python", "gunicorn")]
    words += [rerouted(word, release) for word in rest_of(master.command)]
    environ = dict(without_handover(master.environ), PWD=folder)
    return [*words, "--chdir", folder, "--check-config"], folder, environ


def without_handover(environ: Dict[str, str]) -> Dict[str, str]:
    """Without what would make a Gunicorn take over sockets."""
    handover = ("GUNICORN_PID", "GUNICORN_FD", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET")
    return {name: value for name, value in environ.items() if name not in handover}


if __name__ == "__main__":
    main(sys.argv[1:])
