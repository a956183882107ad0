import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from session_lab import Session, plan

RACES = 1000
PER_SITE = 50  # run logs pile up, and each id is looked for among them
MEMORY = "/dev/shm"  # a race is won in the kernel: no need to wait for a disk


class Races(unittest.TestCase):
    def test_of_two_sessions_exactly_one_holds_the_lock_each_time(self):
        folder = tempfile.mkdtemp(prefix="it's a tmp ", dir=MEMORY if os.access(MEMORY, os.W_OK) else None)
        self.addCleanup(shutil.rmtree, folder)
        winners = [0, 0]
        for race in range(RACES):
            site = os.path.join(folder, f"site {race // PER_SITE}")
            winners[self.race(site)] += 1
            if race % PER_SITE == PER_SITE - 1:
                shutil.rmtree(site)
        self.assertEqual(sum(winners), RACES)
        self.assertGreater(min(winners), 0, "one of the two always came first: that was no race")

    def race(self, site):
        """Lets two sessions take the lock at once. Returns which of them got it."""
        os.makedirs(site, exist_ok=True)
        go = os.path.join(site, "go")
        if not os.path.exists(go):
            os.mkfifo(go)
        sessions = [Session(), Session()]
        for each in sessions if os.urandom(1)[0] % 2 else reversed(sessions):
            each.send(b"P", plan(site, "read -r line <go"))
        first = [each.next(b"S", b"L", b"D") for each in sessions]
        kinds = [frame[0] for frame in first]
        self.assertEqual(sorted(kinds), [b"L", b"S"], first)
        winner, loser = kinds.index(b"S"), kinds.index(b"L")
        self.assertIn(b"By: ana@laptop", first[loser][1][0])
        with open(go, "w") as fifo:  # it held the lock until the other was sent away
            fifo.write("\n")
        self.assertEqual(sessions[winner].next(b"D")[1][0], b"done")
        self.assertEqual([each.end() for each in sessions], [0, 0])
        return winner
