"""A site's folder for tests, and the programs of the target run in it as a step would run them."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

TOOLS = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..", "src", "target"))
RELEASE = "20261122_213015_123"
SOMEONE = 12345  # a user who owns nothing here


class SiteFolder(unittest.TestCase):
    def setUp(self):
        self.base = tempfile.mkdtemp(prefix="it's a tmp ")
        os.chmod(self.base, 0o755)
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        self.site = os.path.realpath(os.path.join(self.base, "the site"))
        self.run_folder = os.path.join(self.site, ".deployer/run", RELEASE)
        os.makedirs(self.run_folder)
        os.makedirs(os.path.join(self.site, ".deployer/history"))
        self.env = {"PATH": os.environ["PATH"], "HOME": self.base, "LANG": "C.UTF-8"}

    def path(self, *names):
        return os.path.join(self.site, *names)

    def write(self, name, text="", base=None):
        path = os.path.join(base or self.site, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def read(self, name):
        with open(self.path(name)) as file:
            return file.read()

    def start(self, program, *words, uid=None, release=RELEASE, stdin="", **more):
        """Starts a program of the target. Returns a function that awaits it: exit code, [(key, value)], log."""
        answers = tempfile.TemporaryFile()
        code = (
            "import os, sys\n"
            "os.dup2(int(sys.argv[1]), 3)\n"
            "int(sys.argv[2]) and (os.setgroups([]), os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[2])))\n"
            "os.execv(sys.executable, [sys.executable, '-BES'] + sys.argv[3:])\n"
        )
        tools = self.tools_for_all() if uid else TOOLS
        words = [str(answers.fileno()), str(uid or 0), os.path.join(tools, program), *words]
        env = {**self.env, "RELEASE": release, "RUN": self.run_folder, "TOOLS": tools, **more}
        process = subprocess.Popen(
            ["/usr/bin/python3" if uid else sys.executable, "-c", code, *words],
            cwd=self.site,
            env=env,
            pass_fds=[answers.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

        def end():
            log = process.communicate(stdin.encode())[0].decode("utf-8", "surrogateescape")
            answers.seek(0)
            records = answers.read().decode("utf-8", "surrogateescape").split("\0")[:-1]
            answers.close()
            return process.returncode, [tuple(record.split("=", 1)) for record in records], log

        return end

    def tools_for_all(self):
        """The repository may lie where only root can read."""
        tools = os.path.join(self.base, "tools")
        shutil.copytree(TOOLS, tools, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        return tools

    def call(self, program, *words, **more):
        return self.start(program, *words, **more)()

    def good(self, program, *words, **more):
        """The answers of a program that has to succeed."""
        code, answers, log = self.call(program, *words, **more)
        self.assertEqual(code, 0, (answers, log))
        return answers

    def bad(self, program, *words, **more):
        """What a program says that has to fail: its message and hint, or its problems."""
        code, answers, log = self.call(program, *words, **more)
        self.assertEqual(code, 1, (answers, log))
        self.assertNotIn("Traceback", log)
        return "\n".join(value for key, value in answers if key in ("message", "hint", "problem"))

    def tmpfs(self, name, options):
        """A file system of its own, where this may be mounted."""
        folder = self.path(name)
        os.makedirs(folder, exist_ok=True)
        if os.geteuid() or subprocess.call(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]):
            self.skipTest("nothing can be mounted here")
        self.addCleanup(self.unmount)
        return folder

    def unmount(self):
        """Unmounts what is mounted in the folder, wherever a program that fails its test has moved it."""
        with open("/proc/self/mounts") as file:
            points = [line.split()[1].replace("\\040", " ") for line in file]
        for point in points:
            if point.startswith(self.base + "/"):
                subprocess.call(["umount", "-l", point])
