"""A deploy_path with releases and environments, real Gunicorns in it in every start style, and a load on them."""

import atexit
import collections
import glob
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..", "src", "target")))
import processes
import proof

TOOLS = os.path.dirname(os.path.abspath(processes.__file__))

SYSTEM_PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else shutil.which("python3")
PATIENCE = 20
USERS = itertools.count(1)
WORKERS = 2

APPLICATION = """
import time
import mylib
from app.version import VERSION

def application(environ, start_response):
    time.sleep({"/slow": 0.6, "/slower": 4}.get(environ["PATH_INFO"], 0))
    body = (VERSION + " " + mylib.VERSION).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


class Installed:
    """Gunicorn and what is asked for, installed once per test run; environments are made from it in no time."""

    folder = None
    wanted = ("gunicorn", "django", "setproctitle")

    @classmethod
    def site_packages(cls):
        if not cls.folder:
            cls.folder = tempfile.mkdtemp(prefix="it's a tmp ")
            atexit.register(shutil.rmtree, cls.folder, ignore_errors=True)
            subprocess.run([SYSTEM_PYTHON, "-m", "venv", cls.folder], check=True)
            pip = [f"{cls.folder}/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, *cls.wanted], check=True)
            os.chmod(cls.folder, 0o755)
        return glob.glob(f"{cls.folder}/lib/python3*/site-packages")[0]


def make_environment(
    path, lib, packages=("gunicorn", "packaging"), python=SYSTEM_PYTHON, gunicorn="", installed=Installed
):
    """A virtualenv with Gunicorn and `mylib`; `gunicorn` gives it out as another version."""
    subprocess.run([python, "-m", "venv", "--without-pip", path], check=True)
    libraries = glob.glob(f"{path}/lib/python3*/site-packages")[0]
    for package in packages:
        for found in glob.glob(f"{installed.site_packages()}/{package}*"):
            name = os.path.basename(found)
            if gunicorn and name.startswith("gunicorn-"):
                name = f"gunicorn-{gunicorn}.dist-info"
            if os.path.isdir(found):
                shutil.copytree(found, f"{libraries}/{name}", copy_function=os.link)
            else:
                os.link(found, f"{libraries}/{name}")
    write(f"{libraries}/mylib.py", f'VERSION = "{lib}"\n')
    script = "import sys\nfrom gunicorn.app.wsgiapp import run\nsys.exit(run())\n"
    write(f"{path}/bin/gunicorn", f"#!/bin/sh\n'''exec' \"{path}/bin/python\" \"$0\" \"$@\"\n' '''\n{script}")
    os.chmod(f"{path}/bin/gunicorn", 0o755)


def another_python():
    """The real path of a Python that is not the system's; None where there is but one."""
    for name in ("python3", "python3.13", "python3.12", "python3.10"):
        ask_it = [name, "-c", "import os, sys, venv; print(os.path.realpath(sys.executable))"]
        if not shutil.which(name):
            continue
        said = subprocess.run(ask_it, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/")
        path = said.stdout.decode().strip()
        if said.returncode == 0 and path != os.path.realpath(SYSTEM_PYTHON):
            return path
    return None


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)
    return path


class Lab:
    """One site's deploy_path. `close` ends whatever it has started."""

    numbers = itertools.count(100)

    def __init__(self, base, name="shop"):
        self.base = base
        self.deploy = os.path.join(base, name)
        self.current = f"{self.deploy}/current"
        self.log = f"{base}/{name}.log"
        self.started = []
        os.makedirs(f"{self.deploy}/.deployer/environments")
        os.makedirs(f"{self.deploy}/shared")

    def close(self):
        family = [pid for each in self.started for pid in (each.pid, *descendants(each.pid))]
        here = os.path.realpath(self.deploy) + "/"
        family += [pid for pid in processes.table() if processes.folder(pid).startswith(here)]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        for each in self.started:
            each.wait()

    def environment(self, name, lib, **more):
        make_environment(f"{self.deploy}/.deployer/environments/{name}", lib, **more)
        return name

    def release(self, version, environment, wsgi=APPLICATION):
        made = f"20261122_213015_{next(self.numbers)}"
        folder = f"{self.deploy}/releases/{made}"
        write(f"{folder}/app/__init__.py", "")
        write(f"{folder}/app/version.py", f'VERSION = "{version}"\n')
        write(f"{folder}/app/wsgi.py", wsgi)
        os.symlink(f"../../.deployer/environments/{environment}", f"{folder}/.venv")
        return made

    def switch(self, release):
        os.symlink(f"releases/{release}", f"{self.deploy}/.deployer/next")
        os.rename(f"{self.deploy}/.deployer/next", self.current)

    def start(self, style, *options, app="app.wsgi", **more):
        """A running Gunicorn, its workers booted. Styles: see `how`."""
        command, folder, env = self.how(style)
        env.update(more.pop("env", {}))
        bind = () if any("bind" in each for each in options) else ("--bind", "127.0.0.1:0")
        words = [*command, *bind, "--workers", str(WORKERS), "--no-control-socket", *options, app]
        with open(self.log, "ab") as log:
            one = subprocess.Popen(words, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more)
        self.started.append(one)
        wait_for(lambda: self.serving(one.pid) or one.poll() is not None)
        assert one.poll() is None, open(self.log).read()
        return one

    def serving(self, pid):
        workers = processes.children(pid)
        return len(workers) == WORKERS and all(proof.booted(each) for each in workers)

    def how(self, style):
        """A: from a shell in current. B: as a manager does, in its real folder. C: -m. D: --chdir. E: the Python named
        through current too. F: E, from a shell in current. R: E, by paths relative to deploy_path."""
        env = {name: value for name, value in os.environ.items() if name != "PWD"}
        script = [f"{self.current}/.venv/bin/gunicorn"]
        python = [f"{self.current}/.venv/bin/python"]
        there = ["--chdir", self.current]
        return {
            "A": (script, self.current, dict(env, PWD=self.current)),
            "B": (script, self.current, env),
            "C": ([*python, "-m", "gunicorn", *there], self.base, env),
            "D": ([*script, *there], self.base, env),
            "E": ([*python, *script, *there], self.base, env),
            "F": ([*python, *script, *there], self.current, dict(env, PWD=self.current)),
            "R": (
                ["current/.venv/bin/python", "current/.venv/bin/gunicorn", "--chdir", "current"],
                self.deploy,
                dict(env, PWD=self.deploy),
            ),
        }[style]

    def run(self, program, *words, python=sys.executable, flags=("-ES",), before="", **more):
        """Runs a program of the target as a step does: as the child of a shell."""
        with tempfile.TemporaryFile() as answers:
            shell = f'"$@" 3>&{answers.fileno()} || exit "$?"'
            code = ["-c", before] if before else [f"{TOOLS}/{program}"]
            done = subprocess.run(
                ["sh", "-c", shell, "sh", python, *flags, *code, *words],
                cwd=self.deploy,
                pass_fds=[answers.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                **more,
            )
            answers.seek(0)
            return Done(done.returncode, answers.read().decode(), done.stdout.decode())

    def gunicorn(self, verb, *words, **more):
        return self.run("gunicorn.py", verb, "--venv", ".venv", *words, **more)


class Done:
    """How a program ended: exit code, answers by key, log."""

    def __init__(self, code, answers, log):
        self.code, self.log = code, log
        self.answers = collections.defaultdict(list)
        for record in answers.split("\0")[:-1]:
            key, _, value = record.partition("=")
            self.answers[key].append(value)

    def __getitem__(self, key):
        return "\n".join(self.answers[key])

    def __repr__(self):
        return f"exit {self.code}, {dict(self.answers)}, log: {self.log}"


class Load:
    """Requests without a pause, quick ones and slow ones, while the block runs; `answers` counts what came back."""

    def __init__(self, pid):
        self.address = processes.listens_at(pid)[0]
        self.answers = collections.Counter()
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.loop, args=(path,)) for path in ("/", "/", "/slow")]

    def loop(self, path):
        while not self.ended.is_set():
            status, body = ask(self.address, path)
            self.answers[body if status == 200 else f"FAILED {status} {body}"] += 1
            time.sleep(0.005)

    def __enter__(self):
        for each in self.threads:
            each.start()
        wait_for(lambda: self.answers)
        return self

    def __exit__(self, *_):
        self.ended.set()
        for each in self.threads:
            each.join()

    def failed(self):
        return {answer: count for answer, count in self.answers.items() if answer.startswith("FAILED")}


def ask(address, path="/"):
    """Status and body; status 0 and the reason when the request failed."""
    try:
        if address.startswith("unix:"):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(address[5:])
        else:
            host, port = address.rsplit(":", 1)
            connection = socket.create_connection((host, int(port)), PATIENCE)
        with connection:
            connection.settimeout(PATIENCE)
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            data = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()
    except (OSError, IndexError) as error:
        return 0, repr(error)


def descendants(pid):
    return [each for child in processes.children(pid) for each in (child.pid, *descendants(child.pid))]


def wait_for(true, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come true in time")
        time.sleep(0.02)


class TwoReleases(unittest.TestCase):
    """r1 is live: V1 with L1. r2 is V2 with a changed library."""

    def setUp(self):
        self.base = os.path.realpath(tempfile.mkdtemp(prefix="it's a tmp "))
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        self.lab = Lab(self.base, "shop")
        self.addCleanup(self.lab.close)
        self.lab.environment("e1", "L1")
        self.lab.environment("e2", "L2")
        self.r1, self.r2 = self.lab.release("V1", "e1"), self.lab.release("V2", "e2")
        self.lab.switch(self.r1)


def ordinary_user(test):
    """A new account, which is removed at the end of a test, after what runs as it."""
    name = f"lab{os.getpid()}{next(USERS)}"
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], check=True)
    test.addCleanup(subprocess.run, ["userdel", name], stderr=subprocess.DEVNULL)
    return pwd.getpwnam(name)


def sudoers(test, line):
    """Has the real sudo obey a line until the end of the test; to be called again to change it."""
    path = f"/etc/sudoers.d/deployer_{os.getpid()}"
    draft = write(f"{test.base}/sudoers", line + "\n")
    subprocess.run(["visudo", "-cqf", draft], check=True)  # a wrong line would make every sudo of the machine complain
    subprocess.run(["install", "-m", "440", draft, path], check=True)
    test.addCleanup(lambda: os.path.exists(path) and os.unlink(path))


def become(user):
    """For `preexec_fn`: the process is that account's, without its supplementary groups."""

    def change():
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)

    return change
