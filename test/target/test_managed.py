"""`restart: auto` where a signal of ours cannot bring a Gunicorn to a release, but its manager can."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import Load, become, ordinary_user
from supervisor_lab import served
from test_supervisor import OneSupervisedSite


class Auto(OneSupervisedSite):
    def auto(self, release, *words, **more):
        state = ("--state", f"{self.base}/services-0")
        for verb in (["check", *state], ["environment", "--release", release], ["check-config", "--release", release]):
            done = self.lab.gunicorn(*verb, **more)
            if done.code:
                return done
        self.lab.switch(release)
        return self.lab.gunicorn("reload", "--release", release, *state, *words, **more)

    def test_one_that_no_signal_brings_to_a_release_is_restarted_by_its_manager(self):
        self.web("B")
        self.supervisor.start()
        before = self.running()
        done = self.auto(self.r2)
        self.assertEqual((done.code, done["unproven"]), (0, ""), done)
        self.assertNotEqual(self.supervisor.pid("web"), before)
        self.assertEqual(served(self.supervisor.pid("web")), "V2 L2")

    def test_one_that_a_signal_brings_to_a_release_gets_it(self):
        self.web("E")
        self.supervisor.start()
        pid = self.running()
        with Load(pid) as load:
            done = self.auto(self.r2)
        self.assertEqual((done.code, done["served"], load.failed(), served(pid)), (0, str(pid), {}, "V2 L2"), done)

    def test_a_command_of_the_manager_that_names_a_release_is_refused(self):
        self.web("B", directory=f"{self.lab.deploy}/releases/{self.r1}")
        self.supervisor.start()
        pid = self.running()
        done = self.auto(self.r2)
        self.assertEqual(done.code, 1, done)
        self.assertIn(f"directory={self.lab.current}", done["problem"])
        self.assertEqual(served(pid), "V1 L1")


@unittest.skipUnless(os.getuid() == 0, "only root can make users")
class AnotherUsers(Auto):
    """supervisord is root's, Gunicorn runs as one user, and another one deploys, who may ask supervisord."""

    def setUp(self):
        super().setUp()
        os.chmod(self.base, 0o777)
        self.server, self.deployer = self.user(), self.user()

    def user(self):
        user = ordinary_user(self)
        self.addCleanup(self.lab.close)
        self.addCleanup(self.supervisor.close)
        return user

    def web(self, style="E", name="web", **more):
        super().web(style, name, user=self.server.pw_name, **more)

    def as_deployer(self):
        return {"python": "/usr/bin/python3", "preexec_fn": become(self.deployer)}

    def auto(self, release, *words, **more):
        os.chown(f"{self.supervisor.folder}/s.sock", self.deployer.pw_uid, -1)
        words = (*words, "--address-file", f"{self.base}/address")
        return super().auto(release, *words, **self.as_deployer(), **more)

    def test_one_that_a_signal_brings_to_a_release_gets_it(self):
        self.web("E")
        self.supervisor.start()
        pid = self.running()
        with Load(pid) as load:
            done = self.auto(self.r2, "--health-check", "elsewhere")
        self.assertEqual((done.code, load.failed(), served(pid)), (0, {}, "V2 L2"), done)
        self.assertIn("the health check decides", done["note"])

    def test_without_a_health_check_it_is_not_verified(self):
        self.web("B")
        self.supervisor.start()
        self.running()
        done = self.auto(self.r2)
        self.assertEqual(done.code, 0, done)
        self.assertIn(f"belongs to {self.server.pw_name}", done["unproven"])
        self.assertEqual(served(self.supervisor.pid("web")), "V2 L2")

    test_one_that_no_signal_brings_to_a_release_is_restarted_by_its_manager = None

    def test_in_an_undo_it_is_restarted_whatever_it_took_up(self):
        self.web("E")
        self.supervisor.start()
        pid = self.running()
        self.auto(self.r2, "--health-check", "elsewhere")
        with open(f"{self.base}/previous", "w") as file:
            file.write(f"releases/{self.r1}\n")
        self.lab.switch(self.r1)
        state = ("--state", f"{self.base}/services-0", "--health-check", "elsewhere")
        done = self.lab.gunicorn("reload", "--release", self.r1, *state, **self.as_deployer())
        self.assertEqual(done.code, 0, done)
        self.assertNotEqual(self.supervisor.pid("web"), pid)
        self.assertEqual(served(self.supervisor.pid("web")), "V1 L1")

    def test_who_may_not_ask_the_manager_is_told_how(self):
        self.web("B")
        self.supervisor.start()
        self.running()
        done = super().auto(self.r2, **self.as_deployer())
        self.assertEqual(done.code, 1, done)
        self.assertIn("may not ask supervisor", done["problem"])
        self.assertIn(f"chown={self.deployer.pw_name}", done["problem"])


del OneSupervisedSite  # its own tests are elsewhere

if __name__ == "__main__":
    unittest.main()
