import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from django_site import DjangoSite


class Validate(DjangoSite):
    def good(self, **more):
        """Its answers, and the log."""
        code, answers, log = self.django("validate.py", **more)
        self.assertEqual((code, [value for key, value in answers if key == "problem"]), (0, []), log)
        return [value for key, value in answers if key == "warning"], log

    def problems(self, **more):
        code, answers, log = self.django("validate.py", **more)
        self.assertEqual(code, 1, (answers, log))
        found = [value for key, value in answers if key == "problem"]
        self.assertTrue(found)
        return found, log

    def test_a_sound_project_tells_its_plan_and_leaves_no_database(self):
        warnings, log = self.good()
        self.assertEqual(warnings, [])
        self.assertIn("to apply: guestbook.0001_initial\n    Create model Entry\n", log)
        self.assertIn("to apply: guestbook.0002_entry_written", log)
        self.assertEqual((self.fact("migrations"), self.fact("static")), ("pending", "collect"))
        self.assertEqual(os.listdir(self.path("shared/data")), [])

    def test_nothing_to_apply(self):
        self.manage("migrate")
        self.good()
        self.assertEqual(self.fact("migrations"), "empty")

    def test_only_what_is_new_is_planned_and_what_cannot_be_reversed_is_marked(self):
        self.manage("migrate")
        self.migration("0003_fill", "migrations.RunPython(migrations.RunPython.noop)")
        log = self.good()[1]
        self.assertRegex(log, r"to apply: guestbook\.0003_fill\n    .+ \[IRREVERSIBLE\]")
        self.assertNotIn("0001", log)

    def test_what_a_newer_release_applied_is_named(self):
        self.migration("0003_newer", "")
        self.manage("migrate")
        os.unlink(os.path.join(self.release, "guestbook/migrations/0003_newer.py"))
        warnings, _log = self.good()
        self.assertEqual(
            warnings, ["the database has migrations that this release does not know: guestbook.0003_newer"]
        )

    def test_a_migrate_command_of_the_project_may_have_more_to_do(self):
        self.manage("migrate")
        command = "from django.core.management.commands.migrate import Command\n"
        self.write("guestbook/management/commands/migrate.py", command, base=self.release)
        self.good()
        self.assertEqual(self.fact("migrations"), "pending")

    def test_everything_wrong_is_said_at_once(self):
        self.write("config/urls.py", "urlpatterns = [\n", base=self.release)
        self.migration("0003_one", "")
        self.migration("0003_two", "")
        self.settings("DATABASES['default']['NAME'] = BASE_DIR / 'db.sqlite3'")
        found, log = self.problems()
        self.assertEqual(len(found), 3, found)
        database, migrations, urls = found
        self.assertIn("SQLite database db.sqlite3 (default)", database)
        self.assertIn("guestbook has several last migrations: 0003_one, 0003_two", migrations)
        self.assertIn("SyntaxError", urls)
        self.assertIn("urls.py", urls)
        self.assertIn("Traceback", log)

    def test_errors_of_system_checks_are_listed_and_warnings_are_not_problems(self):
        self.write(
            "guestbook/checks.py",
            "from django.core.checks import Error, Warning, register\n\n\n@register()\n"
            "def check(app_configs, **more):\n"
            "    return [Error('one', id='a.E1'), Error('two', hint='do it'), Warning('three')]\n",
            base=self.release,
        )
        self.settings("import guestbook.checks\nSILENCED_SYSTEM_CHECKS = ['a.E1']")
        found, log = self.problems()
        self.assertEqual(len(found), 1, found)
        self.assertRegex(found[0], r"^\?: two\nHINT: do it")
        self.assertIn("three", log)

    def test_a_database_that_does_not_answer(self):
        self.write("shared/data/db.sqlite3", "no database at all " * 100)
        found, _log = self.problems()
        self.assertEqual(len(found), 1, found)
        self.assertRegex(found[0], r"^the database default \(sqlite .*db\.sqlite3\) does not answer: DatabaseError")

    def test_a_folder_of_the_database_that_does_not_exist(self):
        os.rmdir(self.path("shared/data"))
        self.assertIn("folder of the SQLite database does not exist", self.problems()[0][0])

    def test_where_a_sqlite_file_would_be_lost_and_what_to_do(self):
        os.unlink(os.path.join(self.release, "data"))
        os.mkdir(os.path.join(self.release, "data"))
        self.settings(
            "DATABASES.update({name: {'ENGINE': 'django.db.backends.sqlite3', 'NAME': file} for name, file in {\n"
            "    'code': 'guestbook/x.sqlite3', 'memory': ':memory:', 'elsewhere': '/nowhere/db.sqlite3',\n"
            "    'read': f'file:{BASE_DIR}/x.sqlite3?mode=ro'}.items()})"
        )
        found, _log = self.problems()
        self.assertEqual(len(found), 2, found)
        self.assertIn("data/db.sqlite3 (default)", found[0])
        self.assertIn("add data to shared_dirs", found[0])
        self.assertIn("guestbook/x.sqlite3 (code)", found[1])
        self.assertIn("add guestbook/x.sqlite3 to shared_files", found[1])
        self.assertIn(self.path("shared/guestbook/x.sqlite3"), found[1])

    def test_uploads_and_static_files_on_the_wrong_side(self):
        self.settings("import os\nMEDIA_ROOT = BASE_DIR / 'up' / 'loads'\nSTATIC_ROOT = os.environ['OUTSIDE']")
        warnings, _log = self.good(OUTSIDE=self.path("static"))
        self.assertEqual(self.fact("static"), "outside")
        self.assertEqual(len(warnings), 2, warnings)
        self.assertIn("add up/loads to shared_dirs", warnings[0])
        self.assertIn(f"STATIC_ROOT ({self.path('static')}) lies outside the release", warnings[1])

    def test_static_files_without_a_place(self):
        self.settings("STATIC_ROOT = None")
        self.write("config/urls.py", "urlpatterns = []\n", base=self.release)
        self.good()
        self.assertEqual(self.fact("static"), "skip STATIC_ROOT is not set")

    def test_static_files_in_a_storage_elsewhere(self):
        self.write(
            "guestbook/bucket.py",
            "from django.core.files.storage import Storage\n\n\nclass Bucket(Storage):\n    pass\n",
            base=self.release,
        )
        self.settings(
            "STATIC_ROOT = None\nSTORAGES = {'default': {'BACKEND': 'guestbook.bucket.Bucket'},\n"
            "    'staticfiles': {'BACKEND': 'guestbook.bucket.Bucket'}}"
        )
        self.write("config/urls.py", "urlpatterns = []\n", base=self.release)
        self.assertIn("the storage of static files lies outside", self.good()[0][-1])
        self.assertEqual(self.fact("static"), "outside")

    def test_no_databases_and_no_staticfiles_app(self):
        self.settings("DATABASES = {}\nINSTALLED_APPS.remove('django.contrib.staticfiles')")
        self.good()
        self.assertEqual(self.fact("migrations"), "none")
        self.assertRegex(self.fact("static"), "^skip .*staticfiles is not installed$")

    def test_an_error_at_import_is_said_with_its_line(self):
        with open(os.path.join(self.release, "guestbook/views.py"), "a") as file:
            file.write("\n\nraise RuntimeError('boom')\n")
        found, _log = self.problems()
        with open(os.path.join(self.release, "guestbook/views.py")) as file:
            lines = len(file.readlines())
        self.assertIn(f"RuntimeError: boom (guestbook/views.py, line {lines})", "\n".join(found))

    def test_models_that_have_no_migration(self):
        with open(os.path.join(self.release, "guestbook/models.py"), "a") as file:
            file.write("    stars = models.IntegerField()\n")
        warnings, _log = self.good()
        self.assertEqual(warnings, ["models without a migration: guestbook (python manage.py makemigrations)"])

    def test_modules_of_the_project_do_not_disturb_it(self):
        for name in ("common", "validate", "processes"):
            self.write(f"{name}.py", "raise SystemExit('the wrong module')", base=self.release)
        self.good()

    def test_settings_that_cannot_be_imported_fail(self):
        self.settings("import no_such_module")
        code, _answers, log = self.django("validate.py")
        self.assertNotEqual(code, 0)
        self.assertIn("no_such_module", log)


if __name__ == "__main__":
    unittest.main()
