"""A real supervisord, with programs of a site: a Gunicorn, a Celery worker, whatever is asked for."""

import os
import subprocess
import time

from lab import SYSTEM_PYTHON, Installed, ask, processes, wait_for, write

CELERY = """
import os
import celery, mylib
from app.version import VERSION

app = celery.Celery("app", broker="memory://")

@celery.signals.worker_ready.connect
def say(**_):
    with open(os.environ["SAY"], "w") as file:
        file.write(VERSION + " " + mylib.VERSION)
"""

CONFIG = """
[supervisord]
nodaemon=true
logfile=%(here)s/supervisord.log
pidfile=%(here)s/supervisord.pid
[unix_http_server]
file=%(here)s/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%(here)s/s.sock
[include]
files=programs.d/*.conf
"""


class WithManagers(Installed):
    folder = None
    wanted = ("gunicorn", "celery", "supervisor")


def environment(lab, name, lib):
    """A virtualenv of a site with Gunicorn and Celery."""
    return lab.environment(name, lib, packages=("",), installed=WithManagers)


class Supervisor:
    """One supervisord; `close` ends it with all its programs. Its socket's path must be short."""

    def __init__(self, lab, name="sup"):
        self.lab = lab
        self.folder = f"{lab.base}/{name}"
        self.config = write(f"{self.folder}/the config.conf", CONFIG)
        os.makedirs(f"{self.folder}/programs.d")
        self.daemon = None

    @property
    def control(self):
        WithManagers.site_packages()
        return f"{WithManagers.folder}/bin/supervisorctl"

    def program(self, name, command, directory, **more):
        lines = {"command": command, "directory": directory, "stopasgroup": "true", "killasgroup": "true", **more}
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        write(f"{self.folder}/programs.d/{name}.conf", f"[program:{name}]\n{text}")

    def allow(self, user):
        """Lets an account ask it."""
        write(f"{self.folder}/programs.d/socket.conf", f"[unix_http_server]\nfile=%(here)s/../s.sock\nchown={user}\n")

    def start(self, config=""):
        """Starts it, and waits until it answers."""
        WithManagers.site_packages()
        words = [f"{WithManagers.folder}/bin/supervisord", "-c", config or self.config]
        self.daemon = subprocess.Popen(words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for(lambda: self("status")[0] in (0, 3) and "refused" not in self("status")[1], 60)

    def __call__(self, *words):
        done = subprocess.run(
            [self.control, "-c", self.config, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return done.returncode, done.stdout.decode().strip()

    def pid(self, name):
        return int(self("pid", name)[1])

    def close(self):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.terminate()
            try:
                self.daemon.wait(20)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()


def served(pid):
    """The page that a Gunicorn gives."""
    found = processes.listens_at(pid)
    return ask(found[0])[1] if found else ""


def said(path):
    """What a Celery worker has written when it was ready."""
    for _ in range(600):
        if os.path.exists(path) and os.path.getsize(path):
            with open(path) as file:
                return file.read()
        time.sleep(0.05)
    return ""


__all__ = ["CELERY", "SYSTEM_PYTHON", "Supervisor", "WithManagers", "environment", "said", "served"]
