import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from site_folder import RELEASE, SOMEONE, SiteFolder

AS_ROOT = unittest.skipIf(os.geteuid(), "needs root, to be someone else")


class Writable(SiteFolder):
    def setUp(self):
        super().setUp()
        os.makedirs(self.path("releases", RELEASE))
        os.makedirs(self.path("shared"))

    def release(self, *names):
        return self.path("releases", RELEASE, *names)

    def tree(self, folder, files):
        for name, mode in files.items():
            path = self.write(name, base=folder)
            os.chmod(path, mode)

    def mode(self, *names):
        return oct(os.stat(os.path.join(*names)).st_mode & 0o7777)

    def writable(self, *words, mode="775", **more):
        self.assertEqual(self.good("writable.py", "--mode", mode, *words, **more), [])

    def refused(self, *words, mode="775", **more):
        return self.bad("writable.py", "--mode", mode, *words, **more)

    def test_a_missing_directory_is_made_and_only_the_directory_is_changed(self):
        self.tree(self.release("cache"), {"file": 0o600, "deep/file": 0o600})
        os.chmod(self.release("cache/deep"), 0o700)
        self.writable("--dir", "cache", "--dir", "var/it's new")
        self.assertEqual(self.mode(self.release("cache")), "0o775")
        self.assertEqual(self.mode(self.release("var/it's new")), "0o775")
        self.assertEqual(self.mode(self.release("cache/deep")), "0o700")
        self.assertEqual(self.mode(self.release("cache/file")), "0o600")

    def test_recursion_gives_x_to_directories_only(self):
        self.tree(self.release("cache"), {"plain": 0o600, "deep/program": 0o700, "deep/a\nb": 0o444})
        os.chmod(self.release("cache/deep"), 0o2700)
        self.writable("--recursive", "--dir", "cache")
        self.assertEqual(self.mode(self.release("cache/deep")), "0o2775")
        self.assertEqual(self.mode(self.release("cache/plain")), "0o664")
        self.assertEqual(self.mode(self.release("cache/deep/program")), "0o764")
        self.assertEqual(self.mode(self.release("cache/deep/a\nb")), "0o664")

    def test_a_shared_directory_is_changed_where_it_is(self):
        self.tree(self.path("shared/media"), {"photo": 0o600})
        os.symlink("../../shared/media", self.release("media"))
        self.writable("--recursive", "--dir", "media", mode="2770")
        self.assertEqual(self.mode(self.path("shared/media")), "0o2770")
        self.assertEqual(self.mode(self.path("shared/media/photo")), "0o660")

    def test_links_inside_are_not_followed(self):
        self.tree(self.base, {"victim/secret": 0o600})
        os.makedirs(self.release("cache"))
        os.symlink(os.path.join(self.base, "victim"), self.release("cache/folder"))
        os.symlink(os.path.join(self.base, "victim/secret"), self.release("cache/file"))
        self.writable("--recursive", "--dir", "cache", mode="777")
        self.assertEqual(self.mode(self.base, "victim/secret"), "0o600")
        self.assertEqual(self.mode(self.base, "victim"), "0o755")

    def test_a_directory_that_leads_out_of_the_site_or_into_ours_is_refused(self):
        os.makedirs(self.path("releases/20200101_000000_000"))
        for target in ("/etc", "../..", "../../.deployer", "../20200101_000000_000", "..", "../../releases"):
            os.symlink(target, self.release("cache"))
            before = self.mode(self.release("cache"))
            self.assertIn("cache leads to ", self.refused("--dir", "cache", mode="777"))
            self.assertEqual(self.mode(self.release("cache")), before)
            os.unlink(self.release("cache"))

    def test_a_file_in_the_place_of_a_directory(self):
        self.write(f"releases/{RELEASE}/cache")
        self.assertIn("is no folder", self.refused("--dir", "cache"))

    @AS_ROOT
    def test_an_entry_of_another_owner_that_has_the_bits_is_fine(self):
        self.tree(self.path("shared/media"), {"theirs": 0o666, "ours": 0o600})
        os.chmod(self.path("shared/media"), 0o777)
        os.symlink("../../shared/media", self.release("media"))
        os.chown(self.path("shared/media/ours"), SOMEONE, SOMEONE)
        self.writable("--recursive", "--dir", "media", uid=SOMEONE)
        self.assertEqual(self.mode(self.path("shared/media/theirs")), "0o666")
        self.assertEqual(self.mode(self.path("shared/media/ours")), "0o664")

    @AS_ROOT
    def test_an_entry_of_another_owner_that_lacks_them_is_named_with_the_line_that_mends_it(self):
        self.tree(self.path("shared/media"), {"theirs": 0o644, "deep/theirs": 0o600})
        os.symlink("../../shared/media", self.release("media"))
        os.chmod(self.path("shared/media/deep"), 0o700)
        said = self.refused("--recursive", "--dir", "media", uid=SOMEONE)
        self.assertIn(f"{self.path('shared/media')} belongs to user 0", said)
        self.assertIn("and 2 more under", said)
        cure = said.split("\n")[1]
        self.assertIn("sudo chmod -R u=rwX,g=rwX,o=rX ", cure)
        subprocess.run(["sh", "-c", cure.replace("sudo ", "")], check=True)
        self.writable("--recursive", "--dir", "media", uid=SOMEONE)
        self.assertEqual(self.mode(self.path("shared/media/deep/theirs")), "0o664")

    @AS_ROOT
    @unittest.skipUnless(shutil.which("sudo"), "sudo is not installed")
    def test_sudo_that_is_not_granted_is_a_failure_with_the_line(self):
        self.tree(self.path("shared/media"), {"theirs": 0o644})
        os.symlink("../../shared/media", self.release("media"))
        self.assertIn("sudo chmod 775", self.refused("--sudo", "--dir", "media", uid=SOMEONE))

    @AS_ROOT
    def test_sudo_changes_those_entries_only_also_below_what_it_opens(self):
        self.tree(self.path("shared/media"), {"theirs": 0o600, "deep/er/theirs": 0o600, "ours": 0o600})
        os.chmod(self.path("shared/media"), 0o777)
        os.chmod(self.path("shared/media/deep"), 0o700)
        os.chown(self.path("shared/media/ours"), SOMEONE, SOMEONE)
        os.symlink("../../shared/media", self.release("media"))
        words = ["--recursive", "--sudo", "--dir", "media"]
        self.writable(*words, uid=SOMEONE, PATH=self.granting_sudo() + ":" + os.environ["PATH"])
        for name in ("theirs", "deep/er/theirs", "ours"):
            self.assertEqual(self.mode(self.path("shared/media", name)), "0o664")
        with open(os.path.join(self.base, "sudo.log")) as file:
            asked = file.read()
        self.assertIn("-n chmod 775 -- " + self.path("shared/media/deep") + "\n", asked)
        self.assertNotIn("ours", asked)

    def granting_sudo(self):
        """A sudo that grants all: the real program, made to run as root by its mode, like sudo itself."""
        folder = os.path.join(self.base, "sudo")
        os.mkdir(folder)
        source = self.write("sudo.c", SUDO, base=self.base)
        program = os.path.join(folder, "sudo")
        log = os.path.join(self.base, "sudo.log")
        if subprocess.run(["cc", "-o", program, f'-DLOG="{log}"', source], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no C compiler")
        os.chmod(program, 0o4755)
        return folder


SUDO = """
#include <stdio.h>
#include <unistd.h>
int main(int count, char **words) {
  FILE *log;
  if (setgid(0) || setuid(0) || !(log = fopen(LOG, "a"))) return 1;
  for (int at = 1; at < count; at++) fprintf(log, at == count - 1 ? "%s\\n" : "%s ", words[at]);
  fclose(log);
  execvp(words[2], words + 2);
  return 1;
}
"""


if __name__ == "__main__":
    unittest.main()
