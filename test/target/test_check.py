import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from site_folder import RELEASE, SOMEONE, SiteFolder

PYTHON = "/usr/bin/python3"


class Check(SiteFolder):
    def setUp(self):
        super().setUp()
        self.backups = self.path("backups")

    def words(self, *words, python=PYTHON, backups=None):
        return ["--backup-path", backups or self.backups, "--python", python, *words]

    def found(self, *words, **more):
        names = {name: more.pop(name) for name in ("python", "backups") if name in more}
        return self.bad("check.py", *self.words(*words, **names), **more)

    def fine(self, *words, **more):
        self.assertEqual(self.good("check.py", *self.words(*words), **more), [])

    def cure_of(self, text):
        return text.strip().split("\n")[-1]

    def mend(self, text, cwd=None):
        subprocess.run(["sh", "-euc", self.cure_of(text)], check=True, cwd=cwd or self.base)

    def test_a_fresh_site_has_no_problem_and_nothing_is_made(self):
        before = sorted(os.listdir(self.site))
        self.fine("--shared-dir", "media", "--needs-ssh")
        self.assertEqual(sorted(os.listdir(self.site)), before)

    def test_every_missing_tool_is_named_with_its_package_at_once(self):
        tools = os.path.join(self.base, "bin")
        os.mkdir(tools)
        os.symlink("/bin/tar", os.path.join(tools, "tar"))
        said = self.found("--needs-ssh", PATH=tools)
        for name, package in (("git", "git"), ("gzip", "gzip"), ("ssh", "openssh-client")):
            self.assertIn(f"{name} is not installed", said)
            self.assertRegex(said, f"apt-get install {package}(\n|$)")
        self.assertNotIn("tar is", said)

    def test_an_interpreter_that_is_absent_old_broken_or_without_pip(self):
        said = self.found(python="python3.99")
        self.assertIn("python3.99 is not installed", said)
        self.assertIn("apt-get install python3.99 python3.99-venv", said)
        old = self.interpreter("import sys; sys.version_info = (3, 7)")
        self.assertIn("is older than Python 3.8", self.found(python=old))
        seen = "next(filter(None, (each.find_spec(name, *more) for each in real)), None)"
        finder = f"staticmethod(lambda name, *more: None if name in ('pip', 'ensurepip') else {seen})"
        bare = self.interpreter(
            f"import sys; real = sys.meta_path; sys.meta_path = [type('', (), {{'find_spec': {finder}}})]"
        )
        said = self.found(python=bare)
        self.assertIn("no pip", said)
        self.assertIn("apt-get install python3-venv", said)
        broken = self.interpreter("raise SystemExit(3)")
        self.assertIn("no working Python", self.found(python=broken))

    def interpreter(self, first):
        """A Python that does something else first."""
        path = self.write("python", f'#!/bin/sh\nexec {PYTHON} -c "{first}; import sys; exec(sys.argv[1])" "$3"\n')
        os.chmod(path, 0o755)
        return path

    def test_a_missing_shared_file_comes_with_the_command_that_puts_it_there(self):
        os.makedirs(os.path.join(self.base, "conf"))
        for name in (".env", "conf/it's.ini"):
            self.write(name, "X=1", base=self.base)
            said = self.found("--shared-file", name)
            self.assertIn(f"the shared file {self.path('shared', name)} is missing", said)
            self.mend(said)
            self.fine("--shared-file", name)

    def test_the_command_for_another_machine_names_it(self):
        os.mkdir(self.path("shared"))
        said = self.found("--shared-file", ".env", "--target", "ssh deployer@web1:2222")
        self.assertIn(
            f"""scp -P 2222 .env 'deployer@web1:{self.path("shared/.env")}'""".replace("it's", "it'\"'\"'s"), said
        )
        said = self.found("--shared-file", ".env", "--target", "ssh web1")
        self.assertIn(f"""scp .env 'web1:{self.path("shared/.env")}'""".replace("it's", "it'\"'\"'s"), said)

    def test_the_command_for_a_container_runs_inside_as_its_user(self):
        docker = os.path.join(self.base, "docker")
        self.write("docker", '#!/bin/sh\nshift 5\nexec "$@"\n', base=self.base)
        os.chmod(docker, 0o755)
        self.write(".env", "X=1", base=self.base)
        said = self.found("--shared-file", ".env", "--target", "docker exec -i -u app web")
        self.assertIn("docker exec -i -u app web sh -c ", said)
        subprocess.run(["sh", "-euc", "./" + self.cure_of(said)], check=True, cwd=self.base)
        self.fine("--shared-file", ".env")
        self.assertIn(
            "add to the image of the container: RUN apt-get install -y python3.99 python3.99-venv",
            self.found("--target", "docker exec web", python="python3.99"),
        )

    def test_a_shared_file_that_is_a_folder_and_a_shared_folder_that_is_a_file(self):
        os.makedirs(self.path("shared/.env"))
        self.write("shared/media")
        said = self.found("--shared-file", ".env", "--shared-dir", "media")
        self.assertIn("shared/.env is a folder; shared_files names it as a file", said)
        self.assertIn("shared/media is a file; shared_dirs names it as a folder", said)

    def test_a_shared_folder_on_a_disk_that_is_not_there(self):
        os.makedirs(self.path("shared"))
        os.symlink("/nowhere/media", self.path("shared/media"))
        self.assertIn("is a link to /nowhere/media, which does not exist", self.found("--shared-dir", "media"))

    def live(self):
        os.makedirs(self.path("releases", RELEASE))
        os.symlink(f"releases/{RELEASE}", self.path("current"))

    def test_data_in_the_live_release_is_moved_and_linked_by_the_line_given(self):
        self.live()
        self.write("current/media/a photo.jpg", "photo")
        self.write("current/db.sqlite3", "rows")
        os.makedirs(self.path("shared/media"))
        said = self.found("--shared-dir", "media", "--shared-file", "db.sqlite3")
        self.assertEqual(said.count("holds data that"), 2)
        for line in said.split("\n")[1::2]:
            subprocess.run(["sh", "-euc", line], check=True, cwd="/")
        self.assertEqual(self.read("shared/media/a photo.jpg"), "photo")
        self.assertEqual(self.read("current/db.sqlite3"), "rows")
        self.assertTrue(os.path.islink(self.path("current/media")))
        self.fine("--shared-dir", "media", "--shared-file", "db.sqlite3")

    def test_links_placeholders_and_data_that_shared_has_are_no_problem(self):
        self.live()
        self.write("shared/media/x")
        self.write("current/media/x")
        self.write("current/logs/.gitkeep")
        os.symlink("../../shared/media", self.path("current/files"))
        self.write("elsewhere/data", base=self.base)
        os.symlink(self.base, self.path("current/out"))
        names = ("media", "logs", "files", "out/elsewhere")
        self.fine(*(word for name in names for word in ("--shared-dir", name)))

    def test_current_that_is_a_folder_becomes_a_release_by_the_line_given(self):
        self.write("current/manage.py", "old site")
        said = self.found()
        self.assertIn("current is a folder", said)
        self.mend(said)
        self.assertEqual(self.read("current/manage.py"), "old site")
        self.fine()

    def test_current_that_leads_elsewhere_or_nowhere(self):
        self.write("old/manage.py", "old site")
        os.symlink("old", self.path("current"))
        said = self.found()
        self.assertIn("leads to old, which is not in", said)
        self.mend(said)
        self.assertEqual(self.read("current/manage.py"), "old site")
        self.fine()
        os.unlink(self.path("current"))
        os.symlink("releases/gone", self.path("current"))
        said = self.found()
        self.assertIn("leads to releases/gone, which is no folder", said)
        self.mend(said)
        self.fine()

    def test_an_absolute_link_to_a_release_is_fine(self):
        self.live()
        os.unlink(self.path("current"))
        os.symlink(self.path("releases", RELEASE), self.path("current"))
        self.fine()

    @unittest.skipIf(os.geteuid(), "needs root, to be someone else")
    def test_folders_of_another_user(self):
        os.makedirs(self.path("releases"))
        said = self.found(uid=SOMEONE)
        self.assertIn(f"{self.site} belongs to root and is not writable by {SOMEONE}", said)
        self.assertIn(f"{self.path('.deployer')} belongs to root, and this deploy runs as {SOMEONE}", said)
        self.assertIn(f"sudo chown -R {SOMEONE}", said)
        self.assertIn(f"{self.backups} does not exist", said)
        self.mend(said.split("\n")[1].replace("sudo ", ""))
        subprocess.run(["chown", "-R", str(SOMEONE), self.site], check=True)
        self.fine(uid=SOMEONE)
        said = self.found()
        self.assertIn(f".deployer belongs to {SOMEONE}, and this deploy runs as root", said)

    @unittest.skipIf(os.geteuid(), "needs root, to be someone else")
    def test_a_backup_folder_that_cannot_be_made_comes_with_the_line_that_makes_it(self):
        subprocess.run(["chown", "-R", str(SOMEONE), self.site], check=True)
        place = os.path.join(self.base, "backups")
        said = self.found(uid=SOMEONE, backups=place)
        self.mend(said.replace("sudo ", ""))
        self.assertEqual(os.stat(place).st_uid, SOMEONE)
        self.assertEqual(self.good("check.py", *self.words(backups=place), uid=SOMEONE), [])

    def test_a_full_disk_is_named_by_its_filesystem(self):
        place = self.tmpfs("backups", "size=1m")
        said = self.found()
        self.assertIn(f"the filesystem {place}", said)
        self.assertRegex(said, "has [01] MB free; a deploy needs 100")

    def test_a_disk_without_inodes(self):
        place = self.tmpfs("shared", "size=200m,nr_inodes=60")
        said = self.found()
        self.assertIn(f"the filesystem {place}", said)
        self.assertRegex(said, "room for [0-9]+ more files; a deploy needs 1000")

    def test_a_read_only_disk_is_one_problem(self):
        place = self.tmpfs("releases", "size=200m")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        said = self.found()
        self.assertEqual(said.count("\n"), 1, said)
        self.assertIn(f"the filesystem {place} (of {place}) is mounted read-only", said)

    def test_problems_of_all_kinds_come_together(self):
        os.makedirs(self.path("current"))
        self.write("releases")
        said = self.found("--shared-file", ".env", python="python3.99")
        for part in ("python3.99", "current is a folder", "releases is no folder", ".env is missing"):
            self.assertIn(part, said)


if __name__ == "__main__":
    unittest.main()
