import glob
import hashlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from site_folder import RELEASE, TOOLS, SiteFolder  # noqa: E402

NEXT = "20261122_213015_124"
OTHER_PYTHONS = [*glob.glob("/root/.pyenv/versions/3.8.*/bin/python3"), "/usr/bin/python3"]


def setUpModule():
    global WHEELS
    command = [sys.executable, os.path.join(HERE, "../support/wheelhouse.py")]
    WHEELS = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class Environment(SiteFolder):
    def setUp(self):
        super().setUp()
        self.require("tinylib==1")

    def require(self, *lines, release=RELEASE, name="requirements.txt"):
        offline = ["--no-index", f'--find-links "{WHEELS}"']
        self.write(f"releases/{release}/{name}", "\n".join([*offline, *lines, ""]))

    def words(self, *words, python=sys.executable, venv=".venv"):
        return ["build", "--venv", venv, "--python", python, *words]

    def build(self, *words, release=RELEASE, python=sys.executable, **more):
        """Builds or reuses; returns the environment's name and what was said of it."""
        answers = self.good("environment.py", *self.words(*words, python=python), release=release, **more)
        [(key, note)] = answers
        self.assertEqual(key, "note")
        name = os.path.basename(os.readlink(self.path("releases", release, ".venv")))
        said, named, how = note.split()
        self.assertEqual((said, named), ("environment", name))
        self.assertLessEqual(len(name), 16)
        return name, how

    def refused(self, *words, **more):
        python = more.pop("python", sys.executable)
        return self.bad("environment.py", *self.words(*words, python=python), **more)

    def python(self, code, release=RELEASE):
        command = [self.path("releases", release, ".venv/bin/python"), "-c", code]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def environments(self):
        folder = self.path(".deployer/environments")
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def pretend(self, name, whole=True):
        """What counts as an environment, without the time to build one."""
        self.write(f".deployer/environments/{name}/lib/code.py")
        if whole:
            self.write(f".deployer/environments/{name}/complete", "key 0\n")

    def notes(self, verb):
        return [value for key, value in self.good("environment.py", verb)]


class Build(Environment):
    def test_an_environment_works_has_pip_is_for_everybody_and_is_reached_by_a_relative_link(self):
        old = os.umask(0o077)
        self.addCleanup(os.umask, old)
        self.assertEqual(self.build()[1], "built")
        os.umask(old)
        link = self.path("releases", RELEASE, ".venv")
        self.assertRegex(os.readlink(link), r"^\.\./\.\./\.deployer/environments/[0-9a-f]{12}$")
        self.assertEqual(self.python("import tinylib; print(tinylib.VERSION)"), "1")
        pip = subprocess.run([f"{link}/bin/pip", "list"], stdout=subprocess.PIPE, text=True, check=True)
        self.assertRegex(pip.stdout, r"(?m)^tinylib +1$")
        self.assertRegex(pip.stdout, r"(?m)^pip ")
        if sys.version_info < (3, 12):
            self.python("import pkg_resources")
        for folder, _folders, files in os.walk(os.path.realpath(link)):
            for path in [folder, *(os.path.join(folder, file) for file in files)]:
                self.assertTrue(os.stat(path).st_mode & stat.S_IROTH, path)

    def test_unchanged_requirements_reuse_it_and_changed_ones_leave_it_as_it_was(self):
        old, _ = self.build(PIP_EXTRA_INDEX_URL="https://me:secret@127.0.0.1:1/")
        self.assertNotIn("secret", self.read(f".deployer/environments/{old}/complete"))
        self.require("tinylib==1", release=NEXT)
        again = self.build(release=NEXT, PIP_EXTRA_INDEX_URL="https://me:secret@127.0.0.1:1/")
        self.assertEqual(again, (old, "reused"))
        self.require("tinylib==2", release=NEXT)
        new, how = self.build(release=NEXT)
        self.assertNotEqual(old, new)
        self.assertEqual(how, "built")
        self.assertEqual(self.python("import tinylib; print(tinylib.VERSION)"), "1")
        self.assertEqual(self.python("import tinylib; print(tinylib.VERSION)", release=NEXT), "2")

    def test_rebuild_makes_a_fresh_one_beside_the_old_later_deploys_use_it_and_half_of_one_is_never_used(self):
        old, _ = self.build()
        self.require("tinylib==1", release=NEXT)
        self.assertEqual(self.build("--rebuild", release=NEXT), (f"{old}-2", "built"))
        self.assertEqual(self.environments(), [old, f"{old}-2"])
        place = self.path(".deployer/environments", old)
        self.assertTrue(os.path.samefile(self.path("releases", RELEASE, ".venv"), place))
        self.assertEqual(self.build(), (f"{old}-2", "reused"))
        shutil.rmtree(self.path(f".deployer/environments/{old}-2"))
        os.unlink(f"{place}/complete")
        self.write(f".deployer/environments/{old}/half-written")
        self.assertEqual(self.build(), (old, "built"))
        self.assertFalse(os.path.exists(f"{place}/half-written"))
        self.write(f".deployer/environments/{old}/complete")
        self.assertEqual(self.build(), (f"{old}-2", "built"))

    def test_requirements_with_hashes_in_a_project_with_modules_named_like_pips(self):
        with open(glob.glob(f"{WHEELS}/tinylib-1-*.whl")[0], "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        self.require("tinylib==1 \\", f"    --hash=sha256:{digest}")
        for name in ("pip", "logging", "venv", "json"):
            self.write(f"releases/{RELEASE}/{name}.py", "raise SystemExit('the wrong module')")
        self.build(PYTHONPATH=self.path("releases", RELEASE))
        self.assertEqual(self.python("import tinylib; print(tinylib.VERSION)"), "1")

    def test_without_requirements_there_is_pip_alone(self):
        os.unlink(self.path("releases", RELEASE, "requirements.txt"))
        self.build()
        self.assertEqual(self.python("import pip; print('pip')"), "pip")

    def test_missing_files_are_named(self):
        self.assertIn("there is no web.txt", self.refused("--requirements", "web.txt"))
        self.require("-r ../base.txt", name="requirements/web.txt")
        said = self.refused("--requirements", "requirements/web.txt")
        self.assertIn("requirements/web.txt names ../base.txt", said)
        self.assertEqual(self.environments(), [])

    def test_a_venv_in_the_repository_is_refused_and_left_alone(self):
        self.write(f"releases/{RELEASE}/.venv/notes.txt", "mine")
        self.assertIn(".venv is there in the release already", self.refused())
        self.assertEqual(self.read(f"releases/{RELEASE}/.venv/notes.txt"), "mine")
        self.assertEqual(self.environments(), [])

    def test_what_cannot_be_installed_is_said_and_nothing_of_it_stays(self):
        self.require("tinylib==99")
        code, answers, log = self.call("environment.py", *self.words())
        self.assertEqual(code, 1)
        self.assertIn(("message", "pip could not install requirements.txt: exit code 1"), answers)
        self.assertIn("tinylib==99", log)
        self.assertFalse(os.path.lexists(self.path("releases", RELEASE, ".venv")))
        self.good("environment.py", "discard")
        self.assertEqual(self.environments(), [])

    def test_every_pip_of_the_machine_is_tried(self):
        real = "/usr/bin/python3"
        spec = "import importlib.util as u; print(u.find_spec('pip').origin)"
        if subprocess.call([real, "-c", spec], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            self.skipTest("/usr/bin/python3 has no pip of its own")
        self.build(python=self.interpreter(real, {6: "", 7: "/nowhere"}))
        self.assertEqual(self.python("import tinylib; print(tinylib.VERSION)"), "1")
        said = self.refused("--rebuild", python=self.interpreter(real, {6: "", 7: "/nowhere", 8: ""}))
        self.assertIn("has no pip that works", said)
        self.assertIn("apt-get install python3", said)
        self.assertIn("apt-get install python3.99-venv", self.refused(python="python3.99"))

    def interpreter(self, real, changes):
        """A Python that hides from us where its pips are."""
        path = self.write(
            "bin/python3",
            f"#!{real}\nimport os, subprocess, sys\nwords = [{real!r}, *sys.argv[1:]]\n"
            "if '-c' not in words: os.execv(words[0], words)\n"
            "fields = subprocess.check_output(words).decode().split(chr(0))\n"
            f"for index, value in {changes!r}.items(): fields[index] = value\n"
            f"fields[0] = os.path.abspath(sys.argv[0])\n"
            "print(*fields, sep=chr(0), end='')\n",
            base=self.base,
        )
        os.chmod(path, 0o755)
        return path

    def test_pip_ends_with_the_step(self):
        server = socket.socket()
        self.addCleanup(server.close)
        server.bind(("127.0.0.1", 0))
        server.listen(5)
        server.settimeout(60)
        index = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        self.write(f"releases/{RELEASE}/requirements.txt", f"--index-url {index}\ntinylib==1\n")
        words = [sys.executable, "-BES", os.path.join(TOOLS, "environment.py"), *self.words()]
        env = {**self.env, "RELEASE": RELEASE, "TMPDIR": self.base}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(words, cwd=self.site, env=env, start_new_session=True, **quiet)
        connection, _ = server.accept()  # pip asks, and gets no answer
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        connection.settimeout(60)
        while connection.recv(65536):  # ends when pip is gone
            pass
        connection.close()
        self.assertEqual(len(self.environments()), 1)
        self.good("environment.py", "discard")
        self.assertEqual(self.environments(), [])


class Key(Environment):
    """What makes two environments one: nothing is built here."""

    def key(self, *named, release=RELEASE, python=sys.executable, **env):
        code = (
            "import environment, sys; _, python, release, *named = sys.argv\n"
            "requirements = environment.read_requirements('releases/' + release, named)\n"
            "print(environment.key_of(requirements, environment.probe(python)))"
        )
        return subprocess.run(
            [sys.executable, "-B", "-c", code, python, release, *named],
            cwd=self.site,
            env={**self.env, "PYTHONPATH": TOOLS, "RELEASE": release, **env},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def test_files_named_by_files_index_settings_and_the_interpreter_count(self):
        def key(**more):
            return self.key("requirements/prod.txt", **more)

        self.write(f"releases/{RELEASE}/requirements/prod.txt", "-r base.txt\n--constraint=../limits.txt\n")
        self.write(f"releases/{RELEASE}/requirements/base.txt", "Django==5.2\n")
        self.write(f"releases/{RELEASE}/limits.txt", "tinylib<3\n")
        seen = [key()]
        self.write(f"releases/{RELEASE}/requirements/base.txt", "Django==5.1\n")
        seen.append(key())
        self.write(f"releases/{RELEASE}/limits.txt", "tinylib<2\n")
        seen.append(key())
        seen.append(key(PIP_INDEX_URL="https://127.0.0.1:1/simple"))
        self.write(".config/pip/pip.conf", "[global]\nextra-index-url = https://127.0.0.1:1/simple\n", base=self.base)
        seen.append(key())
        for other in OTHER_PYTHONS:
            if os.path.realpath(other) != os.path.realpath(sys.executable):
                seen.append(key(python=other))
        self.assertEqual(len(set(seen)), len(seen))
        self.assertEqual(key(), seen[4])

    def test_the_release_a_password_and_cosmetic_settings_do_not_count(self):
        self.require("--extra-index-url https://me:one@127.0.0.1/simple", "tinylib==1")
        first = self.key(PIP_INDEX_URL="https://me:one@127.0.0.1:1/")
        self.require("--extra-index-url https://me:two@127.0.0.1/simple", "tinylib==1", release=NEXT)
        self.assertEqual(self.key(release=NEXT, PIP_INDEX_URL="https://me:two@127.0.0.1:1/", PIP_QUIET="1"), first)

    def test_local_paths_and_loose_commits_are_built_for_each_release(self):
        def is_bound(line):
            for release in (RELEASE, NEXT):
                self.write(f"releases/{release}/requirements.txt", line)
            return self.key() != self.key(release=NEXT)

        commit = "0123456789abcdef0123456789abcdef01234567"
        for line in (
            "-e .",
            "./lib/thing",
            "lib/thing-1-py3-none-any.whl",
            "thing-1-py3-none-any.whl",
            "thing @ file:///srv/thing",
            "git+https://github.com/a/b.git",
            "b @ git+https://github.com/a/b.git@main ; python_version > '3'",
            f"-e git+https://github.com/a/b@{commit[:12]}#egg=b",
            "--requirement https://example.com/requirements.txt",
        ):
            self.assertTrue(is_bound(line), line)
        for line in (
            "thing[extra]>=1,<2 ; python_version >= '3'",
            f"b[x]@git+ssh://git@github.com/a/b.git@{commit}#egg=b",
            f"-e git+https://github.com/a/b@{commit}",
            "b @ https://example.com/b-1.zip",
            "# ./lib/thing",
            "--find-links ./wheels",
        ):
            self.assertFalse(is_bound(line), line)


class Discard(Environment):
    def test_only_what_is_not_whole_goes_and_twice_is_once(self):
        self.pretend("aaaaaaaaaaaa")
        self.pretend("bbbbbbbbbbbb", whole=False)
        self.pretend("cccccccccccc-2", whole=False)
        self.pretend("somebody-else", whole=False)
        for _ in range(2):
            self.good("environment.py", "discard")
            self.assertEqual(self.environments(), ["aaaaaaaaaaaa", "somebody-else"])

    def test_nothing_was_ever_built(self):
        self.good("environment.py", "discard")
        self.good("environment.py", "sweep")


class Sweep(Environment):
    def test_what_nothing_uses_goes_and_nothing_else(self):
        for name in ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "bbbbbbbbbbbb-2", "somebody-else"):
            self.pretend(name)
        os.symlink("../../.deployer/environments/aaaaaaaaaaaa", self.path("releases", RELEASE, "env"))
        self.assertEqual(
            self.notes("sweep"), ["removed environment bbbbbbbbbbbb", "removed environment bbbbbbbbbbbb-2"]
        )
        self.assertEqual(self.environments(), ["aaaaaaaaaaaa", "somebody-else"])
        self.assertEqual(self.notes("sweep"), [])

    def test_what_a_process_lives_in_stays(self):
        names = ["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"]
        for name in names:
            self.pretend(name)
        places = [self.path(".deployer/environments", name) for name in names]
        os.mkdir(f"{places[0]}/bin")
        os.symlink(sys.executable, f"{places[0]}/bin/python")
        self.live([f"{places[0]}/bin/python", "-c", "import sys; print(flush=True); sys.stdin.read()"])
        self.live(["sh", "-c", "echo; read line"], cwd=places[1])
        self.assertEqual(self.notes("sweep"), ["removed environment cccccccccccc"])
        self.assertEqual(self.environments(), names[:2])

    def live(self, command, **more):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **more)
        self.addCleanup(process.communicate)
        process.stdout.read(1)


if __name__ == "__main__":
    unittest.main()
