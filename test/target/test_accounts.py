"""A supervisord of root, asked by another account: as itself, or by the real sudo."""

import os
import pwd
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import Load, become, sudoers
from supervisor_lab import served
from test_supervisor import OPTIONS, OneSupervisedSite


@unittest.skipUnless(os.getuid() == 0, "only root can start programs of another user")
class OtherAccounts(OneSupervisedSite):
    """supervisord is root's, Gunicorn runs as one account, and another one deploys."""

    def setUp(self):
        super().setUp()
        os.chmod(self.base, 0o755)
        self.web("B", user="nobody")
        self.supervisor.program("alone", "/bin/sleep 1000", "/")

    def as_deployer(self, verb, name, *words):
        deployer = become(pwd.getpwnam("deployer-test"))
        return self.service(verb, name, *words, python="/usr/bin/python3", preexec_fn=deployer)


class Accounts(OtherAccounts):
    def test_one_who_may_not_ask_supervisor(self):
        self.supervisor.start()
        self.running()
        done = self.as_deployer("check", "web")
        self.assertEqual(done.code, 1, done)
        control = f"NOPASSWD: {self.supervisor.control} -c"
        for word in ("deployer-test may not ask supervisor", "chown=deployer-test", control, "restart web"):
            self.assertIn(word, done["problem"].replace("\\ ", " "))

    def test_what_another_user_runs(self):
        self.supervisor.allow("deployer-test")
        self.supervisor.start()
        before = self.running()
        self.assertEqual(self.as_deployer("check", "web").code, 0)
        self.lab.switch(self.r2)
        done = self.as_deployer("restart", "web", "--release", self.r2)
        self.assertEqual((done.code, done["served"]), (0, ""), done)
        self.assertIn("belongs to nobody", done["unproven"])
        pid = self.running()
        self.assertEqual((pid == before, served(pid)), (False, "V2 L2"))
        done = self.as_deployer("restart", "web", "--release", self.r2, "--health-check", "elsewhere")
        self.assertEqual((done.code, done["unproven"], done["served"]), (0, "", str(self.running())), done)
        self.assertIn("the health check decides", done["note"])

    def test_what_another_user_runs_with_the_libraries_of_before(self):
        self.web("B", user="nobody", command=f'"{self.lab.deploy}/.deployer/environments/e1/bin/gunicorn" {OPTIONS}')
        self.supervisor.allow("deployer-test")
        self.supervisor.start()
        self.running()
        self.lab.switch(self.r2)
        done = self.as_deployer("restart", "web", "--release", self.r2, "--timeout", "5", "--health-check", "elsewhere")
        self.assertEqual(done.code, 1, done)
        self.assertIn(".deployer/environments/e1", done["message"])


class Sudo(OtherAccounts):
    def setUp(self):
        super().setUp()
        os.mkdir(f"{self.base}/run")
        os.chown(f"{self.base}/run", pwd.getpwnam("deployer-test").pw_uid, -1)
        self.seen = f"{self.base}/run/seen"

    def deploy_by_sudo(self, *ways):
        """The problem that check names is mended by the line that it prints: the deploy passes then."""

        def asked(verb, *words):
            return self.as_deployer(verb, "web", *words)

        line = asked("check")["problem"].splitlines()[-1].strip()
        self.assertTrue(line.startswith("deployer-test ALL=(root) NOPASSWD: "), line)
        for way in ways:
            sudoers(self, way(line))
            refused = asked("check")
            self.assertEqual((refused.code, refused["problem"].splitlines()[-1].strip()), (1, line), refused)
        sudoers(self, line)
        checked = asked("check", "--state", self.seen)
        self.assertEqual(checked.code, 0, checked)
        self.assertIn("web (supervisor) is restarted by sudo", checked["note"])
        self.lab.switch(self.r2)
        done = asked("restart", "--release", self.r2, "--health-check", "elsewhere")
        self.assertEqual((done.code, done["unproven"]), (0, ""), done)
        self.assertEqual(served(self.running()), "V2 L2")

    def test_by_sudo_with_the_line_that_check_prints(self):
        self.supervisor.start()
        self.running()
        self.deploy_by_sudo(
            lambda line: line.partition(", ")[0],
            lambda line: f"{line.partition(', ')[0]}\ndeployer-test ALL=(ALL) PASSWD: ALL",
            lambda line: line.rpartition(", ")[0],
            lambda line: line.replace("NOPASSWD", "PASSWD"),
        )

    def test_a_hang_up_by_sudo(self):
        self.web("E", user="nobody")
        self.supervisor.start()
        pid = self.running()
        with Load(pid) as load:
            self.deploy_by_sudo()
        self.assertEqual((load.failed(), self.supervisor.pid("web")), ({}, pid))

    def test_what_a_first_deploy_has_started_is_stopped_by_sudo(self):
        self.web("B", user="nobody", autostart="false")
        self.supervisor.start()
        self.deploy_by_sudo()
        done = self.as_deployer("stop", "web", "--state", self.seen)
        self.assertEqual((done.code, done["warning"]), (0, ""), done)
        self.assertIn("STOPPED", self.supervisor("status", "web")[1])

    def test_a_group_by_sudo(self):
        self.supervisor.program("many", "/bin/sleep 1000", "/", numprocs="2", process_name="m_%(process_num)s")
        self.supervisor.start()
        sudoers(self, self.as_deployer("check", "many")["problem"].splitlines()[-1])
        refused = self.as_deployer("check", "many")["problem"]
        self.assertIn("If it is a group, name it many:*", refused)
        sudoers(self, self.as_deployer("check", "many:*")["problem"].splitlines()[-1])
        self.assertEqual(self.as_deployer("check", "many:*").code, 0)

    def test_by_sudo_where_it_was_found_by_itself(self):
        self.supervisor.start()
        self.running()
        as_deployer = {"python": "/usr/bin/python3", "preexec_fn": become(pwd.getpwnam("deployer-test"))}

        def auto(verb, *words):
            return self.lab.gunicorn(verb, *words, **as_deployer)

        line = auto("check")["problem"].splitlines()[-1].strip()
        sudoers(self, line.replace("PROGRAM", "web"))
        self.assertEqual(auto("check").code, 0, auto("check"))
        self.lab.switch(self.r2)
        done = auto("reload", "--release", self.r2, "--health-check", "elsewhere")
        self.assertEqual((done.code, done["unproven"]), (0, ""), done)
        self.assertEqual(served(self.running()), "V2 L2")


del OneSupervisedSite  # its own tests are elsewhere

if __name__ == "__main__":
    unittest.main()
