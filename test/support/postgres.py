"""A private PostgreSQL for tests: a cluster in a temp folder, reached by its Unix socket only.

As a program it prints one line of JSON, {"host", "bin", "user"}, and the cluster lives until its stdin ends.
"""

import atexit
import ctypes
import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time

USER = "tester"
TEST_ACCOUNT = "deployer-test"  # test/setup.sh makes it: PostgreSQL refuses to run as root
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_wal_size=64MB", "shared_buffers=16MB")
PATIENCE = 60
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class Cluster:
    """Whoever connects as USER is its superuser, without a password. It ends with this process, however that ends."""

    def __init__(self):
        self.bin = newest_binaries()
        self.host = tempfile.mkdtemp(prefix="it's a tmp ", dir="/tmp")  # a socket's path may have 107 characters
        atexit.register(self.stop)
        os.chmod(self.host, 0o755)
        self.account = pwd.getpwnam(TEST_ACCOUNT) if os.geteuid() == 0 else None
        if self.account:
            os.chown(self.host, self.account.pw_uid, self.account.pw_gid)
        self.data = os.path.join(self.host, "data")
        self.log = os.path.join(self.host, "log")
        self.server = None
        words = ["--no-sync", "--auth=trust", f"--username={USER}", "--encoding=UTF8", "--locale=C", self.data]
        subprocess.run(self.command("initdb", *words), check=True, stdout=subprocess.DEVNULL, **self.surroundings())
        self.server = self.start()

    def command(self, program, *words):
        return [os.path.join(self.bin, program), *words]

    def surroundings(self):
        return {"cwd": self.host, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, "preexec_fn": self.become_ordinary}

    def become_ordinary(self):
        if self.account:
            os.setgroups([])
            os.setgid(self.account.pw_gid)
            os.setuid(self.account.pw_uid)
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGINT)

    def start(self):
        settings = [f"-c{setting}" for setting in (*FAST, "listen_addresses=", f"unix_socket_directories={self.host}")]
        with open(self.log, "a") as log:
            command = self.command("postgres", "-D", self.data, *settings)
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.surroundings())
        end = time.monotonic() + PATIENCE
        while subprocess.call(self.command("pg_isready", "-q", "-h", self.host)) != 0:
            if server.poll() is not None or time.monotonic() > end:
                with open(self.log) as log:
                    raise RuntimeError(f"PostgreSQL does not start:\n{log.read()}")
            time.sleep(0.05)
        return server

    def stop(self):
        """All connections are cut off."""
        if self.server and self.server.poll() is None:
            self.server.send_signal(signal.SIGINT)
            self.server.wait()
        shutil.rmtree(self.host, ignore_errors=True)

    def psql(self, database, statement):
        words = ["-h", self.host, "-U", USER, "-d", database, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement]
        return subprocess.run(self.command("psql", *words), check=True, stdout=subprocess.PIPE, text=True).stdout

    def schema(self, database):
        """The tables, columns in their order, indexes, sequences and so on, as SQL."""
        words = ["--schema-only", "-h", self.host, "-U", USER, database]
        dump = subprocess.run(self.command("pg_dump", *words), check=True, stdout=subprocess.PIPE, text=True).stdout
        return "".join(line for line in dump.splitlines(True) if not line.startswith(("\\restrict", "\\unrestrict")))


def newest_binaries():
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if not found:
        raise RuntimeError("there is no /usr/lib/postgresql/*/bin/initdb: run test/setup.sh")
    return os.path.dirname(max(found, key=lambda path: float(path.split("/")[4])))


def main():
    cluster = Cluster()
    print(json.dumps({"host": cluster.host, "bin": cluster.bin, "user": USER}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
