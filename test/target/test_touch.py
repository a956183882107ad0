import os
import socket
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import APPLICATION, Load, TwoReleases, ask, processes, wait_for, write

UWSGI = "/usr/bin/uwsgi"


class OneSite(TwoReleases):
    def setUp(self):
        super().setUp()
        self.file = f"{self.lab.deploy}/shared/reload me"

    def uwsgi(self, chdir="", home="", file="", ini="uwsgi.ini"):
        """A running uWSGI, as an ini file says."""
        self.configuration(chdir, home, file, ini)
        one = self.start("--ini", ini)
        wait_for(lambda: processes.listens_at(one.pid) and len(processes.children(one.pid)) == 2, 60)
        wait_for(lambda: self.page(one)[0] == 200, 60)
        return one

    def configuration(self, chdir="", home="", file="", ini="uwsgi.ini"):
        current = self.lab.current
        write(file or self.file, "")
        write(
            f"{self.base}/{ini}",
            "[uwsgi]\nplugin = python3\nmaster = true\nprocesses = 2\nmodule = app.wsgi\n"
            + f"http-socket = 127.0.0.1:{free_port()}\n"
            + f"chdir = {chdir or current}\nhome = {home or current + '/.venv'}\ntouch-reload = {file or self.file}\n"
            + "mercy = 10\nvacuum = true\n",
        )

    def start(self, *words):
        with open(self.lab.log, "ab") as log:
            environ = dict(os.environ, PWD=self.base)
            more = {"cwd": self.base, "env": environ, "stdin": subprocess.DEVNULL}
            one = subprocess.Popen([UWSGI, *words], stdout=log, stderr=log, **more)
        self.lab.started.append(one)
        self.addCleanup(self.end, one)
        return one

    def end(self, one):
        if one.poll() is None:
            one.kill()
            one.wait()

    def page(self, one):
        return ask(processes.listens_at(one.pid)[0])

    def touch(self, verb, *words):
        return self.lab.run("touch.py", verb, "--file", self.file, "--venv", ".venv", *words)

    def deploy(self, release, *words):
        done = self.touch("check")
        if done.code:
            return done
        self.lab.switch(release)
        return self.touch("restart", "--release", release, *words)


class Touch(OneSite):
    def test_a_release_with_another_library_and_back_though_the_file_has_a_later_time(self):
        one = self.uwsgi()
        with Load(one.pid) as load:
            done = self.deploy(self.r2)
            self.assertEqual((done.code, done["served"], done["unproven"]), (0, str(one.pid), ""), done)
            self.assertEqual(self.page(one), (200, "V2 L2"))
            before = set(processes.children(one.pid))
            os.utime(self.file, (time.time() + 60, time.time() + 60))
            wait_for(lambda: len(set(processes.children(one.pid)) - before) == 2, 60)
            back = self.deploy(self.r1)
        self.assertEqual((back.code, back["unproven"], self.page(one)), (0, "", (200, "V1 L1")), back)
        self.assertEqual(load.failed(), {})
        self.assertIn("2 workers seen to run", done.log)

    def test_one_that_still_imports_is_not_proven_yet(self):
        one = self.uwsgi()
        slow = self.lab.release("V3", "e2", wsgi=f"import time\ntime.sleep(4)\n{APPLICATION}")
        done = self.deploy(slow)
        self.assertEqual((done.code, done["unproven"]), (0, ""), done)
        self.assertEqual(len(processes.children(one.pid)), 2)
        self.assertIn("2 workers seen to run", done.log)

    def test_one_that_stays_where_it_was_started(self):
        one = self.uwsgi(chdir=f"{self.lab.deploy}/releases/{self.r1}")
        done = self.touch("check")
        self.assertEqual(done.code, 1, done)
        self.assertIn(f"chdir = {self.lab.current}", done["problem"])
        self.assertNotIn("home = ", done["problem"])
        self.lab.switch(self.r2)
        done = self.touch("restart", "--release", self.r2, "--timeout", "6")
        self.assertEqual((done.code, self.page(one)), (1, (200, "V1 L2")), done)
        self.assertIn(f"runs in {self.lab.deploy}/releases/{self.r1}", done["message"])

    def test_one_that_keeps_its_libraries(self):
        self.uwsgi(home=f"{self.lab.deploy}/releases/{self.r1}/.venv")
        done = self.touch("check")
        self.assertEqual(done.code, 1, done)
        self.assertIn(f"home = {self.lab.current}/.venv", done["problem"])
        self.lab.switch(self.r2)
        done = self.touch("restart", "--release", self.r2, "--timeout", "6")
        self.assertEqual(done.code, 1, done)
        self.assertIn("environments/e1", done["message"])

    def test_one_that_watches_another_file(self):
        self.uwsgi(file=f"{self.base}/another")
        done = self.deploy(self.r2, "--timeout", "5")
        self.assertEqual(done.code, 1, done)
        self.assertIn("is still one of before", done["message"])

    def test_none_is_not_verified(self):
        done = self.deploy(self.r2)
        self.assertEqual(done.code, 0, done)
        self.assertIn("no uWSGI that watches", done["unproven"])
        self.assertTrue(os.path.exists(self.file))

    def test_one_of_two_that_ends_is_named_in_the_undo_as_well_and_the_other_is_brought_back(self):
        one = self.uwsgi()
        other = self.uwsgi(ini="other.ini")
        state = ("--state", f"{self.base}/seen")
        self.assertEqual(self.touch("check", *state).code, 0)
        self.lab.switch(self.r2)
        other.terminate()
        self.end(other)
        done = self.touch("restart", "--release", self.r2, *state)
        self.assertEqual(done.code, 1, done)
        self.assertIn(f"the server is down: uWSGI {other.pid}", done["message"])
        self.lab.switch(self.r1)
        back = self.touch("restart", "--release", self.r1, *state)
        self.assertEqual((back.code, self.page(one)), (1, (200, "V1 L1")), back)
        self.assertIn(f"the server is down: uWSGI {other.pid}", back["message"])
        self.end(one)
        back = self.touch("restart", "--release", self.r1, *state)
        self.assertEqual((back.code, back["unproven"]), (1, ""), back)

    def test_a_file_that_cannot_be_made(self):
        self.file = f"{self.base}/nowhere/file"
        done = self.touch("check")
        self.assertEqual(done.code, 1, done)
        self.assertIn(f"there is no folder {self.base}/nowhere", done["problem"])


class Emperor(OneSite):
    """An Emperor keeps a vassal for each site; its master stays the same process when it reloads."""

    def vassals(self, *names):
        one = self.start("--emperor", "vassals")
        files = {(f"{name}.ini",) for name in names}
        wait_for(lambda: {processes.arguments(each.pid)[-1:] for each in processes.children(one.pid)} == files, 60)
        found = {processes.arguments(each.pid)[-1]: each for each in processes.children(one.pid)}
        for each in found.values():
            wait_for(lambda pid=each.pid: processes.listens_at(pid) and len(processes.children(pid)) == 2, 60)
            wait_for(lambda each=each: self.page(each)[0] == 200, 60)
        return [found[f"{name}.ini"] for name in names]

    def test_a_vassal_by_its_file_and_by_its_configuration(self):
        another = f"{self.base}/another"
        self.configuration(ini="vassals/shop.ini")
        self.configuration(ini="vassals/other.ini", file=another)
        shop, other = self.vassals("shop", "other")
        with Load(shop.pid) as load:
            done = self.deploy(self.r2)
            self.assertEqual((done.code, done["served"], done["unproven"]), (0, str(shop.pid), ""), done)
            self.assertEqual((self.page(shop), self.page(other)), ((200, "V2 L2"), (200, "V1 L1")))
            self.file = f"{self.base}/vassals/shop.ini"
            back = self.deploy(self.r1)
        self.assertEqual((back.code, back["served"], back["unproven"]), (0, str(shop.pid), ""), back)
        self.assertEqual((self.page(shop), load.failed()), ((200, "V1 L1"), {}))

    def test_a_vassal_that_stays_where_it_was_started(self):
        old = f"{self.lab.deploy}/releases/{self.r1}"
        self.configuration(ini="vassals/shop.ini", chdir=old, home=f"{old}/.venv")
        self.vassals("shop")
        done = self.touch("check")
        self.assertEqual(done.code, 1, done)
        for line in (f"chdir = {self.lab.current}", f"home = {self.lab.current}/.venv"):
            self.assertIn(line, done["problem"])


def free_port():
    """A reload keeps a socket that has a port of its own in the configuration."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


if __name__ == "__main__":
    unittest.main()
