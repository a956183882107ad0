import configparser
import os
import pwd
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import TOOLS, Load, TwoReleases, ask, become, processes
from systemctl_recordings import (
    ALLOWED,
    JOB_FAILED,
    MASKED,
    NO_BUS,
    NOT_ALLOWED,
    NOT_FOUND,
    STATUS,
    Recordings,
    properties,
)

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "README.md")
README_SITE = "/var/www/sites/www.example.com"


class OneUnit(TwoReleases):
    """shop.service is what `systemctl` was recorded to say."""

    def setUp(self):
        super().setUp()
        self.systemd = Recordings(f"{self.base}/bin")
        self.systemd.set("show", self.unit())

    def unit(self, command=None, folder=None, **more):
        current = self.lab.current
        command = command or [f"{current}/.venv/bin/gunicorn", "--bind", "127.0.0.1:0", "app.wsgi"]
        return properties(command, folder or current, **more)

    def service(self, verb, *words, name="shop.service", **more):
        asked = ("--kind", "systemd", "--name", name, *words)
        return self.lab.run("service.py", verb, *asked, env=self.systemd.environ, **more)

    def assert_problem(self, done, *words):
        self.assertEqual(done.code, 1, done)
        for word in words:
            self.assertIn(word, done["problem"])

    def main_is(self, one):
        self.systemd.set("pid", str(one.pid))


class Check(OneUnit):
    def test_one_that_runs_and_one_that_does_not(self):
        self.assertEqual(self.service("check").code, 0)
        for state, sub in (("inactive", "dead"), ("failed", "failed"), ("activating", "auto-restart")):
            self.systemd.set("show", self.unit(active=state, sub=sub, pid="0"))
            done = self.service("check")
            self.assertEqual(done.code, 0, done)
            self.assertIn(f"{state} ({sub}): it will be started", done["note"])

    def test_one_that_is_not_known(self):
        self.systemd.set("show", NOT_FOUND)
        self.assert_problem(self.service("check", name="shap"), "no unit shap", "did you mean shop.service")

    def test_one_that_is_masked(self):
        self.systemd.set("show", MASKED)
        self.assert_problem(self.service("check"), "systemctl unmask shop.service")

    def test_no_systemd(self):
        self.systemd.set("show", NO_BUS)
        self.systemd.set("show.code", "1")
        self.assert_problem(self.service("check"), "systemd does not answer: Failed to connect to bus")

    def test_one_of_the_user(self):
        self.systemd.set("show.user", self.unit())
        self.systemd.set("show", NOT_FOUND)
        self.assertEqual(self.service("check").code, 0)

    def test_what_names_a_release(self):
        old, current = f"{self.lab.deploy}/releases/{self.r1}", self.lab.current
        self.systemd.set("show", self.unit(folder=old))
        self.assert_problem(self.service("check"), f"WorkingDirectory={current}\n", "names a release")
        self.systemd.set("show", self.unit(command=[f"{old}/.venv/bin/gunicorn", "app.wsgi"]))
        self.assert_problem(self.service("check"), f'ExecStart="{current}/.venv/bin/gunicorn" app.wsgi\n')

    def test_the_unit_of_the_readme(self):
        with open(README) as file:
            text = file.read().replace(README_SITE, self.lab.deploy)
        self.assertIn("```ini\n[Unit]", text)
        unit = configparser.RawConfigParser(strict=False)
        unit.optionxform = str
        unit.read_string(text.split("```ini\n", 1)[1].split("```", 1)[0])
        start = unit["Service"]["ExecStart"]
        python, script = f"{self.lab.current}/.venv/bin/python", f"{self.lab.current}/.venv/bin/gunicorn"
        self.assertTrue(start.startswith(f"{python} {script} "), start)
        self.assertEqual(unit["Service"]["ExecReload"], "/bin/kill -s HUP $MAINPID")
        rest = start[len(f"{python} {script} ") :].split()
        self.systemd.set("show", self.unit([python, script, *rest], unit["Service"]["WorkingDirectory"]))
        self.assertEqual(self.service("check").code, 0)
        asked = "import sys; sys.path.insert(0, sys.argv[1]); import systemd; print(systemd.Unit('shop').can_hang_up())"
        self.assertIn("True", self.lab.run("", TOOLS, before=asked, env=self.systemd.environ).log)


class Rights(OneUnit):
    def setUp(self):
        super().setUp()
        os.chmod(self.base, 0o755)
        self.systemd.set("refused", NOT_ALLOWED)

    def ordinary(self, verb, *words):
        """The program as an ordinary user, whom polkit refuses."""
        more = {"python": "/usr/bin/python3"}
        if os.getuid() == 0:
            more["preexec_fn"] = become(pwd.getpwnam("deployer-test"))
        return self.service(verb, *words, **more)

    def test_neither_polkit_nor_sudo(self):
        done = self.ordinary("check")
        systemctl = f"{self.systemd.folder}/systemctl".replace(" ", "\\ ")
        verbs = ", ".join(f"{systemctl} {verb} shop.service" for verb in ("restart", "stop", "reload"))
        self.assert_problem(done, "may not restart shop.service", f"ALL=(root) NOPASSWD: {verbs}")
        self.assertEqual(self.systemd.calls("restart", "reload"), [])

    def test_sudo_that_wants_a_password_for_this(self):
        self.systemd.allow("User deploy may run:\n    (root) NOPASSWD: {systemctl}\n    (ALL) ALL\n")
        self.assert_problem(self.ordinary("check"), "may not restart shop.service")

    def test_sudo_that_does_not_allow_all_that_may_be_needed(self):
        for verb in ("restart", "stop", "reload"):
            self.systemd.allow(ALLOWED.replace(f" {verb} ", " status "))
            self.assert_problem(self.ordinary("check"), f"may not {verb} shop.service")
        self.systemd.set("show", self.unit(reload=False))
        self.assertEqual(self.ordinary("check").code, 0)

    def test_sudo(self):
        self.systemd.allow(ALLOWED)
        done = self.ordinary("check")
        self.assertEqual((done.code, done["note"]), (0, "shop.service (systemd) is restarted by sudo"), done)
        self.systemd.set("restart", JOB_FAILED)
        self.systemd.set("restart.code", "1")
        self.systemd.set("show", self.unit(active="failed", sub="failed", result="exit-code", pid="0"))
        self.ordinary("restart", "--release", self.r1, "--timeout", "5")
        self.assertEqual(self.systemd.calls("restart"), ["sudo systemctl restart shop.service"])

    def test_polkit(self):
        os.unlink(f"{self.systemd.folder}/refused")
        done = self.ordinary("check")
        self.assertEqual((done.code, done["note"]), (0, ""), done)
        self.assertEqual(self.systemd.calls("start", "stop"), ["systemctl start shop.service"])
        self.systemd.set("show", self.unit(active="inactive", sub="dead", pid="0"))
        self.ordinary("check")
        self.assertEqual(self.systemd.calls("stop"), ["systemctl stop shop.service"])

    def test_what_is_asked_of_polkit_starts_nothing_else(self):
        self.ordinary("check")
        [asked] = self.systemd.words("start")
        self.assertLessEqual({"--no-block", "--no-ask-password", "--job-mode=ignore-dependencies"}, set(asked))


class Restart(OneUnit):
    def test_a_reload_where_that_is_enough(self):
        one = self.lab.start("E")
        self.main_is(one)
        self.systemd.set("reload.sh", 'kill -HUP "$(cat pid)"')
        self.lab.switch(self.r2)
        with Load(one.pid) as load:
            done = self.service("restart", "--release", self.r2)
        self.assertEqual((done.code, done["served"], done["unproven"]), (0, str(one.pid), ""), done)
        self.assertEqual((load.failed(), ask(processes.listens_at(one.pid)[0])), ({}, (200, "V2 L2")))
        self.assertEqual(self.systemd.calls("restart", "reload"), ["systemctl reload shop.service"])

    def test_a_restart_where_no_reload_is_known_or_none_would_do(self):
        for style, reload in (("E", False), ("B", True)):
            with self.subTest(style):
                self.lab.switch(self.r1)
                self.systemd.set("calls", "")
                self.systemd.set("show", self.unit(reload=reload))
                one = self.lab.start(style)
                self.main_is(one)
                self.lab.switch(self.r2)
                self.restarts_as(style)
                done = self.service("restart", "--release", self.r2)
                self.assertEqual((done.code, done["unproven"]), (0, ""), done)
                one.wait(20)
                self.assertEqual(ask(processes.listens_at(int(done["served"]))[0]), (200, "V2 L2"))
                self.assertEqual(self.systemd.calls("restart", "reload"), ["systemctl restart shop.service"])

    def test_a_reload_that_is_refused_is_a_restart(self):
        one = self.lab.start("E")
        self.main_is(one)
        self.systemd.set("reload.code", "1")
        self.lab.switch(self.r2)
        self.restarts_as("E")
        done = self.service("restart", "--release", self.r2)
        self.assertEqual((done.code, done["unproven"]), (0, ""), done)
        one.wait(20)
        self.assertEqual(ask(processes.listens_at(int(done["served"]))[0]), (200, "V2 L2"))

    def test_a_job_of_cron_is_not_crons_to_restart(self):
        one = self.lab.start("B")
        self.systemd.set("pid", str(os.getpid() + 1))
        ask_it = "import sys; sys.path.insert(0, sys.argv.pop(1)); import processes, systemd; "
        ask_it += "processes.control_group = lambda pid: '/system.slice/cron.service'; "
        ask_it += "print(systemd.unit_of(int(sys.argv[1])))"
        asked = ("", TOOLS, str(one.pid))
        self.assertIn("None", self.lab.run(*asked, before=ask_it, env=self.systemd.environ).log)
        self.main_is(one)
        self.assertIn("Unit", self.lab.run(*asked, before=ask_it, env=self.systemd.environ).log)

    def restarts_as(self, style):
        command, folder, _ = self.lab.how(style)
        words = [*command, "--bind", "127.0.0.1:0", "--workers", "2", "--no-control-socket", "app.wsgi"]
        quoted = " ".join('"' + word + '"' for word in words)
        script = f'kill "$(cat pid)"; here=$PWD; unset PWD; cd -P "{folder}"; unset PWD\n'
        self.systemd.set("restart.sh", f'{script}{quoted} >/dev/null 2>&1 & echo $! >"$here/pid"')

    def test_one_that_fails(self):
        self.systemd.set("status", STATUS)
        self.systemd.set("restart", JOB_FAILED)
        self.systemd.set("restart.code", "1")
        self.systemd.set("show", self.unit(active="failed", sub="failed", result="exit-code", pid="0"))
        done = self.service("restart", "--release", self.r1)
        self.assertEqual(done.code, 1, done)
        self.assertIn("shop.service (systemd) does not stay up: it is failed (failed), exit-code", done["message"])
        self.assertIn("No module named 'shop'", done.log)

    def test_one_that_is_started_again_and_again(self):
        states = self.unit(active="activating", sub="auto-restart", result="exit-code", pid="0")
        self.systemd.set("show", states)
        done = self.service("restart", "--release", self.r1, "--timeout", "2")
        self.assertEqual(done.code, 1, done)
        self.assertIn("activating (auto-restart), exit-code", done["message"])

    def test_a_restart_that_is_refused(self):
        one = self.lab.start("B")
        self.main_is(one)
        self.systemd.set("restart", NOT_ALLOWED.format(verb="restart"))
        self.systemd.set("restart.code", "1")
        self.lab.switch(self.r2)
        done = self.service("restart", "--release", self.r2)
        self.assertEqual(done.code, 1, done)
        self.assertIn("was not restarted: Failed to restart", done["message"])


if __name__ == "__main__":
    unittest.main()
