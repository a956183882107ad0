import base64
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.parse

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from site_folder import RELEASE, SOMEONE, SiteFolder

TOKEN = "s3cret-t0ken"


class Repository(SiteFolder):
    def setUp(self):
        super().setUp()
        self.origin = os.path.join(self.base, "the origin")
        self.env.update(GIT_AUTHOR_NAME="A", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="A", GIT_COMMITTER_EMAIL="a@b")
        subprocess.run(["git", "init", "-q", "-b", "main", self.origin], check=True)
        self.first = self.commit("one", {"manage.py": "one"})

    def git(self, *words, cwd=None):
        env = {**os.environ, **self.env}
        return (
            subprocess.run(
                ["git", *words],
                cwd=cwd or self.origin,
                env=env,
                check=True,
                capture_output=True,
            )
            .stdout.decode()
            .strip()
        )

    def commit(self, message, files):
        for name, text in files.items():
            self.write(name, text, base=self.origin)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def find(self, branch="main", url=None, **more):
        self.good("repository.py", "find", "--branch", branch, "--", url or self.origin, **more)
        return self.kept("commit"), self.kept("ref")

    def kept(self, name):
        with open(os.path.join(self.run_folder, name)) as file:
            return file.read()[:-1]

    def problem(self, branch="main", url=None, **more):
        return self.bad("repository.py", "find", "--branch", branch, "--", url or self.origin, **more)

    def fetch(self, url=None, **more):
        return dict(self.good("repository.py", "fetch", "--", url or self.origin, **more))["commit"]

    def deploy(self, branch="main", url=None):
        self.find(branch, url)
        return self.fetch(url)

    def mirror(self, *words):
        return self.git("--git-dir=" + self.path(".deployer/repo.git"), *words, cwd=self.site)


class Find(Repository):
    def test_branches_tags_and_commits(self):
        second = self.commit("two", {"manage.py": "two"})
        self.git("tag", "-a", "v1", "-m", "v1", self.first)
        self.git("branch", "feature/ünï", self.first)
        self.assertEqual(self.find("main"), (second, "refs/heads/main"))
        self.assertEqual(self.find("v1"), (self.first, "refs/tags/v1"))
        self.assertEqual(self.find("feature/ünï"), (self.first, "refs/heads/feature/ünï"))
        self.assertEqual(self.find(second[:8].upper()), (second, ""))
        self.assertEqual(self.find("0123456789"), ("0123456789", ""))

    def test_a_branch_wins_over_a_tag_of_its_name(self):
        self.git("tag", "release", self.first)
        second = self.commit("two", {})
        self.git("branch", "release")
        self.assertEqual(self.find("release"), (second, "refs/heads/release"))

    def test_no_such_branch_lists_the_nearest_of_those_that_exist(self):
        for number in range(30):
            self.git("branch", f"other-{number}")
        said = self.problem("mian")
        self.assertIn("has no branch, tag or commit mian\nthe branches there: main, ", said)
        self.assertIn("and 11 more", said)

    def test_an_empty_repository(self):
        empty = os.path.join(self.base, "empty")
        self.git("init", "-q", empty)
        self.assertIn("has no branches yet\npush a first commit", self.problem(url=empty))

    def test_what_is_no_repository(self):
        os.mkdir(os.path.join(self.base, "plain"))
        self.assertIn("is no Git repository", self.problem(url=os.path.join(self.base, "plain")))
        self.assertIn("is no Git repository", self.problem(url="file:///nowhere"))

    def test_a_host_that_is_absent_or_refuses(self):
        self.assertIn(
            "cannot find a host named no-such-host.invalid", self.problem(url="http://no-such-host.invalid/x")
        )
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            for scheme in ("http", "git", "ssh"):
                said = self.problem(url=f"{scheme}://127.0.0.1:{port}/x.git")
                self.assertIn(f"127.0.0.1:{port} cannot be reached from the target", said)

    def test_a_host_that_is_silent(self):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = f"git://127.0.0.1:{silent.getsockname()[1]}/x.git"
            program = self.write(
                "impatient.py", "import sys, repository\nrepository.SILENCE = 1\nrepository.main(sys.argv[1:])\n"
            )
            tools = os.path.join(os.path.dirname(program), "tools")
            shutil.copytree(self.tools_for_all(), tools)
            shutil.move(program, tools)
            said = self.bad(os.path.join(tools, "impatient.py"), "find", "--branch", "main", "--", url)
        self.assertIn("does not answer for 1 seconds", said)

    def test_a_value_that_looks_like_an_option_is_none(self):
        said = self.problem(url="--upload-pack=touch pwned;false")
        self.assertIn("--upload-pack=touch pwned;false", said)
        self.assertFalse(os.path.exists(self.path("pwned")))

    def test_a_helper_that_runs_commands_is_refused_whatever_the_environment_says(self):
        self.write(".gitconfig", '[protocol "ext"]\nallow = always\n', base=self.base)
        self.problem(url="ext::touch pwned", GIT_ALLOW_PROTOCOL="ext")
        self.assertFalse(os.path.exists(self.path("pwned")))

    def test_git_variables_of_the_caller_do_not_reach_git(self):
        self.find(GIT_DIR="/nowhere", GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="url./x.insteadOf", GIT_CONFIG_VALUE_0="/")
        self.fetch(GIT_DIR="/nowhere", GIT_OBJECT_DIRECTORY="/nowhere")

    @unittest.skipIf(os.geteuid(), "needs root, to be someone else")
    def test_a_repository_of_another_owner(self):
        subprocess.run(["chown", "-R", str(SOMEONE), self.site], check=True)
        said = self.problem(uid=SOMEONE)
        self.assertIn("belongs to another user, and Git does not trust it", said)
        self.assertIn("git config --global --add safe.directory ", said)

    @unittest.skipUnless(shutil.which("sshd"), "sshd is not installed")
    def test_a_host_key_that_is_not_known(self):
        key = os.path.join(self.base, "key")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        os.makedirs("/run/sshd", exist_ok=True)
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            server.settimeout(20)
            port = server.getsockname()[1]
            end = self.start("repository.py", "find", "--branch", "main", "--", f"ssh://git@127.0.0.1:{port}/x.git")
            connection = server.accept()[0]
        config = self.write("sshd_config", f'HostKey "{key}"\n')
        sshd = subprocess.Popen(
            [shutil.which("sshd"), "-i", "-e", "-f", config],
            stdin=connection,
            stdout=connection,
            stderr=subprocess.PIPE,
        )
        connection.close()
        code, answers, log = end()
        sshd.communicate()
        said = dict(answers)["problem"]
        self.assertEqual(code, 1)
        self.assertIn(f"the host key of 127.0.0.1:{port} is not known", said, log)
        self.assertIn(f"ssh -T -p {port} git@127.0.0.1", said)


class Diagnosis(Repository):
    """What OpenSSH and the hosting sites say where a test cannot make them say it."""

    CASES = (
        (
            "Host key for github.com has changed and you have requested strict checking.",
            "ssh-keygen -R '[github.com]:2222'",
        ),
        ("git@github.com: Permission denied (publickey).\nfatal: Could not read from remote", "a deploy key"),
        ("ERROR: Repository not found.\nfatal: Could not read from remote repository.", "there is no repository"),
        ("remote: Repository not found.\nfatal: repository 'https://x/' not found", "there is no repository"),
        ("ssh: connect to host github.com port 22: Connection timed out", "cannot be reached"),
        ("fatal: something new", "git cannot read"),
    )

    def test_each_cause_has_its_cure(self):
        sys.path.insert(0, self.tools_for_all())
        self.addCleanup(sys.path.remove, os.path.join(self.base, "tools"))
        import git_errors

        for errors, expected in self.CASES:
            said = "\n".join(git_errors.diagnosis("ssh://git@github.com:2222/a/b.git", errors))
            self.assertIn(expected, said)
            self.assertNotRegex(said, r"\{[a-z]+\}")


class Fetch(Repository):
    def test_only_what_is_asked_for_is_fetched_and_nothing_if_it_is_there(self):
        other = self.commit("on other", {"big": "x" * 1000})
        self.git("branch", "other")
        self.git("reset", "-q", "--hard", self.first)
        self.assertEqual(self.deploy(), self.first)
        self.assertNotIn(other, self.mirror("rev-list", "--all"))
        away = self.origin + " away"
        os.rename(self.origin, away)
        self.assertEqual(self.fetch(), self.first)
        os.rename(away, self.origin)
        self.assertEqual(self.deploy("other"), other)
        second = self.commit("two", {"manage.py": "two"})
        self.assertEqual(self.deploy(), second)

    def test_commits_full_and_short_that_no_ref_shows(self):
        self.commit("two", {})
        for commit in (self.first, self.first[:9]):
            shutil.rmtree(self.path(".deployer/repo.git"), ignore_errors=True)
            self.assertEqual(self.deploy(commit), self.first)
            self.assertEqual(self.kept("commit"), self.first)

    def test_a_commit_that_nobody_has(self):
        self.find("0123456789")
        said = self.bad("repository.py", "fetch", "--", self.origin)
        self.assertIn("does not have the commit 0123456789", said)

    def test_a_commit_that_was_force_pushed_away_meanwhile(self):
        second = self.commit("two", {})
        self.find()
        self.git("reset", "-q", "--hard", self.first)
        self.git("reflog", "expire", "--expire=now", "--all")
        self.git("gc", "-q", "--prune=now")
        self.assertIn(f"does not have the commit {second} of refs/heads/main", self.bad_fetch())

    def bad_fetch(self):
        return self.bad("repository.py", "fetch", "--", self.origin)

    def test_a_branch_that_takes_the_place_of_a_folder_of_branches(self):
        self.git("branch", "a")
        self.fetch_short(self.first)
        self.commit("on a", {"x": "x"})
        self.git("branch", "-f", "a")
        self.deploy("a")
        self.git("branch", "-D", "a")
        second = self.commit("two", {"manage.py": "two"})
        self.git("branch", "a/b")
        marker = self.write(".deployer/repo.git/marker")
        self.assertEqual(self.deploy("a/b"), second)
        third = self.commit("three", {"manage.py": "three"})
        self.fetch_short(third)
        self.assertTrue(os.path.exists(marker), "all of it was fetched again")

    def fetch_short(self, commit):
        """As for a commit that no ref shows: everything is fetched."""
        self.write("commit", commit[:9] + "\n", base=self.run_folder)
        self.write("ref", "\n", base=self.run_folder)
        self.assertEqual(self.fetch(), commit)

    def test_locks_and_parts_that_a_killed_git_left(self):
        self.deploy()
        for name in ("shallow.lock", "config.lock", "packed-refs.lock", "refs/fetched/heads%main.lock", "HEAD.lock"):
            self.write(".deployer/repo.git/" + name)
        self.write(".deployer/repo.git/objects/pack/tmp_pack_x", "half")
        second = self.commit("two", {"manage.py": "two"})
        marker = self.write(".deployer/repo.git/marker")
        self.assertEqual(self.deploy(), second)
        self.assertTrue(os.path.exists(marker), "all of it was fetched again")
        self.assertFalse(os.path.exists(self.path(".deployer/repo.git/objects/pack/tmp_pack_x")))

    def test_a_tag_of_what_is_no_commit_is_refused_before_anything_is_made_of_it(self):
        self.git("tag", "-a", "-m", "a tree", "tree", "HEAD^{tree}")
        self.git("tag", "blob", "HEAD:manage.py")
        for tag in ("tree", "blob"):
            self.find(tag)
            said = self.bad("repository.py", "fetch", "--", self.origin)
            self.assertIn("does not have the commit", said)

    def test_many_packs_become_one(self):
        packs = self.path(".deployer/repo.git/objects/pack")
        counts = []
        for number in range(53):
            self.commit(f"{number}", {"manage.py": f"{number}"})
            self.deploy()
            counts.append(sum(name.endswith(".pack") for name in os.listdir(packs)))
        self.assertEqual(counts[:51], list(range(1, 52)))
        self.assertLess(counts[-1], 5)

    def test_a_broken_mirror_is_made_anew(self):
        def no_head():
            os.unlink(self.path(".deployer/repo.git/HEAD"))

        def no_objects():
            shutil.rmtree(self.path(".deployer/repo.git/objects/pack"))

        def a_file():
            shutil.rmtree(self.path(".deployer/repo.git"))
            self.write(".deployer/repo.git", "what is this")

        def empty_ref():
            self.write(".deployer/repo.git/refs/fetched/heads%main", "")
            self.commit("newer", {"newer": ""})

        def half_a_commit():
            shutil.rmtree(self.path(".deployer/repo.git"))
            self.deploy()
            pack = next(
                name for name in os.listdir(self.path(".deployer/repo.git/objects/pack")) if name.endswith(".pack")
            )
            objects = self.path(".deployer/repo.git/objects")
            with open(os.path.join(objects, "pack", pack), "rb") as file:
                data = file.read()
            shutil.rmtree(os.path.join(objects, "pack"))
            env = {**os.environ, "GIT_DIR": self.path(".deployer/repo.git")}
            subprocess.run(["git", "unpack-objects", "-q"], input=data, env=env, check=True)
            blob = self.git("rev-parse", "HEAD:manage.py")
            os.unlink(os.path.join(objects, blob[:2], blob[2:]))

        for hurt in (no_head, no_objects, a_file, empty_ref, half_a_commit):
            with self.subTest(hurt.__name__):
                self.commit("more", {"manage.py": hurt.__name__})
                self.deploy()
                hurt()
                self.assertEqual(self.deploy(), self.git("rev-parse", "HEAD"))
                self.mirror("fsck", "--strict")

    def test_a_killed_fetch_leaves_a_mirror_that_works(self):
        self.deploy()
        self.find(self.commit("many", {f"file {number}": str(number) * 1000 for number in range(300)}))
        for delay in (0.02, 0.04, 0.06, 0.08, 0.1):
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-BES",
                    os.path.join(self.tools_for_all(), "repository.py"),
                    "fetch",
                    "--",
                    self.origin,
                ],
                cwd=self.site,
                env={**self.env, "RUN": self.run_folder, "TOOLS": ""},
                start_new_session=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            with open(f"/proc/{process.pid}/stat"):
                time.sleep(delay)  # not an event: any moment will do
            os.killpg(process.pid, 9)
            process.wait()
        self.fetch()
        self.mirror("fsck", "--strict", "--connectivity-only", self.kept("commit"))


class Export(Repository):
    def release(self, *names):
        return self.path("releases", RELEASE, *names)

    def export(self, **more):
        return self.good("repository.py", "export", **more)

    def test_the_tree_without_git_and_with_its_revision(self):
        self.write("run.sh", "#!/bin/sh\n", base=self.origin)
        os.chmod(os.path.join(self.origin, "run.sh"), 0o755)
        os.symlink("manage.py", os.path.join(self.origin, "link"))
        commit = self.commit("two", {".gitattributes": "kept.txt export-ignore\n", "kept.txt": "kept"})
        self.deploy()
        self.assertEqual(self.export(), [])
        self.assertEqual(
            sorted(os.listdir(self.release())),
            [".gitattributes", "REVISION", "kept.txt", "link", "manage.py", "run.sh"],
        )
        self.assertEqual(self.read(f"releases/{RELEASE}/REVISION"), commit + "\n")
        self.assertEqual(os.readlink(self.release("link")), "manage.py")
        self.assertEqual(os.stat(self.release("run.sh")).st_mode & 0o777, 0o755)
        self.assertEqual(os.stat(self.release("manage.py")).st_mode & 0o777, 0o644)

    def test_a_release_is_never_written_over(self):
        self.deploy()
        self.write(f"releases/{RELEASE}/mine", "mine")
        self.assertIn("exists already", self.bad("repository.py", "export"))
        self.assertEqual(os.listdir(self.release()), ["mine"])

    def test_names_with_quotes_newlines_and_bytes(self):
        names = [b'a "b".txt', b"new\nline", b"caf\xe9", "cafe\u0301/ü".encode(), b"-x", b"*", b" "]
        for name in names:
            path = os.path.join(os.fsencode(self.origin), name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(name)
        self.commit("names", {})
        self.deploy()
        self.export(LANG="C", LC_ALL="POSIX")
        for name in names:
            with open(os.path.join(os.fsencode(self.release()), name), "rb") as file:
                self.assertEqual(file.read(), name)

    def test_a_revision_of_the_repository_never_leads_us_elsewhere(self):
        os.symlink(self.write("victim", "safe", base=self.base), os.path.join(self.origin, "REVISION"))
        commit = self.commit("link", {})
        self.deploy()
        self.export()
        self.assertEqual(self.read(f"releases/{RELEASE}/REVISION"), commit + "\n")
        with open(os.path.join(self.base, "victim")) as file:
            self.assertEqual(file.read(), "safe")

    def test_submodules_and_lfs_pointers_are_named(self):
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
        self.git("update-index", "--add", "--cacheinfo", f"160000,{self.first},libs/theirs")
        self.git("commit", "-q", "-m", "submodule")
        self.write("media/.gitattributes", "*.jpg filter=lfs\n", base=self.origin)
        self.write("media/a photo.jpg", pointer, base=self.origin)
        self.git("add", "media")
        self.git("commit", "-q", "-m", "lfs")
        self.deploy()
        warnings = [value for key, value in self.export() if key == "warning"]
        self.assertEqual(len(warnings), 2)
        self.assertIn("submodules are not fetched, their folders are empty: libs/theirs", warnings[0])
        self.assertIn("media/a photo.jpg", warnings[1])

    def test_a_damaged_mirror_is_made_anew_by_the_next_deploy(self):
        self.commit("big", {"big": base64.b64encode(os.urandom(100_000)).decode()})
        self.deploy()
        packs = self.path(".deployer/repo.git/objects/pack")
        pack = os.path.join(packs, next(name for name in os.listdir(packs) if name.endswith(".pack")))
        os.chmod(pack, 0o644)
        with open(pack, "r+b") as file:
            file.seek(os.path.getsize(pack) // 2)
            file.write(b"\xff" * 1000)
        said = self.bad("repository.py", "export")
        self.assertIn("deploy again", said)
        shutil.rmtree(self.release())
        self.deploy()
        self.export()


class Backend(http.server.BaseHTTPRequestHandler):
    """`git http-backend` behind a user and a password."""

    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect + self.path)
            self.end_headers()
        elif self.headers.get("Authorization") not in self.server.accepted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.serve()

    do_POST = do_GET

    def serve(self):
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": self.server.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": urllib.parse.unquote(path),
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        out = subprocess.run(
            ["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ).stdout
        head, _, rest = out.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(lines.pop("Status", "200").split()[0]))
        for name, value in lines.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)

    def log_message(self, *_):
        pass


class Credentials(Repository):
    def setUp(self):
        super().setUp()
        self.server = self.serve()
        self.server.accepted = [self.basic("deploy", TOKEN), self.basic(TOKEN, "")]
        self.url = f"http://127.0.0.1:{self.server.server_port}/the%20origin/.git"

    def serve(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
        server.root, server.accepted, server.redirect, server.seen = self.base, [], "", []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(lambda: (server.shutdown(), thread.join(), server.server_close()))
        return server

    def basic(self, user, password):
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def test_a_password_that_is_wanted_and_one_that_is_wrong(self):
        self.assertIn("wants a user and a password", self.problem(url=self.url))
        said = self.problem(url=self.url, DEPLOYER_GIT_USER="deploy", DEPLOYER_GIT_PASSWORD="wrong")
        self.assertIn("refuses the user and password", said)

    def test_a_repository_that_is_not_there(self):
        said = self.problem(url=self.url + "x", DEPLOYER_GIT_USER="deploy", DEPLOYER_GIT_PASSWORD=TOKEN)
        self.assertIn("there is no repository", said)

    def test_a_token_is_in_no_argv_file_or_log(self):
        for user, password in (("deploy", TOKEN), (TOKEN, "")):
            with self.subTest(user):
                shutil.rmtree(self.path(".deployer/repo.git"), ignore_errors=True)
                secrets = {"DEPLOYER_GIT_USER": user, "DEPLOYER_GIT_PASSWORD": password, "TOOLS": self.slow_askpass()}
                lines, logs = set(), []
                for words in (["find", "--branch", "main", "--", self.url], ["fetch", "--", self.url]):
                    logs.append(self.sampled(words, secrets, lines))
                self.assertTrue(any("remote-http" in line for line in lines), lines)
                self.assertTrue(any("askpass" in line for line in lines), lines)
                self.assertNotIn(TOKEN, "\n".join(lines) + "\n".join(logs))
                self.assertEqual(subprocess.run(["grep", "-rF", TOKEN, self.site], stdout=subprocess.PIPE).stdout, b"")

    def slow_askpass(self):
        """The programs, with one that is at work for so long that its command line is seen."""
        tools = self.tools_for_all()
        with open(os.path.join(tools, "askpass.sh"), "r+") as file:
            text = file.read()
            file.seek(0)
            file.write(text.replace("\n", "\nsleep 0.2\n", 1))
        return tools

    def sampled(self, words, secrets, lines):
        """Runs the program while every command line of the machine is looked at, again and again."""
        done = threading.Event()

        def watch():
            while not done.is_set():
                for pid in filter(str.isdigit, os.listdir("/proc")):
                    try:
                        with open(f"/proc/{pid}/cmdline", errors="replace") as file:
                            lines.add(file.read())
                    except OSError:
                        pass

        watcher = threading.Thread(target=watch)
        watcher.start()
        code, answers, log = self.call("repository.py", *words, **secrets)
        done.set()
        watcher.join()
        self.assertEqual(code, 0, log)
        return log + repr(answers)

    def test_a_redirect_does_not_take_the_password_to_another_host(self):
        other = self.serve()
        other.accepted = ["nobody"]
        self.server.redirect = f"http://localhost:{other.server_port}"
        self.problem(url=self.url, DEPLOYER_GIT_USER="deploy", DEPLOYER_GIT_PASSWORD=TOKEN)
        self.assertTrue(other.seen)
        self.assertEqual({authorization for _, authorization in other.seen}, {None})

    def test_no_helper_of_the_user_hears_of_the_password(self):
        spy = os.path.join(self.base, "spy")
        section = f'[credential "http://127.0.0.1:{self.server.server_port}"]'
        config = section + '\nhelper = "!cat >>\\"$HOME/spy\\" #"\n'
        self.write(".gitconfig", config, base=self.base)
        self.find(url=self.url, DEPLOYER_GIT_USER="deploy", DEPLOYER_GIT_PASSWORD=TOKEN)
        self.assertFalse(os.path.exists(spy))
        self.problem(url=self.url)
        self.assertTrue(os.path.exists(spy))

    def test_askpass_answers_git_alone_and_without_an_x_bit(self):
        tools = self.tools_for_all()
        os.chmod(os.path.join(tools, "askpass.sh"), 0o600)
        secrets = {"DEPLOYER_GIT_USER": "deploy", "DEPLOYER_GIT_PASSWORD": TOKEN, "TOOLS": tools}
        self.find(url=self.url, **secrets)
        env = {**secrets, "DEPLOYER_GIT_HOST": "host:80", "PATH": os.environ["PATH"]}
        for prompt, said in (
            ("Username for 'http://host:80': ", "deploy\n"),
            ("Password for 'http://deploy@host:80': ", TOKEN + "\n"),
            ("Password for 'http://deploy@evil': ", ""),
            ("Password for 'http://host:80@evil': ", ""),
        ):
            words = ["sh", os.path.join(tools, "askpass.sh"), prompt]
            self.assertEqual(subprocess.run(words, env=env, stdout=subprocess.PIPE).stdout.decode(), said)


if __name__ == "__main__":
    unittest.main()
