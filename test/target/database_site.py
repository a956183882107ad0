"""A site on other databases: SQLite, and a real PostgreSQL through either driver that Django knows."""

import contextlib
import itertools
import os
import sqlite3
import subprocess
import sys

from django_site import SUPPORT, DjangoSite, Environment

sys.path.insert(0, SUPPORT)
import postgres
import wheelhouse

Environment.more += wheelhouse.drivers()
OWNER = "owner"  # of the databases, and no superuser


class Server:
    """One PostgreSQL for all tests of a module, made when it is first asked for."""

    cluster = None
    numbers = itertools.count(1)

    @classmethod
    def get(cls):
        if not cls.cluster:
            cls.cluster = postgres.Cluster()
            cls.cluster.psql("postgres", f"CREATE ROLE {OWNER} LOGIN")
        return cls.cluster


MIGRATION = """
from django.db import migrations, models
{imports}

class Migration(migrations.Migration):
    dependencies = {after}
    operations = [{operations}]
    {more}
"""


class Sqlite:
    live = None

    def __init__(self, site, alias):
        self.file = os.path.join(site.path("shared/data"), f"{alias}.sqlite3")
        self.settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": self.file}

    def schema(self):
        return self.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name")

    def save_live(self):
        with open(self.file, "rb") as file:
            Sqlite.live = file.read()

    def bring_live(self):
        """Puts there what was saved; False if nothing was."""
        if Sqlite.live:
            with open(self.file, "wb") as file:
                file.write(Sqlite.live)
        return bool(Sqlite.live)

    def execute(self, statement):
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            return connection.execute(statement).fetchall()


class Postgres:
    live = False

    def __init__(self, site, alias):
        self.server = Server.get()
        self.name = f"{alias}_{next(Server.numbers)}"
        self.create(self.name)
        site.addCleanup(self.server.psql, "postgres", f"DROP DATABASE {self.name} WITH (FORCE)")
        self.settings = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": self.name,
            "USER": OWNER,
            "HOST": self.server.host,
        }

    def create(self, name, template="template1"):
        self.server.psql("postgres", f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {template}")

    def save_live(self):
        self.create("live", self.name)
        Postgres.live = True

    def bring_live(self):
        if Postgres.live:
            self.server.psql("postgres", f"DROP DATABASE {self.name}")
            self.create(self.name, "live")
        return Postgres.live

    def schema(self):
        return self.server.schema(self.name)

    def execute(self, statement):
        return self.server.psql(self.name, statement)

    def session(self, statement, user=OWNER):
        """Someone else's, which has run the statement and is left open. Returns its process id, and what ends it."""
        words = ["-h", self.server.host, "-U", user, "-d", self.name, "-XAtq"]
        session = subprocess.Popen(
            self.server.command("psql", *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        session.stdin.write(f"SELECT pg_backend_pid();\n{statement};\n\\echo at work\n")
        pid = int(session.stdout.readline())
        while session.stdout.readline() not in ("at work\n", ""):
            pass
        return pid, lambda: session.communicate("\\q\n")


class Psycopg2(Postgres):
    """The same server, with psycopg 3 hidden from Django."""


class DatabaseSite(DjangoSite):
    """A site on databases of these kinds, and new migrations for it."""

    def setUp(self):
        super().setUp()
        self.write("REVISION", "0123456789abcdef0123456789abcdef01234567\n", base=self.release)
        self.databases = {}

    def use(self, alias, engine, **options):
        database = self.databases[alias] = engine(self, alias)
        settings = {**database.settings, **options}
        if engine is Psycopg2:
            self.settings("import sys; sys.modules['psycopg'] = None  # as if it were not installed")
        self.settings(f"DATABASES[{alias!r}] = {settings!r}")
        return database

    def live(self):
        """The databases are those of the version that is live: what comes next is the new one."""
        for alias, database in self.databases.items():
            if not database.bring_live():
                self.manage("migrate", "--verbosity", "0", "--database", alias)
                database.save_live()

    def migration_of(self, app, name, operations, more="", after=()):
        engine = type(self.databases["default"])
        imports = "from django.contrib.postgres import fields, operations" if issubclass(engine, Postgres) else ""
        text = MIGRATION.format(imports=imports, after=list(after), operations=operations, more=more)
        self.write(f"{app}/migrations/{name}.py", text, base=self.release)

    def guestbook(self, *migrations):
        last = "0002_entry_written"
        for name, *rest in migrations:
            self.migration_of("guestbook", name, *rest, after=[("guestbook", last)])
            last = name

    def schemas(self):
        """Of each database, with what is applied."""
        applied = "SELECT app, name FROM django_migrations ORDER BY app, name"
        return {alias: (database.schema(), database.execute(applied)) for alias, database in self.databases.items()}

    def run_it(self, operation, expected, **more):
        code, answers, log = self.django("migrations.py", DEPLOYER_OPERATION=operation, **more)
        self.assertEqual(code, expected, (answers, log))
        return dict(answers), log

    def comes_back(self, before):
        """All that was applied is taken back; and once more, as after an undo that was cut off."""
        for _ in range(2):
            said, log = self.run_it("reverse", 0)
            self.assertEqual(said, {}, log)
            self.assertEqual(self.schemas(), before)

    def stays(self, pattern):
        applied = self.schemas()
        said, log = self.run_it("reverse", 1)
        self.assertEqual(said["error"], "not-undone", log)
        self.assertRegex(said["message"], pattern)
        self.assertEqual(self.schemas(), applied)
        return said
