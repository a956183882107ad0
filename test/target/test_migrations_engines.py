import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from database_site import DatabaseSite, Postgres, Psycopg2, Sqlite

ADDS = 'migrations.AddField("entry", "stars", models.IntegerField(null=True))'
ADDS_MORE = 'migrations.AddField("entry", "place", models.CharField(max_length=9, default="here"))'
DROPS = 'migrations.RemoveField("entry", "written")'
ADDS_MORE_NULL = 'migrations.AddField("entry", "place", models.CharField(max_length=9, null=True))'
FAILS = 'migrations.RunSQL("SELECT nonsense FROM nowhere", "SELECT 1")'
NOOP = "migrations.RunPython.noop"
FILLS = "lambda apps, editor: apps.get_model('guestbook', 'entry').objects.create(name='a', text='b')"
ADDS_ALL = """
    migrations.CreateModel("Tag", [("id", models.BigAutoField(primary_key=True)), ("word", models.TextField())]),
    migrations.AddField("entry", "tags", models.ManyToManyField("guestbook.Tag")),
    migrations.AddField("entry", "first", models.ForeignKey("guestbook.Tag", models.CASCADE, "+", null=True)),
    migrations.AddField("entry", "stars", models.IntegerField(default=0)),
    migrations.AddIndex("entry", models.Index(fields=["stars"], name="entry_stars")),
    migrations.AddConstraint("entry", models.UniqueConstraint(fields=["name", "stars"], name="entry_once")),
    migrations.AlterField("entry", "name", models.CharField(max_length=200, null=True, verbose_name="who")),
    migrations.AlterField("entry", "name", models.CharField(max_length=201, null=True, db_index=True)),
    migrations.AlterField("entry", "text", models.TextField(unique=True)),
    migrations.AlterModelOptions("entry", {"verbose_name": "line"}),
"""
OFFER = """
    migrations.CreateModel("Offer", [
        ("id", models.AutoField(primary_key=True)),
        ("entry", models.ForeignKey("guestbook.Entry", models.CASCADE)),
    ])
"""
OFFERED = 'migrations.AddField("entry", "offer", models.ForeignKey("shop.Offer", models.CASCADE, "+", null=True))'
NOT_ATOMIC = "atomic = False"

# what: migrations after guestbook.0002 as (name, operations, more), whether `migrate` fails, and what stays: "" if all
# is taken back and the schema is what it was
CASES = {
    "of two the second fails": ([("0003_adds", ADDS), ("0004_fails", FAILS)], True, ""),
    "of two the second fails half-way": ([("0003_adds", ADDS), ("0004_fails", f"{ADDS_MORE}, {FAILS}")], True, ""),
    "only additions": ([("0003_all", ADDS_ALL), ("0004_more", ADDS_MORE)], False, ""),
    "the first of two drops a column": (
        [("0003_drops", DROPS), ("0004_fails", FAILS)],
        True,
        r"guestbook\.0003_drops \(Remove field written from entry: not a pure addition\)$",
    ),
    "code that can be reversed": (
        [("0003_fills", f"{ADDS}, migrations.RunPython({FILLS}, {NOOP})"), ("0004_fails", FAILS)],
        True,
        r"guestbook\.0003_fills \(Raw Python operation: not a pure addition\)$",
    ),
    "code that cannot be reversed": (
        [("0003_fills", f"migrations.RunPython({FILLS})"), ("0004_fails", FAILS)],
        True,
        r"guestbook\.0003_fills \(Raw Python operation: cannot be reversed\)$",
    ),
    "code that fails": ([("0003_adds", ADDS), ("0004_fails", "migrations.RunPython(lambda *_: 1 / 0)")], True, ""),
    "without a transaction, half-way": (
        [("0003_adds", ADDS), ("0004_half", f"{ADDS_MORE}, {FAILS}", NOT_ATOMIC)],
        True,
        r"guestbook\.0003_adds, guestbook\.0004_half \(it stopped half-way, and no transaction held it",
    ),
    "without a transaction, whole": ([("0003_adds", ADDS, NOT_ATOMIC), ("0004_fails", FAILS)], True, ""),
}
ONLY_POSTGRES = {
    "an index made concurrently": (
        [
            (
                "0003_index",
                'operations.AddIndexConcurrently("entry", models.Index(fields=["name"], name="by_name"))',
                NOT_ATOMIC,
            ),
            ("0004_fails", FAILS),
        ],
        True,
        "",
    ),
    "a field of its own kind": (
        [("0003_words", 'migrations.AddField("entry", "w", fields.ArrayField(models.TextField(), default=list))')],
        False,
        "",
    ),
    "an extension": (
        [("0003_extension", "operations.HStoreExtension()"), ("0004_fails", FAILS)],
        True,
        r"guestbook\.0003_extension \(Creates extension hstore: not a pure addition\)$",
    ),
}
ENGINES = {"sqlite": Sqlite, "postgres": Postgres, "psycopg2": Psycopg2}


class Table(DatabaseSite):
    """Each case on each engine: the tests are added below."""

    def check(self, engine, migrations, fails, stays):
        self.use("default", engine)
        self.live()
        before = self.schemas()
        self.guestbook(*migrations)
        said, _log = self.run_it("apply", int(fails))
        if fails:
            self.assertRegex(said["message"], rf"^guestbook\.{migrations[-1][0]} failed: \w+: ")
        if stays:
            hint = self.stays(stays)["hint"]
            self.assertEqual("manage.py migrate guestbook" in hint, "cannot be reversed" not in stays, hint)
        else:
            self.comes_back(before)


def add_tests(cases, engines):
    for what, case in cases.items():
        for engine in engines:

            def test(self, engine=engine, case=case):
                self.check(ENGINES[engine], *case)

            setattr(Table, f"test_{engine}: {what}", test)


add_tests(CASES, ["sqlite", "postgres"])
add_tests(ONLY_POSTGRES, ["postgres"])
add_tests({what: CASES[what] for what in list(CASES)[:4]}, ["psycopg2"])


class TwoApps(DatabaseSite):
    def check(self, engine):
        self.use("default", engine)
        self.live()
        before = self.schemas()
        self.settings("INSTALLED_APPS = ['django.contrib.staticfiles', 'guestbook', 'shop']")
        self.write("shop/__init__.py", base=self.release)
        self.write("shop/migrations/__init__.py", base=self.release)
        self.guestbook(("0003_adds", ADDS))
        after = [("guestbook", "0003_adds")]
        self.migration_of("shop", "0001_offer", OFFER, after=after)
        after += [("shop", "0001_offer")]
        self.migration_of("guestbook", "0004_offer", OFFERED, after=after)
        self.migration_of("shop", "0002_fails", FAILS, after=[("shop", "0001_offer"), ("guestbook", "0004_offer")])
        said, _log = self.run_it("apply", 1)
        self.assertRegex(said["message"], r"^shop\.0002_fails failed")
        self.assertNotEqual(self.schemas(), before)
        self.comes_back(before)

    def test_apps_that_build_upon_each_other_are_taken_back_in_order_sqlite(self):
        self.check(Sqlite)

    def test_apps_that_build_upon_each_other_are_taken_back_in_order_postgres(self):
        self.check(Postgres)


MIGRATES_BOTH = """
from django.core.management.commands import migrate

class Command(migrate.Command):
    def handle(self, *args, **options):
        for alias in ("default", "other"):
            super().handle(*args, **{**options, "database": alias})
"""


class TwoDatabases(DatabaseSite):
    def two(self, first, second):
        self.use("default", first)
        self.use("other", second)
        self.live()

    def the_other_is_left_alone(self, first, second):
        self.two(first, second)
        before = self.schemas()
        self.guestbook(("0003_adds", ADDS), ("0004_fails", FAILS))
        self.run_it("apply", 1)
        self.assertEqual(self.schemas()["other"], before["other"])
        self.comes_back(before)

    def test_postgres_beside_sqlite_is_left_alone(self):
        self.the_other_is_left_alone(Sqlite, Postgres)

    def test_sqlite_beside_postgres_is_left_alone(self):
        self.the_other_is_left_alone(Postgres, Sqlite)

    def both_are_taken_back(self, first, second):
        """A project whose own `migrate` migrates both; the last migration fails in the second one only."""
        self.two(first, second)
        self.databases["other"].execute("ALTER TABLE guestbook_entry ADD COLUMN stars integer")
        self.write("guestbook/management/commands/migrate.py", MIGRATES_BOTH, base=self.release)
        before = self.schemas()
        self.guestbook(("0003_more", ADDS_MORE_NULL), ("0004_adds", ADDS))
        said, log = self.run_it("apply", 1)
        self.assertRegex(said["message"], r"^guestbook\.0004_adds failed: .*(duplicate column|already exists)")
        for alias, schema in self.schemas().items():
            self.assertNotEqual(schema, before[alias], log)
        self.comes_back(before)

    def test_sqlite_and_postgres_are_both_taken_back(self):
        self.both_are_taken_back(Sqlite, Postgres)

    def test_postgres_and_sqlite_are_both_taken_back(self):
        self.both_are_taken_back(Postgres, Sqlite)

    def test_other_ways_to_the_same_database_and_its_replica_change_nothing(self):
        self.use("default", Postgres)
        self.live()
        before = self.schemas()
        read_only = {"options": "-c default_transaction_read_only=on"}
        self.settings(
            "again = {**DATABASES['default']}\n"
            f"replica = {{**again, 'OPTIONS': {read_only!r}}}\n"
            "DATABASES = {'replica': replica, **DATABASES, 'again': again}"
        )
        self.guestbook(("0003_adds", ADDS), ("0004_fails", FAILS))
        self.run_it("apply", 1)
        self.comes_back(before)


if __name__ == "__main__":
    unittest.main()
