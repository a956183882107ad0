import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from site_folder import TOOLS

sys.path.insert(0, TOOLS)
from journal import read_journal

HEAD = "run T0 deploy ana maria@laptop\nlive OLD\nrelease NEW\n"
STEPS = HEAD + "start 0 check T1\npid 7 8\ndone 0 0\nstart 1 static T2\npid 9 8\n"


class ReadJournal(unittest.TestCase):
    def says(self, text, **expected):
        journal = read_journal(text + "\n" * 100)
        self.assertEqual({name: getattr(journal, name) for name in expected}, expected)

    def test_a_run_that_goes_on(self):
        self.says(HEAD, kind="deploy", by="ana maria@laptop", since="T0", live_before="OLD", release="NEW", step="")
        self.says(STEPS, step="static", step_since="T2", reached="static", undoing=False, outcome="", client_gone="")
        self.says(STEPS + "gone stopped listening\n", client_gone="stopped listening")

    def test_a_run_that_undoes(self):
        text = STEPS + "done 1 1\nundo 1 static T3\nundone 1 0\nundo 0 check T4\n"
        self.says(text, step="check", step_since="T4", undoing=True, reached="static", not_undone=())

    def test_what_is_not_undone_until_it_is(self):
        text = STEPS + "done 1 1\nundo 1 static T3\nundone 1 4\n"
        self.says(text + "undo 0 check T4\nundone 0 0\n", not_undone=("static",))
        self.says(text + "settle T5 unlock bob@web\nundo 1 static T6\nundone 1 0\n", not_undone=())

    def test_endings(self):
        self.says(STEPS + "done 1 0\ncommit\nend 2026 done\n", outcome="done", committed=True, ended="2026", why="")
        self.says(STEPS + "end 2026 undone static 1\n", outcome="undone", ended="2026", failed_step="static", why="1")
        self.says(STEPS + "end 2026 stuck static stopped listening\n", failed_step="static", why="stopped listening")
        settled = STEPS + "settle T5 unlock bob@web\nend 2026 settled migrate\n"
        self.says(settled, outcome="settled", settled_since="T5", settled_by="unlock bob@web", failed_step="")

    def test_an_older_session_noted_neither_time_nor_reason(self):
        self.says(STEPS + "end undone static\n", outcome="undone", ended="", failed_step="static", why="")

    def test_after_the_proof(self):
        text = STEPS + "done 1 0\nunproven\ncommit\nstart 2 cleanup T3\ndone 2 1\nend 2026 done\n"
        self.says(text, served=False, late_failures=("cleanup",), reached="cleanup")

    def test_what_is_torn_or_not_known_is_passed_over(self):
        self.says(STEPS + "a new verb\nend 2026 done\nundone 1", outcome="done")
        self.says(STEPS + "start 2 mig", step="static")
        for text in ("", "\n\n", "run T0", "start 0 check T1\n", "\0\0"):
            self.assertIsNone(read_journal(text))


if __name__ == "__main__":
    unittest.main()
