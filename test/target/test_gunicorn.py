import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import APPLICATION, TOOLS, Lab, Load, another_python, ask, become, ordinary_user, processes, wait_for, write

OTHER_PYTHON = another_python()

# Runs gunicorn.py as if every master had been started long ago: nothing is concluded from its age.
LONG_AGO = f"""
import sys; sys.path.insert(0, {TOOLS!r})
import gunicorn, start_folder; start_folder.UNTOUCHED = 0; gunicorn.main(sys.argv[1:])
"""


class OneSite(unittest.TestCase):
    """r1 is live: V1 with L1. r2 is V2 with the same environment, r3 is V3 with a changed library."""

    def setUp(self):
        self.base = os.path.realpath(tempfile.mkdtemp(prefix="it's a tmp "))
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        self.lab = self.site("shop")
        self.r1, self.r2, self.r3 = self.releases

    def site(self, name):
        lab = Lab(self.base, name)
        self.addCleanup(lab.close)
        lab.environment("e1", "L1")
        lab.environment("e2", "L2")
        self.releases = [lab.release("V1", "e1"), lab.release("V2", "e1"), lab.release("V3", "e2")]
        lab.switch(self.releases[0])
        return lab

    def deploy(self, release, *words, **more):
        """What a deploy asks of it, in order; the result of what failed, else of `reload`."""
        state = ("--state", f"{self.base}/state")
        for verb in (["check", *state], ["environment", "--release", release], ["check-config", "--release", release]):
            done = self.lab.gunicorn(*verb, *words, **more)
            if done.code:
                return done
        self.lab.switch(release)
        return self.lab.gunicorn("reload", "--release", release, *state, *words, **more)

    def assert_served(self, pid, page):
        address = processes.listens_at(pid)[0]
        self.assertEqual({ask(address) for _ in range(10)}, {(200, page)})

    def assert_deployed(self, done, page, load):
        self.assertEqual(done.code, 0, done)
        self.assertEqual(load.failed(), {})
        self.assert_served(int(done["served"]), page)

    def assert_refused(self, done, *words, pid, page="V1 L1"):
        self.assertEqual(done.code, 1, done)
        for word in words:
            self.assertIn(word, done["problem"] + done["message"])
        self.assert_served(pid, page)


class StartStyles(OneSite):
    def takes_code_but_no_libraries(self, style):
        one = self.lab.start(style)
        with Load(one.pid) as load:
            done = self.deploy(self.r2)
            self.assert_deployed(done, "V2 L1", load)
            self.assertEqual(done["served"], str(one.pid))
            refused = self.deploy(self.r3)
        self.assert_refused(refused, "keeps the libraries", "shop/current/.venv/bin/python", pid=one.pid, page="V2 L1")
        self.assertEqual(os.readlink(self.lab.current), f"releases/{self.r2}")

    def takes_code_and_libraries(self, style):
        one = self.lab.start(style)
        with Load(one.pid) as load:
            self.assert_deployed(self.deploy(self.r2), "V2 L1", load)
            done = self.deploy(self.r3)
            self.assert_deployed(done, "V3 L2", load)
            self.assertEqual(done["served"], str(one.pid))

    def test_a_shell_in_current(self):
        self.takes_code_but_no_libraries("A")

    def test_b_in_the_real_folder_is_refused_and_the_printed_command_cures_it(self):
        one = self.lab.start("B", "--env", "X=it's; here")
        done = self.lab.gunicorn("check")
        self.assert_refused(done, f"serves {self.lab.deploy}/releases/{self.r1} for ever", pid=one.pid)
        command = done["problem"].splitlines()[-1].strip()
        one.send_signal(signal.SIGTERM)
        one.wait()
        cured = subprocess.Popen(["sh", "-c", f"exec {command}"], cwd="/", stderr=subprocess.DEVNULL)
        self.lab.started.append(cured)
        wait_for(lambda: self.lab.serving(cured.pid))
        with Load(cured.pid) as load:
            self.assert_deployed(self.deploy(self.r3), "V3 L2", load)

    def test_c_by_module(self):
        self.takes_code_and_libraries("C")

    def test_d_chdir(self):
        self.takes_code_but_no_libraries("D")

    def test_e_python_through_current(self):
        self.takes_code_and_libraries("E")

    def test_f_python_through_current_from_a_shell(self):
        self.takes_code_and_libraries("F")

    def test_relative_to_deploy_path(self):
        self.takes_code_and_libraries("R")


class NewMaster(OneSite):
    def replaces(self, style, release, page, *options):
        one = self.lab.start(style, *options)
        with Load(one.pid) as load:
            done = self.deploy(release)
            self.assert_deployed(done, page, load)
        self.assertNotEqual(done["served"], str(one.pid))
        self.assertIsNotNone(one.wait(1))
        return int(done["served"])

    def test_preload(self):
        pid_file = f"{self.base}/pid"
        new = self.replaces("E", self.r3, "V3 L2", "--preload", "--pid", pid_file)
        with open(pid_file) as file:
            self.assertEqual(int(file.read()), new)

    def test_a_request_that_the_old_master_has_begun_is_finished(self):
        one = self.lab.start("E", "--preload")
        self.lab.switch(self.r2)
        answers = []
        address = processes.listens_at(one.pid)[0]
        begun = threading.Thread(target=lambda: answers.append(ask(address, "/slower")))
        begun.start()
        done = self.lab.gunicorn("reload", "--release", self.r2)
        self.assertEqual(done.code, 0, done)
        begun.join()
        self.assertEqual(answers, [(200, "V1 L1")])

    def test_preload_in_a_configuration_file(self):
        config = f"{self.lab.deploy}/shared/gunicorn.py"
        with open(config, "w") as file:
            file.write(f"import os\npreload_app = bool(os.getpid())\nchdir = {self.lab.current!r}\n")
        self.replaces("E", self.r2, "V2 L1", "--config", config)

    def test_another_gunicorn(self):
        self.lab.environment("e3", "L3", gunicorn="99.0")
        self.replaces("F", self.lab.release("V4", "e3"), "V4 L3")

    @unittest.skipUnless(OTHER_PYTHON, "there is but one Python here")
    def test_another_python(self):
        self.lab.environment("e3", "L3", python=OTHER_PYTHON)
        new = self.replaces("E", self.lab.release("V4", "e3"), "V4 L3")
        self.assertEqual(processes.executable(new), OTHER_PYTHON)

    def test_worker_class_of_a_library(self):
        worker = "\nfrom gunicorn.workers.sync import SyncWorker\nclass Worker(SyncWorker): made_by = VERSION\n"
        for environment in ("e1", "e2"):
            python = os.listdir(f"{self.lab.deploy}/.deployer/environments/{environment}/lib")[0]
            libraries = f"{self.lab.deploy}/.deployer/environments/{environment}/lib/{python}/site-packages"
            with open(f"{libraries}/mylib.py", "a") as file:
                file.write(worker)
        self.replaces("E", self.r3, "V3 L2", "--worker-class", "mylib.Worker")

    def test_hidden_by_setproctitle(self):
        for name, lib in (("h1", "L1"), ("h2", "L2")):
            self.lab.environment(name, lib, packages=("gunicorn", "packaging", "setproctitle"))
        self.lab.switch(self.lab.release("V1", "h1"))
        one = self.lab.start("E")
        wait_for(lambda: processes.arguments(one.pid)[0].startswith("gunicorn: master"))
        with Load(one.pid) as load:
            done = self.deploy(self.lab.release("V2", "h2"))
            self.assert_deployed(done, "V2 L2", load)
        self.assertNotEqual(int(done["served"]), one.pid)

    def test_started_by_module_it_has_none(self):
        one = self.lab.start("C", "--preload")
        self.assert_refused(self.deploy(self.r2), "--preload", "-m gunicorn", pid=one.pid)

    def test_not_where_it_may_return_to_a_removed_folder(self):
        one = self.lab.start("E")
        done = self.lab.gunicorn("environment", "--release", self.other_gunicorn(), before=LONG_AGO)
        self.assert_refused(done, "returns to the folder it was started in", pid=one.pid)

    def other_gunicorn(self):
        self.lab.environment("e3", "L3", gunicorn="99.0")
        return self.lab.release("V4", "e3")

    def test_after_reloads_where_cleanup_keeps_the_folder_it_was_started_in(self):
        one = self.lab.start("E")
        with Load(one.pid) as load:
            self.assert_deployed(self.deploy(self.r2), "V2 L1", load)
            self.assert_deployed(self.deploy(self.r3, before=LONG_AGO), "V3 L2", load)
            self.clean_up(self.r3)
            self.assertEqual(sorted(os.listdir(f"{self.lab.deploy}/releases")), [self.r1, self.r3])
            fourth = self.other_gunicorn()
            done = self.deploy(fourth, before=LONG_AGO)
            self.assert_deployed(done, "V4 L3", load)
        self.assertNotEqual(int(done["served"]), one.pid)
        one.wait()
        self.clean_up(fourth)
        self.assertEqual(os.listdir(f"{self.lab.deploy}/releases"), [fourth])

    def clean_up(self, live):
        for release in os.listdir(f"{self.lab.deploy}/releases"):
            write(f"{self.lab.deploy}/.deployer/history/{release}", "begun\ngood\n")
        words = ["--keep", "1", "--max-backups", "1", "--backup-path", self.base, "--site", "shop"]
        done = self.lab.run("history.py", "prune", *words, env={**os.environ, "RELEASE": live, "RUN": "/none"})
        self.assertEqual(done.code, 0, done)

    def test_not_where_that_folder_was_removed_however_young_the_master(self):
        one = self.lab.start("E")
        self.assertEqual(self.deploy(self.r2).code, 0)
        shutil.rmtree(f"{self.lab.deploy}/releases/{self.r1}")
        done = self.deploy(self.other_gunicorn())
        self.assert_refused(done, "returns to the folder it was started in", pid=one.pid, page="V2 L1")

    def test_the_folder_of_one_that_never_needs_it_is_not_kept(self):
        for style in "CF":
            one = self.lab.start(style)
            self.assertEqual(self.deploy(self.r2).code, 0)
            self.assertFalse(os.path.exists(f"{self.lab.deploy}/.deployer/masters"))
            one.terminate()
            one.wait()

    def test_an_unfinished_second_master_is_ended_first(self):
        one = self.lab.start("E")
        self.lab.switch(self.r2)
        os.kill(one.pid, signal.SIGUSR2)

        def second():
            return [each for each in processes.children(one.pid) if processes.children(each.pid)]

        wait_for(second)
        stray = second()[0]
        with Load(one.pid) as load:
            done = self.lab.gunicorn("reload", "--release", self.r2)
            self.assert_deployed(done, "V2 L1", load)
        self.assertEqual(int(done["served"]), one.pid)
        self.assertFalse(processes.alive(stray))


class Broken(OneSite):
    def setUp(self):
        super().setUp()
        self.broken = self.lab.release("V4", "e1", wsgi="import time; time.sleep(1.5); raise RuntimeError('broken')")

    def test_check_config_sees_it_and_touches_nothing(self):
        pid_file, path = f"{self.base}/pid", f"{self.base}/socket"
        one = self.lab.start("E", "--pid", pid_file, "--bind", f"unix:{path}")
        before = os.stat(path).st_ino, os.stat(pid_file).st_ino
        done = self.lab.gunicorn("check-config", "--release", self.broken)
        self.assert_refused(done, "--check-config fails", "RuntimeError: broken", pid=one.pid)
        self.assertEqual(self.lab.gunicorn("check-config", "--release", self.r2).code, 0)
        self.assertEqual((os.stat(path).st_ino, os.stat(pid_file).st_ino), before)

    def test_hup_ends_the_server_and_that_is_said(self):
        one = self.lab.start("E")
        self.lab.gunicorn("check", "--state", f"{self.base}/state")
        self.lab.switch(self.broken)
        done = self.lab.gunicorn("reload", "--release", self.broken)
        self.assertEqual(done.code, 1, done)
        self.assertIn("the server is down", done["message"])
        self.assertIn("shop/current/.venv/bin/gunicorn", done["hint"])
        one.wait()
        undo = self.lab.gunicorn("reload", "--release", self.r1, "--state", f"{self.base}/state")
        self.assertEqual(undo.code, 1, undo)
        self.assertIn(f"Gunicorn {one.pid} served the site when this run began, and is gone", undo["message"])
        self.assertIn("--bind 127.0.0.1:0", undo["hint"])

    def test_with_a_new_master_the_old_one_serves_on(self):
        one = self.lab.start("E", "--preload")
        self.lab.switch(self.broken)
        with Load(one.pid) as load:
            done = self.lab.gunicorn("reload", "--release", self.broken)
        self.assert_refused(done, "serves on as before", "ended while it started", pid=one.pid)
        self.assertEqual(load.failed(), {})

    def test_workers_that_never_boot(self):
        stuck = self.lab.release("V5", "e1", wsgi="import time; time.sleep(60)")
        one = self.lab.start("E")
        self.lab.switch(stuck)
        done = self.lab.gunicorn("reload", "--release", stuck, "--timeout", "2")
        self.assertEqual(done.code, 1, done)
        self.assertIn("has not booted yet", done["message"])
        self.lab.switch(self.r1)
        undo = self.lab.gunicorn("reload", "--release", self.r1)
        self.assertEqual(undo.code, 0, undo)
        self.assert_served(one.pid, "V1 L1")

    def test_a_new_master_that_never_boots_is_ended(self):
        stuck = self.lab.release("V5", "e1", wsgi="import time; time.sleep(60)")
        one = self.lab.start("E", "--preload")
        self.lab.switch(stuck)
        done = self.lab.gunicorn("reload", "--release", stuck, "--timeout", "2")
        self.assert_refused(done, "serves on as before", "has no workers", pid=one.pid)
        self.assertEqual(len(processes.children(one.pid)), 2)

    def test_slow_boot_is_waited_for(self):
        slow = self.lab.release("V5", "e1", wsgi="import time; time.sleep(2)\n" + APPLICATION)
        one = self.lab.start("E", "--preload")
        self.lab.switch(slow)
        with Load(one.pid) as load:
            self.assert_deployed(self.lab.gunicorn("reload", "--release", slow), "V5 L1", load)


class Found(OneSite):
    def test_nothing_runs(self):
        done = self.lab.gunicorn("check", "--state", f"{self.base}/state")
        self.assertEqual((done.code, done["problem"]), (0, ""), done)
        self.assertIn("no Gunicorn", done["note"])
        self.assertEqual(self.lab.gunicorn("check-config", "--release", self.r2).code, 0)
        done = self.lab.gunicorn("reload", "--release", self.r1, "--state", f"{self.base}/state")
        self.assertEqual(done.code, 0, done)
        self.assertEqual(done["served"], "")
        command = done["unserved"].replace("127.0.0.1:8000", "127.0.0.1:0 --workers 2")
        one = subprocess.Popen(["sh", "-c", f"exec {command}"], cwd="/", stderr=subprocess.DEVNULL)
        self.lab.started.append(one)
        wait_for(lambda: self.lab.serving(one.pid))
        self.assert_served(one.pid, "V1 L1")
        self.assertEqual(self.lab.gunicorn("check").code, 0)

    def test_prove_without_a_signal_of_ours(self):
        self.assertEqual(self.lab.gunicorn("prove", "--release", self.r1)["unproven"], "nothing found")
        one = self.lab.start("E")
        self.lab.switch(self.r2)
        done = self.lab.gunicorn("prove", "--release", self.r2, "--timeout", "1")
        self.assert_refused(done, f"runs in {self.lab.deploy}/releases/{self.r1}", pid=one.pid)
        one.send_signal(signal.SIGHUP)
        done = self.lab.gunicorn("prove", "--release", self.r2)
        self.assertEqual((done.code, done["served"]), (0, str(one.pid)), done)

    def test_code_without_its_libraries_is_no_proof(self):
        one = self.lab.start("D")
        self.lab.switch(self.r3)
        one.send_signal(signal.SIGHUP)
        done = self.lab.gunicorn("prove", "--release", self.r3, "--timeout", "3")
        self.assertEqual(done.code, 1, done)
        self.assertIn("runs with", done["message"])

    def test_a_site_whose_path_begins_alike(self):
        other = self.site("shop2")
        mine, theirs = self.lab.start("E"), other.start("E")
        self.assertEqual(self.deploy(self.r2)["served"], str(mine.pid))
        self.assert_served(theirs.pid, "V1 L1")
        mine.terminate()
        mine.wait()
        self.assertTrue(self.lab.gunicorn("reload", "--release", self.r2)["unserved"])

    def named_through_a_link(self):
        """From now on, deploy_path has another name in what is started."""
        link = f"{self.base}/the link"
        os.symlink(self.lab.deploy, link)
        self.lab.deploy, self.lab.current = link, f"{link}/current"

    def test_deploy_path_through_a_link(self):
        self.named_through_a_link()
        for style in "ACDER":
            self.lab.switch(self.r1)
            one = self.lab.start(style)
            with Load(one.pid) as load:
                self.assert_deployed(self.deploy(self.r2), "V2 L1", load)
                if style in "CER":
                    self.assert_deployed(self.deploy(self.r3), "V3 L2", load)
            one.terminate()
            one.wait()

    def test_a_new_master_where_deploy_path_goes_through_a_link(self):
        self.named_through_a_link()
        one = self.lab.start("F", "--preload")
        with Load(one.pid) as load:
            self.assert_deployed(self.deploy(self.r2, before=LONG_AGO), "V2 L1", load)

    def test_a_configuration_in_the_release_where_deploy_path_goes_through_a_link(self):
        self.named_through_a_link()
        for release, text in ((self.r1, ""), (self.r2, "raise RuntimeError('not this one')")):
            write(f"{self.lab.deploy}/releases/{release}/config.py", text)
        one = self.lab.start("E", "--config", f"{self.lab.current}/config.py")
        self.assert_refused(self.deploy(self.r2), "not this one", pid=one.pid)

    def test_two_masters_of_one_site(self):
        both = [self.lab.start("E"), self.lab.start("D")]
        done = self.deploy(self.r2)
        self.assertEqual(sorted(map(int, done["served"].split())), sorted(each.pid for each in both), done)
        for each in both:
            self.assert_served(each.pid, "V2 L1")

    def test_by_unix_socket(self):
        path, address = f"{self.lab.deploy}/shared/so cket", f"{self.base}/address"
        one = self.lab.start("E", "--bind", f"unix:{path}")
        with Load(one.pid) as load:
            done = self.deploy(self.r2, "--at", path, "--address-file", address)
            self.assert_deployed(done, "V2 L1", load)
        with open(address) as file:
            self.assertEqual(file.read(), f"unix:{path}")

    def test_by_pid_file(self):
        path, address = f"{self.base}/pid", f"{self.base}/address"
        one = self.lab.start("E", "--pid", path)
        done = self.deploy(self.r2, "--at", path, "--address-file", address)
        self.assertEqual(done["served"], str(one.pid), done)
        with open(address) as file:
            self.assertEqual(file.read(), processes.listens_at(one.pid)[0])

    def test_a_stale_pid_file_is_no_master(self):
        path = f"{self.base}/pid"
        ended = subprocess.Popen(["true"])
        ended.wait()
        for pid in (ended.pid, os.getpid()):
            with open(path, "w") as file:
                file.write(f"{pid}\n")
            done = self.lab.gunicorn("reload", "--release", self.r1, "--at", path)
            self.assertEqual((done.code, done["served"]), (0, ""), done)
            self.assertIn("gunicorn", done["unserved"])
        one = self.lab.start("E")
        for verb in (["check"], ["reload", "--release", self.r1]):
            self.assert_refused(self.lab.gunicorn(*verb, "--at", path), f"Gunicorn {one.pid} serves", pid=one.pid)

    def test_the_dead_are_remembered(self):
        one = self.lab.start("E")
        self.lab.gunicorn("check", "--state", f"{self.base}/state")
        with open(f"{self.base}/state") as file:
            self.assertEqual(json.load(file)["masters"][0][0], one.pid)
        one.terminate()
        one.wait()
        done = self.lab.gunicorn("reload", "--release", self.r1, "--state", f"{self.base}/state")
        self.assertEqual(done.code, 1, done)
        done = self.lab.gunicorn("prove", "--release", self.r1, "--state", f"{self.base}/state", "--timeout", "1")
        self.assertEqual(done.code, 1, done)

    @unittest.skipUnless(os.getuid() == 0, "only root can make users")
    def test_of_another_user(self):
        server, deployer = self.ordinary_user(), self.ordinary_user()
        os.chmod(self.base, 0o755)
        one = self.lab.start("E", preexec_fn=become(server))
        self.named_through_a_link()
        named = self.lab.start("E", preexec_fn=become(server))
        seen = subprocess.run(["readlink", f"/proc/{one.pid}/cwd"], preexec_fn=become(deployer), stdout=subprocess.PIPE)
        self.assertNotEqual(seen.returncode, 0, "the machine shows everything: this test proves nothing")
        done = self.lab.gunicorn("check", python="/usr/bin/python3", preexec_fn=become(deployer))
        self.assert_refused(done, f"as user {server.pw_name}", f"deploy as {server.pw_name}", pid=one.pid)
        self.assertIn(f"Gunicorn {named.pid} serves", done["problem"])
        done = self.lab.gunicorn("reload", "--release", self.r1, python="/usr/bin/python3", preexec_fn=become(deployer))
        self.assert_refused(done, f"as user {server.pw_name}", pid=one.pid)

    @unittest.skipUnless(os.getuid() == 0, "only root can make users")
    def test_root_runs_no_configuration_of_another_user(self):
        server = self.ordinary_user()
        os.chmod(self.base, 0o755)
        ran = write(f"{self.base}/ran", "")
        config = write(f"{self.base}/theirs.py", f"import os\nopen({ran!r}, 'a').write(f'{{os.geteuid()}}\\n')\n")
        for path in (ran, config):
            os.chown(path, server.pw_uid, -1)
        one = self.lab.start("E", "-c", config, preexec_fn=become(server))
        done = self.lab.gunicorn("check")
        self.assert_refused(done, f"will not run {config}", f"chown root {config}", pid=one.pid)
        self.lab.gunicorn("check_config", "--release", self.r1)
        self.lab.gunicorn("reload", "--release", self.r1)
        with open(ran) as file:
            self.assertEqual(set(file.read().split()), {str(server.pw_uid)})

    @unittest.skipUnless(os.getuid() == 0, "only root can make users")
    def test_what_another_users_workers_run_is_told_by_their_age_and_an_answer_of_the_site(self):
        server, deployer = self.ordinary_user(), self.ordinary_user()
        os.chmod(self.base, 0o755)
        one = self.lab.start("E", "--bind", "127.0.0.1:0", preexec_fn=become(server))
        self.lab.switch(self.r2)
        older = self.prove(deployer, "--timeout", "1")
        self.assertEqual(older.code, 1, older)
        self.assertIn("was started before the switch", older["message"])
        with self.restarted_meanwhile(one):
            alone = self.prove(deployer)
        self.assertEqual(alone.code, 0, alone)
        self.assertIn(f"run as {server.pw_name}", alone["unproven"])
        self.assertIn("add a health_check", alone["unproven"])
        with self.restarted_meanwhile(one):
            no_address = self.prove(deployer, "--health-check", "path")
        self.assertIn("give health_check a url", no_address["unproven"])
        with self.restarted_meanwhile(one):
            answered = self.prove(deployer, "--health-check", "elsewhere")
        self.assertEqual((answered.code, answered["served"]), (0, str(one.pid)), answered)

    @unittest.skipUnless(os.getuid() == 0, "only root can make users")
    def test_the_address_of_another_users_gunicorn_is_read_from_its_command_line(self):
        server, deployer = self.ordinary_user(), self.ordinary_user()
        os.chmod(self.base, 0o777)
        one = self.lab.start("E", "--bind", f"unix:{self.base}/g.sock", preexec_fn=become(server))
        with self.restarted_meanwhile(one):
            done = self.prove(deployer, "--health-check", "path", release=self.r1)
        self.assertEqual((done.code, done["served"]), (0, str(one.pid)), done)
        with open(f"{self.base}/run/address") as file:
            self.assertEqual(file.read(), f"unix:{self.base}/g.sock")

    @unittest.skipUnless(os.getuid() == 0, "only root can make users")
    def test_in_the_undo_another_users_workers_that_never_moved_are_believed(self):
        server, deployer = self.ordinary_user(), self.ordinary_user()
        os.chmod(self.base, 0o755)
        run = self.run_folder()
        self.lab.start("E", preexec_fn=become(server))
        as_deployer = {"python": "/usr/bin/python3", "preexec_fn": become(deployer)}
        self.lab.gunicorn("check", "--state", f"{run}/services-0", **as_deployer)
        forward = self.prove(deployer, "--state", f"{run}/services-0", "--timeout", "1", release=self.r1)
        self.assertEqual(forward.code, 1, forward)
        write(f"{run}/previous", f"releases/{self.r1}\n")
        back = self.prove(deployer, "--state", f"{run}/services-0", "--health-check", "elsewhere", release=self.r1)
        self.assertEqual(back.code, 0, back)

    def prove(self, user, *words, release=None):
        words = ("--release", release or self.r2, "--address-file", f"{self.run_folder()}/address", *words)
        return self.lab.gunicorn("prove", *words, python="/usr/bin/python3", preexec_fn=become(user))

    def run_folder(self):
        os.makedirs(f"{self.base}/run", exist_ok=True)
        os.chmod(f"{self.base}/run", 0o777)
        return f"{self.base}/run"

    @contextlib.contextmanager
    def restarted_meanwhile(self, one):
        """HUP once somebody looks: a `prove` is patient."""
        ended = threading.Event()

        def hang_up():
            wait_for(lambda: any("prove" in processes.arguments(pid) for pid in processes.table()) or ended.is_set())
            os.kill(one.pid, signal.SIGHUP)

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def ordinary_user(self):
        user = ordinary_user(self)
        self.addCleanup(self.lab.close)
        return user


if __name__ == "__main__":
    unittest.main()
