import os
import resource
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from site_folder import RELEASE, TOOLS, SiteFolder


class Shared(SiteFolder):
    def setUp(self):
        super().setUp()
        os.makedirs(self.path("releases", RELEASE))
        os.makedirs(self.path("shared"))

    def release(self, *names):
        return self.path("releases", RELEASE, *names)

    def tracked(self, name, text=""):
        return self.write(f"releases/{RELEASE}/{name}", text)

    def link(self, *words):
        self.assertEqual(self.good("shared.py", "link", *words), [])

    def undo(self):
        self.assertEqual(self.good("shared.py", "undo"), [])

    def tree(self, name="shared"):
        return sorted(
            os.path.relpath(os.path.join(folder, name), self.site)
            for folder, folders, files in os.walk(self.path(name))
            for name in folders + files
        )

    def test_files_and_folders_are_linked_relatively_at_any_depth(self):
        self.write("shared/.env", "SECRET=1")
        self.write("shared/conf/a b/it's.ini", "x")
        self.link("--dir", "media", "--dir", "var/log/app", "--file", ".env", "--file", "conf/a b/it's.ini")
        self.assertEqual(os.readlink(self.release(".env")), "../../shared/.env")
        self.assertEqual(os.readlink(self.release("var/log/app")), "../../../../shared/var/log/app")
        self.assertEqual(self.read(f"releases/{RELEASE}/conf/a b/it's.ini"), "x")
        moved = self.site + " moved"
        os.rename(self.site, moved)
        self.site = moved
        self.assertEqual(self.read(f"releases/{RELEASE}/.env"), "SECRET=1")

    def test_what_the_repository_holds_at_a_linked_place_gives_way(self):
        self.write("shared/.env", "ours")
        self.write("shared/media/photo", "ours")
        self.tracked(".env", "theirs")
        self.tracked("media/photo", "theirs")
        self.link("--dir", "media", "--file", ".env")
        self.assertEqual(self.read(f"releases/{RELEASE}/.env"), "ours")
        self.assertEqual(self.read(f"releases/{RELEASE}/media/photo"), "ours")

    def test_a_folder_of_the_repository_seeds_shared_once(self):
        self.tracked("media/a/photo", "first")
        os.symlink("a/photo", self.release("media/link"))
        os.symlink("/nowhere", self.release("media/a/dangling"))
        os.chmod(self.release("media/a/photo"), 0o640)
        os.utime(self.release("media/a/photo"), ns=(1, 1_234_567_891))
        self.link("--dir", "media")
        status = os.stat(self.path("shared/media/a/photo"))
        self.assertEqual((status.st_mode & 0o777, status.st_mtime_ns), (0o640, 1_234_567_891))
        self.assertEqual(os.readlink(self.path("shared/media/link")), "a/photo")
        self.assertEqual(os.readlink(self.path("shared/media/a/dangling")), "/nowhere")
        self.write("shared/media/a/photo", "of the site")
        os.unlink(self.release("media"))
        self.tracked("media/a/photo", "second")
        self.link("--dir", "media")
        self.assertEqual(self.read("shared/media/a/photo"), "of the site")
        self.assertEqual(os.listdir(self.path("shared")), ["media"])

    def test_every_missing_file_is_named_with_its_command_and_nothing_is_made(self):
        said = self.bad("shared.py", "link", "--dir", "media", "--file", ".env", "--file", "conf/x.ini")
        self.assertIn(f"missing in shared/: {self.path('shared/.env')}, {self.path('shared/conf/x.ini')}", said)
        quoted = self.path("shared/.env").replace("'", "'\"'\"'")
        self.assertIn(f"cp .env '{quoted}'", said)
        self.assertEqual(self.tree() + os.listdir(self.release()), [])

    def test_a_parent_that_leads_out_of_the_release_is_refused(self):
        outside = os.path.join(self.base, "etc")
        os.mkdir(outside)
        for target in (outside, "../../../etc", "../..", "../../shared"):
            os.symlink(target, self.release("conf"))
            said = self.bad("shared.py", "link", "--dir", "conf/media")
            self.assertIn("leads out of the release", said)
            os.unlink(self.release("conf"))
        self.assertEqual(os.listdir(outside), [])

    def test_a_parent_that_is_a_link_inside_the_release_works(self):
        os.makedirs(self.release("src/assets/deep"))
        os.symlink("src/assets/deep", self.release("assets"))
        self.write("shared/assets/media/photo", "x")
        self.link("--dir", "assets/media")
        self.assertEqual(self.read(f"releases/{RELEASE}/src/assets/deep/media/photo"), "x")

    def test_a_parent_that_is_a_file_and_a_shared_folder_that_is_none(self):
        self.tracked("conf", "a file")
        self.assertIn("conf is a file", self.bad("shared.py", "link", "--dir", "conf/media"))
        os.symlink("/nowhere", self.path("shared/media"))
        self.assertIn("is no folder", self.bad("shared.py", "link", "--dir", "media"))
        os.mkdir(self.path("shared/.env"))
        self.assertIn("is a folder", self.bad("shared.py", "link", "--file", ".env"))

    def test_undo_leaves_shared_as_it_was(self):
        self.write("shared/.env", "SECRET=1")
        self.write("shared/old/kept", "x")
        before = self.tree()
        self.tracked("media/a/photo", "x")
        os.symlink("photo", self.release("media/a/link"))
        os.makedirs(self.release("media/empty"))
        self.link("--dir", "media", "--dir", "var/log/app", "--dir", "old", "--file", ".env")
        self.assertNotEqual(self.tree(), before)
        self.undo()
        self.assertEqual(self.tree(), before)
        self.undo()
        self.assertEqual(self.tree(), before)

    def test_the_first_deploy_makes_shared_and_its_undo_removes_it(self):
        os.rmdir(self.path("shared"))
        self.tracked("media/photo", "x")
        self.link("--dir", "media", "--dir", "var/log")
        self.assertEqual(self.read("shared/media/photo"), "x")
        self.undo()
        self.assertFalse(os.path.exists(self.path("shared")))

    def test_undo_keeps_what_the_live_site_wrote_meanwhile(self):
        self.tracked("media/a/photo", "12345")
        self.tracked("media/b/photo", "12345")
        self.link("--dir", "media", "--dir", "uploads")
        self.write("shared/media/a/upload", "new")
        self.write("shared/media/b/photo", "54321")
        self.write("shared/uploads/upload", "new")
        self.undo()
        self.assertEqual(
            self.tree(),
            [
                "shared/" + name
                for name in "media media/a media/a/upload media/b media/b/photo uploads uploads/upload".split()
            ],
        )

    def test_undo_without_a_run_and_after_half_of_one(self):
        self.undo()
        self.tracked("media/a/photo", "x")
        self.tracked("media/big", "x" * 1000)
        half = "import resource, runpy, sys\nsys.path[0] = sys.argv[1]\n"
        half += "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        half += "runpy.run_path(sys.argv.pop(1) + '/shared.py', run_name='__main__')\n"
        code, _, _ = self.call(self.write("half.py", half), TOOLS, "link", "--dir", "media")
        self.assertNotEqual(code, 0)
        self.assertTrue(self.tree())
        self.undo()
        self.assertEqual(self.tree(), [])

    def test_linking_again_after_half_a_run(self):
        self.write("shared/.env", "SECRET=1")
        self.tracked("media/photo", "x")
        self.write(f"shared/.{RELEASE}.media/left", "half a copy")
        words = ["--dir", "media", "--dir", "var/log", "--file", ".env"]
        self.link(*words)
        after = self.tree()
        self.assertEqual(after, ["shared/.env", "shared/media", "shared/media/photo", "shared/var", "shared/var/log"])
        self.link(*words)
        self.assertEqual(self.tree(), after)
        self.undo()
        self.assertEqual(self.tree(), ["shared/.env"])

    def test_ten_thousand_files_take_no_more_than_their_system_calls(self):
        for number in range(10_000):
            self.write(f"shared/files/{number % 1000}/{number}")
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        self.link(*(word for number in range(10_000) for word in ("--file", f"files/{number % 1000}/{number}")))
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, 3)
        self.assertEqual(len(os.listdir(self.release("files/999"))), 10)


if __name__ == "__main__":
    unittest.main()
