"""A site whose release is the Django project of the tests, and the programs that run inside Django."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import ClassVar

from site_folder import RELEASE, TOOLS, SiteFolder

SUPPORT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "support"))
SHELL = 'import os; exec(compile(open(os.environ["DEPLOYER_PROGRAM"]).read(), os.environ["DEPLOYER_PROGRAM"], "exec"))'


class Environment:
    """One virtualenv with what the project needs, built by environment.py once for all tests of a module. A test that
    needs more in it appends to `more` first, requirements of the wheelhouse."""

    folder = None
    more: ClassVar = []

    @classmethod
    def path(cls):
        if not cls.folder:
            cls.folder = tempfile.mkdtemp(prefix="it's a tmp ")
            atexit.register(shutil.rmtree, cls.folder, ignore_errors=True)
            cls.build()
        return os.path.realpath(os.path.join(cls.folder, "releases", RELEASE, ".venv"))

    @classmethod
    def build(cls):
        sys.path.insert(0, SUPPORT)
        import wheelhouse

        command = [sys.executable, os.path.join(SUPPORT, "wheelhouse.py")]
        wheels = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        release = os.path.join(cls.folder, "releases", RELEASE)
        os.makedirs(release)
        requirements = [wheelhouse.pins()[0], "tinylib==1", *cls.more]
        with open(os.path.join(release, "requirements.txt"), "w") as file:
            file.write("\n".join(["--no-index", f'--find-links "{wheels}"', *requirements, ""]))
        program = [sys.executable, "-BES", os.path.join(TOOLS, "environment.py")]
        words = ["build", "--venv", ".venv", "--python", sys.executable]
        env = {"PATH": os.environ["PATH"], "HOME": cls.folder, "RELEASE": RELEASE}
        subprocess.run([*program, *words], check=True, cwd=cls.folder, env=env, stdout=subprocess.DEVNULL)


class DjangoSite(SiteFolder):
    def setUp(self):
        super().setUp()
        self.release = self.path("releases", RELEASE)
        shutil.copytree(os.path.join(SUPPORT, "project"), self.release, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("data", "media"):
            os.makedirs(self.path("shared", name))
            os.symlink(f"../../shared/{name}", os.path.join(self.release, name))
        self.venv = os.path.join(self.release, ".venv")
        os.symlink(Environment.path(), self.venv)
        self.env.update(SECRET_KEY="only for tests", PYTHONDONTWRITEBYTECODE="1")
        self.database = self.path("shared/data/db.sqlite3")

    def settings(self, text):
        with open(os.path.join(self.release, "config/settings.py"), "a") as file:
            file.write(f"\n{text}\n")

    def migration(self, name, operations, after="0002_entry_written", more=""):
        self.write(
            f"guestbook/migrations/{name}.py",
            "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n"
            f"    dependencies = [('guestbook', '{after}')]\n    {more}\n    operations = [{operations}]\n",
            base=self.release,
        )

    def manage(self, *words):
        command = [f"{self.venv}/bin/python", "manage.py", *words]
        return subprocess.run(
            command, cwd=self.release, env=self.env, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def start_django(self, program, **more):
        """Starts a program as the shell function `django` does. Returns the process, and a function that awaits it."""
        answers = tempfile.NamedTemporaryFile()
        command = [f"{self.venv}/bin/python", "manage.py", "shell", "-c", SHELL]
        env = {
            **self.env,
            "VIRTUAL_ENV": self.venv,
            "DEPLOYER_PROGRAM": os.path.join(TOOLS, program),
            "DEPLOYER_RUN_DIR": self.run_folder,
            "DEPLOYER_DEPLOY_PATH": self.site,
            "DEPLOYER_RELEASE": RELEASE,
            **more,
        }
        process = subprocess.Popen(
            ["sh", "-c", 'exec "$@" 3>"$0"', answers.name, *command],
            cwd=self.release,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

        def end():
            log = process.communicate()[0]
            with answers:
                records = answers.read().decode().split("\0")[:-1]
            return process.returncode, [tuple(record.split("=", 1)) for record in records], log

        return process, end

    def django(self, program, **more):
        return self.start_django(program, **more)[1]()

    def fact(self, name):
        with open(os.path.join(self.run_folder, name)) as file:
            text = file.read()
        self.assertEqual(text[-1:], "\n", "the shell's read would fail")
        return text[:-1]

    def applied(self):
        """What is applied of the project, and the schema with everything in it."""
        import sqlite3

        connection = sqlite3.connect(self.database)
        try:
            rows = connection.execute("SELECT app, name FROM django_migrations ORDER BY app, name").fetchall()
            schema = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
            return rows, schema
        finally:
            connection.close()

    def remember_applied(self, rows):
        """A record as `apply` leaves it, for a run that was killed."""
        with open(os.path.join(self.run_folder, "applied-before"), "w") as file:
            json.dump({"made": {}, "applied": {"default": rows}}, file)
