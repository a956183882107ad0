import datetime
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from session_lab import Session, plan, session


class Heard:
    """A client that keeps what it is told."""

    def __init__(self):
        self.text = b""

    def say(self, kind, *words):
        self.text += b"\0".join(words)


class Ids(unittest.TestCase):
    def test_ids_and_moments_are_the_same_thing(self):
        epoch = datetime.datetime(1970, 1, 1)
        moments = [random.randrange(253_000_000_000) for _ in range(2000)]
        for days in (0, 58, 59, 60, 365, 10956, 10957, 11016, 11017, 47540, 47541):
            moments += [days * 86_400_000 - 1, days * 86_400_000]
        for moment in moments:
            if moment <= 0:
                continue
            name = (epoch + datetime.timedelta(milliseconds=moment)).strftime("%Y%m%d_%H%M%S_%f")[:-3].encode()
            self.assertEqual(session.id_at(moment), name)
            self.assertEqual(session.id_time(name), moment)

    def test_what_is_no_moment_is_no_id(self):
        for name in (b"", b"x", b"20230229_000000_000", b"20241301_000000_000", b"20240101_240000_000", b"20240101"):
            self.assertEqual(session.id_time(name), 0, name)
        for name in (b"20240101_000000_0000", b"2024-101_000000_000", b"19691231_235959_999", b"99990101_000000_000"):
            self.assertEqual(session.id_time(name), 0, name)


class Masking(unittest.TestCase):
    def test_user_and_password_of_a_url_are_hidden_and_nothing_else(self):
        for text, masked in (
            (b"https://ana:pw@host/a@b", b"https://***@host/a@b"),
            (b"'https://token@host' HTTP://t@h", b"'https://***@host' HTTP://***@h"),
            (b"postgres://u:p@ss@h/db, redis://:pw@h", b"postgres://***@h/db, redis://***@h"),
            (b"ssh://git@host/a git@host:a", b"ssh://git@host/a git@host:a"),
            (b"see https://host/ or mail a@b", b"see https://host/ or mail a@b"),
            (b"https://host\na:b@c", b"https://host\na:b@c"),
            (b"://", b"://"),
        ):
            self.assertEqual(session.url_masked(text), masked)

    def test_short_words_are_not_secret_and_the_longest_goes_first(self):
        mask = session.Mask([b"abcde", b"secret", b"secret-and-more", b"", b"in two\nlines"])
        self.assertEqual(mask(b"abcde secret secret-and-more"), b"abcde *** ***")
        self.assertEqual(mask(b"in two\nlines"), b"***")
        self.assertEqual(mask(b"in two"), b"***")

    def test_wherever_the_output_is_cut_no_piece_of_a_secret_is_seen_and_the_rest_is_whole(self):
        secret = b"s3cr3t" * 50
        log = os.open(os.devnull, os.O_WRONLY)
        self.addCleanup(os.close, log)
        for seed in range(100):
            choice = random.Random(seed)
            fill = [b"-" * choice.randrange(1, 90_000) + choice.choice([b"", b"\n"]) for _ in range(4)]
            text = secret.join(fill)
            heard = Heard()
            output = session.Output(heard, session.Mask([secret]), log)
            at = 0
            while at < len(text):
                end = at + choice.choice([1, 7, 1000, 65536])
                output.hear(text[at:end])
                self.assertLess(len(output.held), 2 * session.LONGEST)
                at = end
            output.end()
            self.assertEqual(heard.text, b"***".join(fill), f"seed {seed}")


class Words(unittest.TestCase):
    def test_a_quoted_path_is_one_word(self):
        for path in ("/var/www/a-b_c.d", "/a b", "/it's", "/$HOME", "/ñ", "/a\nb"):
            words = subprocess.run(
                ["sh", "-c", "printf %s " + session.quoted(path)], stdout=subprocess.PIPE, check=True
            )
            self.assertEqual(words.stdout.decode(), path)
        self.assertEqual(session.quoted("/var/www/site"), "/var/www/site")

    def test_the_fields_of_a_lock_are_lines(self):
        text = b"Command: x Run: 1\nRun: 2\n"
        self.assertEqual(session.field(text, b"Run"), b"2")
        self.assertEqual(session.field(text, b"Pid"), b"")

    def test_only_a_plain_word_may_name_a_release(self):
        self.assertTrue(session.a_name(b"20240101_000000_000"))
        for value in (b"", b"a b", b"a\nb", b"../x", b".x", b"-x", b" x"):
            self.assertFalse(session.a_name(value), value)


class Journal(unittest.TestCase):
    def test_a_part_that_began_has_no_process_of_the_part_before_it(self):
        """Its shell would be taken for ended, and the site undone under it."""
        run = session.Run(plan("/nowhere", "true"))
        for line in (b"run T", b"start 0 restart T", b"pid 1 0"):
            run.recall(*line.split())
        self.assertEqual(run.script_at, (False, 0, -1))
        run.recall(b"part")
        self.assertEqual(run.script_at, (False, 0, 0))


class Sessions(unittest.TestCase):
    def setUp(self):
        folder = tempfile.mkdtemp(prefix="it's a tmp ")
        self.addCleanup(shutil.rmtree, folder)
        self.site = os.path.join(folder, "a $ite of ñandú's")

    def run_session(self, *scripts, **words):
        started = Session()
        started.send(b"P", plan(self.site, *scripts, **words))
        frame = started.next(b"D", b"L")
        return frame and frame[1], started.end()

    def text(self, name):
        try:
            with open(os.path.join(self.site, name)) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def test_a_plan_cut_short_anywhere_does_nothing(self):
        payload = plan(self.site, "echo ran >>order")
        for length in [*range(8), len(payload) // 2, len(payload) + 4]:
            started = Session()
            os.write(started.input, (b"P" + len(payload).to_bytes(4, "big") + payload)[:length])
            self.assertEqual(started.end(), 4)
            self.assertFalse(os.path.exists(self.site))

    def test_a_plan_that_is_garbage_is_refused(self):
        for payload in (b"", b"garbage", plan(self.site)[:-8]):
            started = Session()
            started.send(b"P", payload)
            self.assertEqual(started.next(b"D")[1][0], b"refused")
            self.assertEqual(started.end(), 0)

    def test_frames_of_a_kind_it_does_not_know_are_passed_over(self):
        started = Session()
        started.send(b"?", b"new")
        started.send(b"P", plan(self.site, ":"))
        self.assertEqual(started.next(b"D")[1][0], b"done")
        started.end()

    def test_a_deploy_a_failure_and_a_death_in_turn(self):
        words, code = self.run_session(("echo one >>order", "echo undo one >>order"))
        self.assertEqual((words[0], code), (b"done", 0))
        words, code = self.run_session(("echo two >>order", "echo undo two >>order"), "exit 3")
        self.assertEqual(words[:4], [b"undone", b"failed", b"3", b"code"])
        words, code = self.run_session(("kill -KILL $PPID; sleep 1000", "echo undo three >>order"))
        self.assertEqual((words, code), (None, -signal.SIGKILL))
        words, code = self.run_session("echo four >>order")
        self.assertEqual((words[0], code), (b"done", 0))
        self.assertEqual(self.text("order"), "one\ntwo\nundo two\nundo three\nfour\n")

    def test_two_sites_with_one_run_id_have_nothing_to_do_with_each_other(self):
        sites = [self.site, self.site + " too"]
        runs = []
        for site in sites:
            os.makedirs(os.path.join(site, "releases/20990101_000000_000"))
            runs.append(Session())
            runs[-1].send(b"P", plan(site, ": >begun; while [ ! -e go ]; do sleep 0.05; done"))
        stopped, other = runs
        self.assertEqual(*(run.next(b"I")[1][0] for run in runs))
        while not all(os.path.exists(os.path.join(site, "begun")) for site in sites):
            time.sleep(0.02)
        stopped.send(b"C", b"")
        self.assertEqual(stopped.next(b"D")[1][0], b"undone")
        open(os.path.join(sites[1], "go"), "w").close()
        self.assertEqual(other.next(b"D")[1][0], b"done")
        self.assertEqual([run.end() for run in runs], [0, 0])

    def test_the_lock_is_free_when_the_outcome_is_told(self):
        for script in (":", "exit 1"):
            started = Session()
            started.send(b"P", plan(self.site, script))
            started.next(b"D")
            subprocess.run(["flock", "-n", os.path.join(self.site, ".deployer/lock"), "true"], check=True)
            started.end()
