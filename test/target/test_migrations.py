import os
import re
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from django_site import DjangoSite

ADDITIVE = """
    migrations.CreateModel("Tag", [("id", models.AutoField(primary_key=True)), ("word", models.TextField())]),
    migrations.AddField("entry", "tags", models.ManyToManyField("guestbook.Tag")),
    migrations.AddField("entry", "stars", models.IntegerField(default=0)),
    migrations.AddIndex("entry", models.Index(fields=["stars"], name="entry_stars")),
    migrations.AddConstraint("entry", models.UniqueConstraint(fields=["name", "stars"], name="entry_once")),
    migrations.AlterField("entry", "name", models.CharField(max_length=200, null=True, verbose_name="who")),
    migrations.AlterField("entry", "name", models.CharField(max_length=201, null=True, db_index=True)),
    migrations.AlterModelOptions("entry", {"verbose_name": "line"}),
"""
KEEPS = {
    "RemoveField": 'migrations.RemoveField("entry", "text")',
    "RunPython that can be reversed": "migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop)",
    "RunPython that cannot": "migrations.RunPython(migrations.RunPython.noop)",
    "a shorter field": 'migrations.AlterField("entry", "name", models.CharField(max_length=40))',
    "no longer null": 'migrations.AlterField("entry", "written", models.DateTimeField())',
    "another type": 'migrations.AlterField("entry", "name", models.TextField())',
    "a field that was longer": 'migrations.AddField("entry", "a", models.CharField(max_length=9, default="")), '
    'migrations.AlterField("entry", "a", models.CharField(max_length=2, default=""))',
    "RenameField": 'migrations.RenameField("entry", "name", "who")',
}


class Migrations(DjangoSite):
    def setUp(self):
        super().setUp()
        self.write("REVISION", "0123456789abcdef0123456789abcdef01234567\n", base=self.release)

    def run_it(self, operation, **more):
        return self.django("migrations.py", DEPLOYER_OPERATION=operation, **more)

    def apply(self, expected=0):
        code, answers, log = self.run_it("apply")
        self.assertEqual(code, expected, (answers, log))
        return dict(answers), log

    def reverse(self, **more):
        code, answers, log = self.run_it("reverse", **more)
        self.assertEqual((code, answers), (0, []), log)
        return log

    def stays(self, **more):
        """What `reverse` says when it cannot bring everything back: its message and its hint."""
        code, answers, log = self.run_it("reverse", **more)
        said = dict(answers)
        self.assertEqual((code, said.get("error")), (1, "not-undone"), (answers, log))
        return said["message"], said["hint"]

    def live(self):
        """The database of the version that is live."""
        self.manage("migrate", "--verbosity", "0")
        return self.applied()


class Apply(Migrations):
    def test_migrations_are_applied_and_their_output_is_the_log(self):
        log = self.apply()[1]
        self.assertIn("Applying guestbook.0002_entry_written... OK", log)
        self.assertEqual(self.applied()[0], [("guestbook", "0001_initial"), ("guestbook", "0002_entry_written")])

    def test_no_databases_is_skipped(self):
        self.settings("DATABASES = {}")
        answers, _log = self.apply()
        self.assertEqual(answers, {"skip": "the settings name no DATABASES"})

    def test_a_failure_is_named(self):
        self.live()
        self.migration("0003_boom", "migrations.RunSQL('SELECT * FROM nowhere')")
        answers, log = self.apply(expected=1)
        self.assertEqual(answers["message"], "guestbook.0003_boom failed: OperationalError: no such table: nowhere")
        self.assertIn("Traceback", log)

    def test_another_database_that_does_not_answer_is_left_alone(self):
        self.write("shared/data/other", "no database at all " * 100)
        self.settings("DATABASES['other'] = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': BASE_DIR / 'data/other'}")
        before = self.live()
        self.migration("0003_more", ADDITIVE)
        self.apply()
        self.reverse()
        self.assertEqual(self.applied(), before)


class Reverse(Migrations):
    def test_what_only_added_is_taken_back_and_can_be_applied_again(self):
        before = self.live()
        self.migration("0003_more", ADDITIVE)
        self.migration("0004_last", 'migrations.AddField("tag", "rank", models.IntegerField(null=True))', "0003_more")
        self.apply()
        self.assertNotEqual(self.applied(), before)
        for _ in range(2):
            self.reverse()
            self.assertEqual(self.applied(), before)
        self.apply()
        self.assertEqual(len(self.applied()[0]), 4)

    def test_what_did_not_only_add_stays_and_is_named(self):
        before = self.live()
        for index, (what, operation) in enumerate(KEEPS.items()):
            with self.subTest(what):
                name = f"0003_keep_{index}"
                self.migration(name, operation)
                self.apply()
                applied = self.applied()
                message, hint = self.stays()
                self.assertRegex(message, rf"^migrations stay in the database: guestbook\.{name} \(.+: .+\)$")
                self.assertEqual(self.applied(), applied)
                os.unlink(os.path.join(self.release, f"guestbook/migrations/{name}.py"))
                self.start_again(before)
                if "cannot be reversed" in message:
                    self.assertNotIn("manage.py", hint)
                    self.assertIn("put right by a new migration", hint)
                else:
                    self.assertIn("manage.py migrate guestbook 0002_entry_written", hint)

    def start_again(self, before):
        os.unlink(self.database)
        self.assertEqual(self.live(), before)

    def test_one_that_stays_keeps_the_others_and_the_command_to_reverse_them_works(self):
        before = self.live()
        self.migration("0003_more", ADDITIVE)
        self.migration("0004_drop", 'migrations.RemoveField("entry", "text")', "0003_more")
        self.apply()
        message, hint = self.stays()
        self.assertRegex(message, r"guestbook\.0003_more, guestbook\.0004_drop \(Remove field text from entry: not a")
        self.assertIn(f"archive {'0123456789abcdef' * 2}01234567 | tar", hint)
        command = re.search(r"python (manage\.py .+)$", hint)[1]
        self.manage(*command.split()[1:])
        self.assertEqual(self.applied()[0], before[0])

    def test_the_first_of_two_is_taken_back_when_the_second_fails(self):
        before = self.live()
        self.migration("0003_more", ADDITIVE)
        boom = 'migrations.AddField("entry", "x", models.IntegerField(null=True)), migrations.RunSQL("SELECT nonsense")'
        self.migration("0004_boom", boom, "0003_more")
        self.apply(expected=1)
        self.assertEqual(len(self.applied()[0]), 3)
        self.reverse()
        self.assertEqual(self.applied(), before)

    def test_half_of_a_migration_without_a_transaction_is_named(self):
        self.live()
        half = 'migrations.AddField("entry", "x", models.IntegerField(null=True)), migrations.RunSQL("SELECT nonsense")'
        self.migration("0003_half", half, more="atomic = False")
        self.apply(expected=1)
        message, hint = self.stays()
        self.assertIn("python manage.py sqlmigrate guestbook 0003_half", hint)
        self.assertRegex(message, r"guestbook\.0003_half \(it stopped half-way")

    def test_a_whole_migration_without_a_transaction_is_taken_back(self):
        before = self.live()
        self.migration("0003_whole", ADDITIVE, more="atomic = False")
        self.apply()
        self.reverse()
        self.assertEqual(self.applied(), before)

    def test_after_the_switch_everything_stays(self):
        self.live()
        self.migration("0003_more", ADDITIVE)
        self.apply()
        after = self.applied()
        message, _hint = self.stays(DEPLOYER_SWITCHED="1")
        self.assertIn("guestbook.0003_more", message)
        self.assertEqual(self.applied(), after)

    def test_nothing_was_applied_or_begun(self):
        before = self.live()
        self.reverse()
        self.apply()
        self.reverse(DEPLOYER_SWITCHED="1")
        self.assertEqual(self.applied(), before)

    def test_a_database_file_that_the_deploy_made_goes_with_it(self):
        self.migration("0003_fill", "migrations.RunPython(migrations.RunPython.noop)")
        self.write("shared/data/upload.txt", "mine")
        self.apply()
        for _ in range(2):
            self.reverse()
            self.assertEqual(os.listdir(self.path("shared/data")), ["upload.txt"])

    def test_a_database_file_that_the_deploy_made_stays_once_it_was_live(self):
        self.apply()
        self.assertIn("guestbook.0001_initial", self.stays(DEPLOYER_SWITCHED="1")[0])
        self.assertTrue(os.path.exists(self.database))

    def test_a_migration_that_this_code_does_not_have_is_named(self):
        before = self.live()
        self.migration("0003_more", ADDITIVE)
        self.apply()
        after = self.applied()
        os.unlink(os.path.join(self.release, "guestbook/migrations/0003_more.py"))
        self.assertIn("guestbook.0003_more (this code does not have it)", self.stays()[0])
        self.assertEqual(self.applied(), after)
        self.assertNotEqual(after, before)

    def test_a_plan_that_would_do_more_is_not_carried_out(self):
        self.migration("0003_more", ADDITIVE)
        self.migration("0004_last", 'migrations.AddField("tag", "rank", models.IntegerField(null=True))', "0003_more")
        rows, _schema = live = self.live()
        self.remember_applied([row for row in rows if row[1] != "0003_more"])
        self.assertIn("guestbook.0003_more", self.stays()[0])
        self.assertEqual(self.applied(), live)

    def test_killed_in_the_middle(self):
        before = self.live()
        pipe = self.path("began")
        os.mkfifo(pipe)
        self.migration("0003_more", ADDITIVE)
        wait = f"lambda apps, editor: (open({pipe!r}, 'w').write('x'), __import__('time').sleep(600))"
        added = 'migrations.AddField("entry", "x", models.IntegerField(null=True))'
        self.migration("0004_wait", f"{added}, migrations.RunPython({wait})", "0003_more")
        process, end = self.start_django("migrations.py", DEPLOYER_OPERATION="apply")
        with open(pipe) as file:
            file.read()
        process.send_signal(signal.SIGKILL)
        end()
        self.reverse()
        self.assertEqual(self.applied(), before)

    def test_modules_of_the_project_do_not_disturb_it(self):
        self.write("common.py", "raise SystemExit('the wrong module')", base=self.release)
        self.apply()
        self.reverse()


class Unknown(Migrations):
    def warnings(self):
        code, answers, log = self.run_it("unknown")
        self.assertEqual(code, 0, log)
        self.assertEqual({key for key, _ in answers} - {"warning"}, set())
        return [value for _, value in answers]

    def test_what_the_old_code_does_not_know_is_listed(self):
        self.assertEqual(self.warnings(), [])
        self.assertFalse(os.path.exists(self.database))
        self.migration("0003_more", ADDITIVE)
        self.live()
        self.assertEqual(self.warnings(), [])
        os.unlink(os.path.join(self.release, "guestbook/migrations/0003_more.py"))
        [warning] = self.warnings()
        self.assertEqual(warning, "the database has migrations that this release does not know: guestbook.0003_more")

    def test_squashed_migrations_are_known(self):
        self.live()
        replaces = "replaces = [('guestbook', '0001_initial'), ('guestbook', '0002_entry_written')]"
        for name in ("0001_initial", "0002_entry_written"):
            os.unlink(os.path.join(self.release, f"guestbook/migrations/{name}.py"))
        self.write(
            "guestbook/migrations/0001_squashed.py",
            "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
            f"    {replaces}\n    operations = []\n",
            base=self.release,
        )
        self.assertEqual(self.warnings(), [])


if __name__ == "__main__":
    unittest.main()
