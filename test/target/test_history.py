import os
import random
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from site_folder import SOMEONE, TOOLS, SiteFolder

sys.path.insert(0, TOOLS)
import history
import processes
import retention

SITE = "www.example.com"


def id_of(number):
    return f"20261122_2130{number // 1000:02}_{number % 1000:03}"


class History(SiteFolder):
    def setUp(self):
        super().setUp()
        self.backups = os.path.join(self.base, "the backups")
        os.makedirs(self.backups)

    def release(self, number, *events, folder=True):
        """A release with its record: `good`, `failed`, `left`, `removed`, in that order after `begun`."""
        id = id_of(number)
        lines = ["begun 2026-11-22T21:30:15Z deploy someone@here", f"commit {number:040x}"]
        self.write(f".deployer/history/{id}", "".join(f"{line}\n" for line in [*lines, *events]))
        if folder:
            self.write(f"releases/{id}/manage.py")
        return id

    def live(self, number):
        if os.path.lexists(self.path("current")):
            os.unlink(self.path("current"))
        os.symlink(f"releases/{id_of(number)}", self.path("current"))

    def folders(self):
        return sorted(os.listdir(self.path("releases")))


class Candidate(History):
    def chosen(self, *words):
        return dict(self.good("history.py", "candidate", *words))

    def refused(self, *words):
        code, answers, log = self.call("history.py", "candidate", *words)
        self.assertEqual((code, log), (1, ""))
        return dict(answers)

    def test_the_newest_good_release_before_the_live_one(self):
        for number, event in enumerate(["good", "good", "failed X static", "good", "good"]):
            self.release(number, event + " 2026")
        self.live(3)
        self.assertEqual(self.chosen(), {"release": id_of(1), "commit": f"{1:040x}"})

    def test_never_one_that_a_rollback_left_but_by_name(self):
        self.release(1, "good T")
        self.release(2, "good T", "left T")
        self.release(3, "good T")
        self.live(3)
        self.assertEqual(self.chosen()["release"], id_of(1))
        self.assertEqual(self.chosen("--to", id_of(2))["release"], id_of(2))
        self.release(2, "good T", "left T", "good T")
        self.assertEqual(self.chosen()["release"], id_of(2))

    def test_a_release_whose_folder_is_gone_is_none(self):
        self.release(1, "good T")
        self.release(2, "good T", folder=False)
        self.release(3, "good T")
        self.live(3)
        self.assertEqual(self.chosen()["release"], id_of(1))
        self.assertIn("is not kept", self.refused("--to", id_of(2))["message"])

    def test_a_release_from_before_our_time_is_older_than_all(self):
        self.write(".deployer/history/before", "good T taken over\n")
        self.write("releases/before/manage.py")
        self.release(1, "good T")
        self.live(1)
        self.assertEqual(self.chosen(), {"release": "before", "commit": ""})

    def test_nothing_to_go_back_to(self):
        self.release(1, "good T")
        self.release(2, "good T")
        self.live(1)
        said = self.refused()
        self.assertEqual(said["error"], "nothing-to-roll-back")
        self.assertIn(id_of(2), said["hint"])
        os.unlink(self.path("current"))
        self.assertEqual(self.refused()["error"], "nothing-to-roll-back")

    def test_a_name_that_cannot_be_taken_says_why_and_lists_those_that_can(self):
        self.release(1, "good T")
        self.release(2, "failed T static")
        self.release(3, "good T", "removed T", folder=False)
        self.release(4, "good T")
        self.live(4)
        for to, why in (
            ("nonsense", "no release nonsense"),
            ("../../etc", "no release"),
            (id_of(2), "failed"),
            (id_of(3), "was removed"),
            (id_of(4), "is live already"),
        ):
            said = self.refused("--to", to)
            self.assertIn(why, said["message"])
            self.assertIn(f"{id_of(1)} (0000000000)", said["hint"])

    def test_a_record_that_was_cut_short_still_counts(self):
        self.release(1, "good T", "le")
        self.write(f".deployer/history/{id_of(2)}", "begun T deploy x\n\n\x00\xff\ngood")
        self.write(f"releases/{id_of(2)}/x")
        self.release(3, "good T")
        self.live(3)
        self.assertEqual(self.chosen()["release"], id_of(2))


class Prune(History):
    def prune(self, release, keep=2, backups=2, **more):
        words = ["--keep", str(keep), "--max-backups", str(backups), "--backup-path", self.backups, "--site", SITE]
        return self.good("history.py", "prune", *words, release=id_of(release), **more)

    def state(self, number):
        with open(self.path(".deployer/history", id_of(number))) as file:
            return file.read().split("\n")[-2].split()[0]

    def test_the_newest_good_ones_stay_and_the_others_stand_as_removed(self):
        for number, event in enumerate(["good T", "failed T static", "good T", "good T", "", "good T"]):
            self.release(number, *filter(None, [event]))
        self.write(f".deployer/history/{id_of(1)}", "begun T deploy x\nfailed T st")
        self.live(5)
        self.assertEqual(self.prune(5), [])
        self.assertEqual(self.folders(), [id_of(3), id_of(5)])
        for number in (0, 1, 2, 4):
            self.assertEqual(self.state(number), "removed")
        self.assertEqual(self.state(3), "good")
        record = self.read(f".deployer/history/{id_of(0)}").split("\n")[-2]
        self.assertRegex(record, "^removed 20[0-9-]{8}T[0-9:]{8}Z$")

    def test_the_live_one_stays_however_old(self):
        for number in range(6):
            self.release(number, "good T")
        self.live(0)
        self.prune(0)
        self.assertEqual(self.folders(), [id_of(0), id_of(4), id_of(5)])

    def test_left_ones_stay_while_they_are_newer_than_the_oldest_kept(self):
        for number, events in enumerate([["left T"], ["good T"], ["left T"], ["good T"]]):
            self.release(number, *events)
        self.live(3)
        self.prune(3)
        self.assertEqual(self.folders(), [id_of(1), id_of(2), id_of(3)])

    def test_what_is_not_ours_is_never_touched(self):
        for number in range(4):
            self.release(number, "good T")
        self.live(3)
        self.write(f"releases/{id_of(50)}/no record")
        taken_over = "20200101_000000_000"
        self.write(f"releases/{taken_over}/x")
        self.write(f".deployer/history/{taken_over}", "good T taken over\n")
        self.release(52, "good T", "removed T")
        self.write("releases/notes.txt")
        self.write("releases/.removed-mine/x")
        self.write("releases/20261122_213000_000.bak/x")
        self.write(".deployer/history/.removed-x", "begun T\n")
        victim = self.write("victim/file", base=self.base)
        id = self.release(0, "good T", folder=False)
        subprocess.run(["rm", "-r", self.path("releases", id)], check=True)
        os.symlink(os.path.dirname(victim), self.path("releases", id))
        os.symlink(os.path.dirname(victim), self.path("releases", id_of(1), "media"))
        self.prune(3)
        self.assertTrue(os.path.exists(victim))
        left = {id_of(0), id_of(2), id_of(3), id_of(50), taken_over, id_of(52), "notes.txt"}
        self.assertEqual(set(self.folders()), left | {".removed-mine", "20261122_213000_000.bak"})

    def test_a_release_in_which_a_process_lives_stays(self):
        for number in range(6):
            self.release(number, "good T")
        self.live(5)
        program = self.path("releases", id_of(2), "sleep")
        subprocess.run(["cp", "/bin/sleep", program], check=True)
        releases = self.path("releases")
        processes = [
            subprocess.Popen(["/bin/sleep", "100"], cwd=os.path.join(releases, id_of(0))),
            subprocess.Popen(["sh", "-c", "exec sleep 100", f"--chdir={releases}/{id_of(1)}/app"]),
            subprocess.Popen(["named", "100"], executable=program, cwd="/"),
            subprocess.Popen(
                [sys.executable, "-c", "input()", f"--chdir={releases}/{id_of(1)}/app"], stdin=subprocess.PIPE
            ),
        ]
        try:
            self.prune(5, keep=1)
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        self.assertEqual(self.folders(), [id_of(0), id_of(1), id_of(2), id_of(5)])
        self.prune(5, keep=1)
        self.assertEqual(self.folders(), [id_of(5)])

    def test_a_release_that_a_gunicorn_was_started_in_stays_while_it_lives(self):
        for number in range(4):
            self.release(number, "good T")
        self.live(3)
        releases = self.path("releases")
        environment = {"PWD": os.path.join(releases, id_of(0))}
        master = subprocess.Popen(["gunicorn: master", "100"], executable="/bin/sleep", env=environment, cwd="/")
        other = subprocess.Popen(["sleep", "100"], env={"PWD": os.path.join(releases, id_of(2))}, cwd="/")
        started = processes.process(other.pid).start
        os.mkdir(self.path(".deployer/masters"))
        os.symlink(os.path.join(releases, id_of(1)), self.path(".deployer/masters", f"{other.pid}.{started}"))
        os.symlink(os.path.join(releases, id_of(2)), self.path(".deployer/masters", f"{other.pid}.{started + 1}"))
        try:
            self.prune(3, keep=1)
        finally:
            for process in (master, other):
                process.kill()
                process.wait()
        self.assertEqual(self.folders(), [id_of(0), id_of(1), id_of(3)])
        self.prune(3, keep=1)
        self.assertEqual(self.folders(), [id_of(3)])
        self.assertEqual(os.listdir(self.path(".deployer/masters")), [])

    def test_what_is_mounted_in_a_release_is_not_emptied(self):
        for number in range(2):
            self.release(number, "good T")
        self.live(1)
        place = self.tmpfs(f"releases/{id_of(0)}/media", "size=1m")
        photo = self.write("photo", base=place)
        self.prune(1, keep=1)
        self.assertTrue(os.path.exists(photo))

    def test_a_run_that_is_not_settled_keeps_its_folder(self):
        self.release(0)
        self.release(1, "good T")
        self.live(1)
        self.write(f".deployer/run/{id_of(0)}.plan")
        self.prune(1)
        self.assertIn(id_of(0), self.folders())

    def test_a_deletion_that_was_cut_short_is_ended_and_never_looks_like_a_release(self):
        self.release(0, "good T", folder=False)
        self.release(1, "good T")
        self.live(1)
        self.write(f"releases/.removed-{id_of(0)}/half")
        answers = dict(self.call("history.py", "candidate")[1])
        self.assertEqual(answers["error"], "nothing-to-roll-back")
        self.prune(1)
        self.assertEqual(self.folders(), [id_of(1)])
        self.assertEqual(self.state(0), "removed")

    def test_folders_without_w_are_deleted_too(self):
        subprocess.run(["chown", "-R", str(SOMEONE), self.base], check=True)
        for number in range(2):
            self.release(number, "good T")
        self.live(1)
        self.write(f"releases/{id_of(0)}/a/b/file")
        os.chmod(self.path("releases", id_of(0), "a/b"), 0o000)
        os.chmod(self.path("releases", id_of(0), "a"), 0o555)
        subprocess.run(["chown", "-hR", str(SOMEONE), self.base], check=True)
        self.assertEqual(self.prune(1, keep=1, uid=SOMEONE), [])
        self.assertEqual(self.folders(), [id_of(1)])

    @unittest.skipIf(os.geteuid(), "needs root, to be someone else")
    def test_what_cannot_be_deleted_is_a_warning_and_no_kept_release(self):
        for number in range(3):
            self.release(number, "good T")
        self.live(2)
        self.write(f"releases/{id_of(0)}/cache/file")
        subprocess.run(["chown", "-hR", str(SOMEONE), self.base], check=True)
        subprocess.run(["chown", "-R", "0", self.path("releases", id_of(0), "cache")], check=True)
        warnings = self.prune(2, keep=1, uid=SOMEONE)
        self.assertEqual([key for key, _ in warnings], ["warning"])
        self.assertIn(f"releases/.removed-{id_of(0)}", warnings[0][1])
        self.assertEqual(self.folders(), [f".removed-{id_of(0)}", id_of(2)])
        cure = warnings[0][1].rpartition("sudo ")[2]
        subprocess.run(["sh", "-c", cure], check=True)
        self.assertEqual(self.prune(2, keep=1, uid=SOMEONE), [])

    def test_backups_of_this_site_alone_by_their_exact_names(self):
        self.release(9, "good T")
        self.live(9)
        mine = [f"{SITE}_{id_of(number)}.tar.gz" for number in range(4)]
        parts = [f"{SITE}_{id_of(5)}.tar.gz.part", f".{SITE}_{id_of(6)}.tar.gz.part"]
        others = [f"{SITE}_b_{id_of(0)}.tar.gz", f"{SITE}_{id_of(0)}.tar.gz.old", f"wwwxexample.com_{id_of(0)}.tar.gz"]
        others += [
            f"{SITE}_{id_of(0)}.sql.gz",
            f"old_{SITE}_{id_of(0)}.tar.gz",
            f"{SITE}_b_{id_of(0)}.tar.gz.part",
            "x.part",
            f".x{SITE}_{id_of(0)}.tar.gz.part",
        ]
        for name in mine + parts + others:
            self.write(name, base=self.backups)
        folder = f"{SITE}_{id_of(7)}.tar.gz"
        os.mkdir(os.path.join(self.backups, folder))
        self.prune(9)
        self.assertEqual(set(os.listdir(self.backups)), {*mine[2:], *others, folder})

    def test_no_backup_folder_is_no_problem(self):
        os.rmdir(self.backups)
        self.release(1, "good T")
        self.live(1)
        self.assertEqual(self.prune(1), [])

    def test_logs_go_with_their_releases(self):
        for number in range(10, 16):
            self.release(number, "good T")
        self.release(16, "failed T static", folder=False)
        self.live(15)
        runs = dict.fromkeys((f"{id_of(15)}.log", f"{id_of(14)}.journal", f"{id_of(16)}.log", "notes.log"), True)
        runs.update({f"{id_of(13)}.log": False, f"{id_of(9)}.log": False, f"{id_of(8)}/tools/x": False})
        runs.update({f"{id_of(5)}.plan": True, f"{id_of(5)}.log": True, f"{id_of(7)}.log.gz": False})
        for name in runs:
            self.write(f".deployer/run/{name}")
        self.prune(15)
        for name, stays in runs.items():
            self.assertEqual(os.path.exists(self.path(".deployer/run", name)), stays, name)
        self.assertTrue(os.path.isdir(self.run_folder))

    def test_programs_are_compiled_and_those_of_other_versions_go(self):
        mine, other, half, going = (digit * 32 for digit in "abcd")
        ours = (f"{mine}/common.py", f"{mine}/askpass.sh", f"{other}/common.py", f"{half}.new/x", f"{going}.old/x")
        for name in (*ours, "notes/x", "cafe/x"):
            self.write(f".deployer/tools/{name}", "x = 1\n")
        self.release(1, "good T")
        self.live(1)
        self.prune(1, TOOLS=self.path(".deployer/tools", "e" * 32))
        self.assertEqual(len(os.listdir(self.path(".deployer/tools"))), 6, "they are not run from there")
        self.prune(1, TOOLS=self.path(".deployer/tools", mine))
        self.assertEqual(sorted(os.listdir(self.path(".deployer/tools"))), [mine, "cafe", "notes"])
        compiled = [f"common.{sys.implementation.cache_tag}.pyc"]
        self.assertEqual(os.listdir(self.path(".deployer/tools", mine, "__pycache__")), compiled)
        os.unlink(self.path(".deployer/tools", mine, "common.py"))
        self.assertIn("'x': 1", self.run_compiled(mine, *compiled))

    def test_what_a_full_disk_cuts_is_not_taken_for_compiled(self):
        version = "a" * 32
        self.write(f".deployer/tools/{version}/long.py", "".join(f"x{number} = {number}\n" for number in range(3000)))
        code = (
            "import os, resource, signal, sys; sys.path.insert(0, sys.argv[1]); import kept_programs\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
            "kept_programs.keep_ready(sys.argv[2])\n"
        )
        subprocess.run([sys.executable, "-B", "-c", code, TOOLS, version], cwd=self.site, check=True)
        self.assertEqual(os.listdir(self.path(".deployer/tools", version, "__pycache__")), [])

    def test_what_names_a_release(self):
        id = id_of(1)
        named = {
            f"releases/{id}": True,
            f"/a/releases/{id}/x": True,
            f"=releases/{id}²": True,
            f"a releases/{id}": True,
        }
        named.update({f"xreleases/{id}": False, f"releases/{id}0": False, f"releases/releases/{id}": True})
        for text, found in named.items():
            self.assertEqual(list(history.named_in(text)), [id] * found, text)

    def run_compiled(self, version, name):
        path = self.path(".deployer/tools", version, "__pycache__", name)
        code = f"import runpy; print(runpy.run_path({path!r}))"
        return subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout

    def test_the_run_folder_of_this_run_stays(self):
        for number in (999, 998):
            self.release(number, "good T")
        self.live(999)
        self.run_folder = self.path(".deployer/run", id_of(3))
        self.write("x", base=self.run_folder)
        self.prune(999)
        self.assertTrue(os.path.exists(self.run_folder))

    def test_records_of_releases_that_are_gone_are_kept_a_hundred_long(self):
        for number in range(130):
            self.release(number, "good T", "removed T", folder=False)
        for number in range(130, 133):
            self.release(number, "good T")
        self.live(132)
        self.prune(132)
        self.assertEqual(
            sorted(os.listdir(self.path(".deployer/history"))), [id_of(number) for number in range(31, 133)]
        )


class Retention(unittest.TestCase):
    def test_any_history_keeps_what_it_must(self):
        chance = random.Random(7)
        for _ in range(500):
            self.assert_rules(chance)

    def assert_rules(self, chance):
        ids = [id_of(number) for number in chance.sample(range(1000), 12)]
        choice = ["begun", "good", "failed", "left", "removed"]
        events = {id: chance.choices(choice, k=chance.randint(0, 4)) for id in ids}
        records = {id: retention.record([event] for event in each) for id, each in events.items() if each}
        folders = [*chance.sample(ids, 9), "notes", "20261122"]
        live, busy, keep = chance.choice(ids), chance.sample(ids, 2), chance.randint(1, 4)
        case = (keep, {live}, set(busy), set(folders), records)
        deleted = retention.doomed(*case)
        self.assertEqual(deleted, sorted(deleted))
        state = {id: ([event for event in each if event != "begun"] or [""])[-1] for id, each in events.items()}
        good = sorted(id for id in folders if state.get(id) == "good")[-keep:]
        for id in deleted:
            self.assertIn(id, folders)
            self.assertIn("begun", events[id])
            self.assertNotIn(id, [live, *busy, *good])
        kept = [id for id in folders if id in ids and id not in deleted and id not in [live, *busy]]
        for id in kept:
            newer = state[id] == "left" and (not good or id > good[0])
            self.assertTrue("begun" not in events[id] or id in good or newer or state[id] == "removed", (id, case))


if __name__ == "__main__":
    unittest.main()
