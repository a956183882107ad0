import os
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import APPLICATION, TOOLS, Lab, Load, become, ordinary_user, processes, wait_for, write
from supervisor_lab import CELERY, Supervisor, environment, said, served

OPTIONS = "--bind 127.0.0.1:0 --workers 2 --no-control-socket app.wsgi"
DIES = """
import os, threading
threading.Timer(1.8, os._exit, (3,)).start()
"""


# Proves a service whose process ends just before it is looked at for the last time; its manager does not know yet.
JUST_ENDED = """
import subprocess, sys, time
sys.path.insert(0, sys.argv.pop(1))
import arguments, service
from managers import State
service.SETTLED = 0.1
class Job:
    describe, process, asked = "job (supervisor)", subprocess.Popen(["/bin/sleep", "1000"]), 0
    def state(self):
        if self.process.poll() is not None:
            return State("job EXITED", False, True, ())
        self.asked += 1
        if self.asked == 2:
            self.process.kill()
            self.process.wait()
        return State("job RUNNING", True, False, (self.process.pid,))
    def last_lines(self):
        return ""
service.await_proof(Job(), set(), arguments.parse(sys.argv[1:]), time.monotonic() + 20)
"""


class OneSupervisedSite(unittest.TestCase):
    """r1 is live: V1 with L1. r2 is V2 with a changed library."""

    def setUp(self):
        self.base = os.path.realpath(tempfile.mkdtemp(prefix="it's a tmp "))
        self.addCleanup(shutil.rmtree, self.base, ignore_errors=True)
        self.lab = Lab(self.base, "shop")
        self.addCleanup(self.lab.close)
        environment(self.lab, "e1", "L1")
        environment(self.lab, "e2", "L2")
        self.r1, self.r2 = self.release("V1", "e1"), self.release("V2", "e2")
        self.lab.switch(self.r1)
        self.supervisor = Supervisor(self.lab)
        self.addCleanup(self.supervisor.close)

    def release(self, version, env, wsgi=APPLICATION, worker=CELERY):
        made = self.lab.release(version, env, wsgi)
        write(f"{self.lab.deploy}/releases/{made}/app/worker.py", worker)
        return made

    def web(self, style="E", name="web", **more):
        current = self.lab.current
        script = f'"{current}/.venv/bin/gunicorn"'
        way = {
            "B": f"{script} {OPTIONS}",
            "E": f'"{current}/.venv/bin/python" {script} --chdir "{current}" {OPTIONS}',
        }[style]
        self.supervisor.program(name, **{"command": way, "directory": current, **more})

    def worker(self):
        self.said = f"{self.base}/said"
        self.supervisor.program(
            "worker",
            f'"{self.lab.current}/.venv/bin/python" -m celery -A app.worker worker --concurrency 2 --loglevel WARNING',
            self.lab.current,
            environment=f'SAY="{self.said}",C_FORCE_ROOT="1"',
        )

    def service(self, verb, name="web", *words, **more):
        done = self.lab.run("service.py", verb, "--kind", "supervisor", "--name", name, *words, **more)
        return done

    def deploy(self, release, name="web", *words):
        for verb in (["check", name], ["environment", name, "--release", release]):
            done = self.service(*verb)
            if done.code:
                return done
        self.lab.switch(release)
        return self.service("restart", name, "--release", release, *words)

    def running(self, name="web"):
        """The main process of a program whose Gunicorn serves."""
        wait_for(lambda: "RUNNING" in self.supervisor("status", name)[1], 60)
        pid = self.supervisor.pid(name)
        wait_for(lambda: self.lab.serving(pid), 60)
        return pid


class Gunicorn(OneSupervisedSite):
    def test_python_through_current_is_reloaded_without_a_failed_request(self):
        self.web("E")
        self.supervisor.start()
        pid = self.running()
        with Load(pid) as load:
            done = self.deploy(self.r2, "web", "--address-file", f"{self.base}/address")
        self.assertEqual((done.code, done["served"], done["unproven"]), (0, str(pid), ""), done)
        self.assertEqual((load.failed(), served(pid)), ({}, "V2 L2"))
        with open(f"{self.base}/address") as file:
            self.assertEqual(file.read(), processes.listens_at(pid)[0])

    def test_as_its_default_is_is_restarted(self):
        self.web("B")
        self.supervisor.start(os.path.basename(self.supervisor.config))
        before = self.running()
        done = self.deploy(self.r2)
        self.assertEqual((done.code, done["unproven"]), (0, ""), done)
        pid = self.supervisor.pid("web")
        self.assertNotEqual(pid, before)
        self.assertEqual((done["served"], served(pid)), (str(pid), "V2 L2"))

    def test_one_that_dies_after_it_was_called_started(self):
        self.web("B")
        self.supervisor.start()
        self.running()
        done = self.deploy(self.release("V3", "e2", DIES + APPLICATION))
        self.assertEqual((done.code, done["served"]), (1, ""), done)
        self.assertIn("web (supervisor)", done["message"])
        self.lab.switch(self.r1)
        back = self.service("restart", "web", "--release", self.r1)
        self.assertEqual((back.code, served(self.supervisor.pid("web"))), (0, "V1 L1"), back)

    def test_one_that_is_stopped_is_started(self):
        self.web("B", autostart="false")
        self.supervisor.start()
        done = self.deploy(self.r2)
        self.assertEqual((done.code, served(self.supervisor.pid("web"))), (0, "V2 L2"), done)
        self.supervisor("stop", "web")
        self.assertIn("it will be started", self.service("check")["note"])

    def test_one_that_a_failed_first_deploy_has_started_is_stopped_again(self):
        self.web("B", autostart="false")
        self.web("B", "other")
        self.supervisor.start()
        self.running("other")
        for name in ("web", "other"):
            self.service("check", name, "--state", f"{self.base}/{name}")
            self.assertEqual(self.service("restart", name, "--release", self.r1).code, 0)
            self.assertEqual(self.service("stop", name, "--state", f"{self.base}/{name}").code, 0)
        self.assertRegex(self.supervisor("status")[1], r"other +RUNNING(.*\n)+web +STOPPED")

    def test_a_folder_or_a_command_that_names_a_release(self):
        for name, lines in (("web", {"directory": f"{self.lab.deploy}/releases/{self.r1}"}), ("other", {})):
            self.web("B", name, **lines)
        self.supervisor.program(
            "other",
            f'"{self.lab.deploy}/releases/{self.r1}/.venv/bin/gunicorn" --bind 127.0.0.1:0 app.wsgi',
            self.lab.current,
        )
        self.supervisor.start()
        for name in ("web", "other"):
            wait_for(lambda name=name: "RUNNING" in self.supervisor("status", name)[1], 60)
            done = self.service("check", name)
            self.assertEqual(done.code, 1, done)
            self.assertIn("names a release", done["problem"])
            self.assertIn(f"{self.lab.current}/.venv/bin/gunicorn", done["problem"])
        self.assertIn(f"directory={self.lab.current}\n", self.service("check", "web")["problem"])

    def test_a_command_that_the_new_release_lacks(self):
        self.web("B")
        self.supervisor.start()
        self.running()
        os.unlink(f"{self.lab.deploy}/.deployer/environments/e2/bin/gunicorn")
        done = self.deploy(self.r2)
        self.assertEqual(done.code, 1, done)
        self.assertIn("which the new release does not have", done["message"])

    def test_whose_process_it_is(self):
        self.web("B")
        self.supervisor.program("many", "/bin/sleep 1000", "/", numprocs="2", process_name="m_%(process_num)s")
        self.supervisor.start()
        pid = self.running()
        worker = processes.children(pid)[0].pid
        ask = "import sys; sys.path.insert(0, sys.argv.pop(1)); import managers; "
        ask += "one = managers.manager_of(int(sys.argv[1])); print(one and one.describe, one and one.problem())"
        for asked, answer in ((pid, "web (supervisor)"), (worker, "web (supervisor)"), (os.getpid(), "None")):
            self.assertIn(answer, self.lab.run("", TOOLS, str(asked), before=ask).log)
        second = self.supervisor.pid("many:m_1")
        self.assertIn("many:m_1 (supervisor)", self.lab.run("", TOOLS, str(second), before=ask).log)


class Others(OneSupervisedSite):
    def test_a_celery_worker(self):
        self.worker()
        self.supervisor.start()
        self.assertEqual(said(self.said), "V1 L1")
        os.unlink(self.said)
        done = self.deploy(self.r2, "worker")
        self.assertEqual((done.code, done["unproven"]), (0, ""), done)
        self.assertEqual(said(self.said), "V2 L2")
        self.assertIn("processes seen to run", done.log)

    def test_a_celery_worker_that_does_not_import(self):
        self.worker()
        self.supervisor.start()
        self.assertEqual(said(self.said), "V1 L1")
        broken = self.release("V3", "e2", worker="raise RuntimeError('broken on purpose')")
        done = self.deploy(broken, "worker")
        self.assertEqual(done.code, 1, done)
        self.assertIn("does not stay up", done["message"])
        self.assertIn("broken on purpose", done.log)

    def test_one_that_dies_late_because_the_machine_is_busy(self):
        boot = "import sys, time\nwhile time.process_time() < 1: pass\nsys.exit(3)"
        script = write(f"{self.base}/boot.py", boot)
        self.supervisor.program(
            "job", f'taskset -c 0 "{self.lab.current}/.venv/bin/python" "{script}"', self.lab.current, autostart="false"
        )
        self.supervisor.start()
        for _ in range(8):
            words = ["taskset", "-c", "0", "/usr/bin/python3", "-c", "while True: pass"]
            other = subprocess.Popen(words, start_new_session=True)
            self.addCleanup(other.wait)
            self.addCleanup(other.kill)
        done = self.deploy(self.r2, "job")
        self.assertEqual(done.code, 1, done)
        self.assertIn("does not stay up", done["message"])

    def test_one_that_has_just_ended_is_not_one_that_idles(self):
        done = self.lab.run(
            "", TOOLS, "restart", "--kind", "supervisor", "--name", "job", "--release", self.r2, before=JUST_ENDED
        )
        self.assertEqual((done.code, done["unproven"]), (1, ""), done)
        self.assertIn("does not stay up: it is job EXITED", done["message"])

    def test_one_that_is_still_stopping_is_waited_for(self):
        script = write(
            f"{self.base}/slow.py",
            "import os, signal, sys, time\n"
            "def end(*_):\n"
            "    while not os.path.exists(sys.argv[1]): time.sleep(0.02)\n"
            "    sys.exit()\n"
            "signal.signal(signal.SIGTERM, end)\n"
            "while True: time.sleep(1000)\n",
        )
        may_end = f"{self.base}/may end"
        self.supervisor.program(
            "job",
            f'"{self.lab.current}/.venv/bin/python" "{script}" "{may_end}"',
            self.lab.current,
            stopwaitsecs="600",
        )
        self.supervisor.start()
        wait_for(lambda: "RUNNING" in self.supervisor("status", "job")[1], 60)
        stopping = threading.Thread(target=self.supervisor, args=("stop", "job"))
        stopping.start()
        wait_for(lambda: "STOPPING" in self.supervisor("status", "job")[1], 60)
        self.lab.switch(self.r2)
        done = []
        restarting = threading.Thread(
            target=lambda: done.append(self.service("restart", "job", "--release", self.r2)),
        )
        restarting.start()
        restarting.join(2)
        self.assertEqual(done, [], "it was not waited for")
        write(may_end, "")
        for each in (stopping, restarting):
            each.join()
        self.assertEqual((done[0].code, done[0]["served"]), (0, str(self.supervisor.pid("job"))), done)

    def test_a_python_of_another_environment(self):
        python = f"{self.lab.deploy}/.deployer/environments/e1/bin/python"
        self.supervisor.program("job", f'"{python}" -c "import time; time.sleep(1000)"', self.lab.current)
        self.supervisor.start()
        self.lab.switch(self.r2)
        done = self.service("restart", "job", "--release", self.r2, "--timeout", "4")
        self.assertEqual(done.code, 1, done)
        self.assertIn(f"runs with {os.path.dirname(os.path.dirname(python))}", done["message"])

    def test_what_is_no_python_is_not_verified(self):
        self.supervisor.program("job", "/bin/sleep 1000", self.lab.current)
        self.supervisor.start()
        done = self.deploy(self.r2, "job")
        self.assertEqual((done.code, done["served"]), (0, ""), done)
        self.assertIn("job (supervisor): none of its processes is a Python", done["unproven"])

    def test_one_of_before_that_lives_on_is_no_proof(self):
        self.lives_on("RUNNING")

    def test_one_of_before_that_supervisor_still_starts_is_known_as_well(self):
        self.lives_on("STARTING", startsecs="4")

    def lives_on(self, was, **more):
        python = f"{self.lab.current}/.venv/bin/python"
        script = write(f"{self.base}/run.sh", f'"{python}" -c "import time; time.sleep(1000)" &\nwait\n')
        self.supervisor.program(
            "job", f'/bin/sh "{script}"', self.lab.current, stopasgroup="false", killasgroup="false", **more
        )
        self.supervisor.start()
        wait_for(lambda: was in self.supervisor("status", "job")[1], 60)
        wait_for(lambda: processes.children(self.supervisor.pid("job")))
        before = processes.children(self.supervisor.pid("job"))[0]
        self.addCleanup(lambda: processes.alive(before) and os.kill(before.pid, 9))
        self.lab.switch(self.r2)
        done = self.service("restart", "job", "--release", self.r2, "--timeout", "12")
        self.assertEqual(done.code, 1, done)
        self.assertIn(f"process {before.pid} of before still runs", done["message"])

    def test_what_stands_before_its_answer_is_passed_over(self):
        said = "sudo: unable to resolve host web1: Name or service not known\nweb   RUNNING   pid 7, uptime 0:01:00"
        ask = "import sys; sys.path.insert(0, sys.argv.pop(1)); import supervisor; from privilege import Ran; "
        ask += "print(supervisor.reached(Ran(0, sys.argv[1])))"
        self.assertIn("True", self.lab.run("", TOOLS, said, before=ask).log)

    @unittest.skipUnless(os.getuid() == 0, "only root can become another account")
    def test_a_supervisord_of_another_account_is_not_ours_to_ask(self):
        program = write(f"{self.base}/supervisord", "import time; time.sleep(1000)")
        os.chmod(self.base, 0o755)
        words = ["/usr/bin/python3", program, "-c", f"{self.base}/theirs.conf"]
        theirs = subprocess.Popen(words, preexec_fn=become(ordinary_user(self)))
        self.addCleanup(theirs.wait)
        self.addCleanup(theirs.kill)
        wait_for(lambda: program in processes.arguments(theirs.pid))
        ask = "import sys; sys.path.insert(0, sys.argv.pop(1)); import supervisor; print(supervisor.controls())"
        self.assertNotIn("theirs.conf", self.lab.run("", TOOLS, before=ask).log)

    def test_all_processes_of_a_program(self):
        self.supervisor.program(
            "job",
            f'"{self.lab.current}/.venv/bin/python" -c "import time; time.sleep(1000)"',
            self.lab.current,
            numprocs="2",
            process_name="job_%(process_num)s",
        )
        self.supervisor.start()
        done = self.deploy(self.r2, "job")
        self.assertEqual((done.code, done["unproven"], len(done["served"].split())), (0, "", 2), done)

    def test_a_name_that_supervisor_does_not_know(self):
        self.web("B")
        self.supervisor.start()
        done = self.service("check", "wep")
        self.assertEqual(done.code, 1, done)
        self.assertIn("did you mean web?", done["problem"])

    def test_one_name_under_two_supervisords(self):
        self.web("B", autostart="false")
        self.supervisor.start()
        other = Lab(self.base, "other")
        second = Supervisor(other, "sup2")
        self.addCleanup(second.close)
        second.program("web", "/bin/sleep 1000", "/")
        second.start()
        done = self.deploy(self.r2)
        self.assertEqual((done.code, served(self.supervisor.pid("web"))), (0, "V2 L2"), done)
        self.supervisor.program("alike", "/bin/sleep 1000", "/")
        second.program("alike", "/bin/sleep 1000", "/")
        for each in (self.supervisor, second):
            each("update")
        self.assertIn("several supervisords have a program alike", self.service("check", "alike")["problem"])

    def test_no_supervisord(self):
        environ = dict(os.environ, PATH="/usr/bin:/bin")
        done = self.service("check", "nobody-has-this", env=environ)
        self.assertEqual(done.code, 1, done)
        self.assertTrue(done["problem"])


if __name__ == "__main__":
    unittest.main()
