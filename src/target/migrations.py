"""Applies migrations, and takes back what a failed deploy applied where that loses nothing.

It is executed by `manage.py shell` in the folder of manage.py, and imports nothing of ours by its name: a project may
have a module of that name. Answers go to file descriptor 3 as in common.py. $DEPLOYER_OPERATION is one of

apply     remembers what is applied in $DEPLOYER_RUN_DIR/applied-before, then runs `migrate`
reverse   brings the database back to that, by the code of the release that applied it; otherwise fails with
          `not-undone` and names what stays. With DEPLOYER_SWITCHED=1 everything stays
unknown   warns of applied migrations that the code of this release does not know
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import sys
import traceback
from typing import Any, NamedTuple, NoReturn, Sequence, Set, Tuple

PATIENCE = 60.0  # seconds, for PostgreSQL to end what a killed process had asked of it
BEFORE = os.path.join(os.environ["DEPLOYER_RUN_DIR"], "applied-before")
ATTEMPT = os.path.join(os.environ["DEPLOYER_RUN_DIR"], "migration-attempt")
IRREVERSIBLE = "cannot be reversed"
migrating = ""

Key = Tuple[str, str]
Keys = Set[Key]


class Undo(NamedTuple):
    """What is to be taken back in one database, and what stands against it."""

    alias: str
    applied: Keys
    targets: list[tuple[str, str | None]]
    plan: list[tuple[Any, bool]]
    obstacles: dict[str, str]


def main() -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    prepare_connections()
    {"apply": apply, "reverse": reverse, "unknown": unknown}[os.environ["DEPLOYER_OPERATION"]]()


def answer(key: str, value: str) -> None:
    record = f"{key}={value}\0".encode("utf-8", "surrogateescape")
    try:
        while record:
            record = record[os.write(3, record) :]
    except OSError:
        pass


def fail(message: str, hint: str = "", code: str = "failed") -> NoReturn:
    answer("error", code)
    answer("message", message)
    if hint:
        answer("hint", hint)
    sys.stdout.flush()
    sys.exit(1)


def in_words(error: BaseException) -> str:
    first = (str(error).strip() or "no reason given").splitlines()[0]
    waited = lock_waits.in_words(error)
    return f"{type(error).__name__}: {first}{f'; {waited}' if waited else ''}"


def sibling(name: str) -> Any:
    """A module that lies beside this program."""
    path = os.path.join(os.path.dirname(os.environ["DEPLOYER_PROGRAM"]), f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"deployer_{name}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lock_waits = sibling("lock_waits")


def prepare_connections() -> None:
    from django.db import connections
    from django.db.backends.signals import connection_created

    connections.close_all()
    connection_created.connect(lambda connection, **_more: lock_waits.limit(connection), weak=False)


def real_aliases() -> list[str]:
    """The databases, without those that mirror another one."""
    from django.db import connections

    def is_real(settings: Any) -> bool:
        return settings["ENGINE"] != "django.db.backends.dummy" and not settings["TEST"].get("MIRROR")

    return [alias for alias in connections if is_real(connections[alias].settings_dict)]


def is_read_only(alias: str) -> bool:
    """A replica of PostgreSQL, or a connection that may only read: migrations come to it from elsewhere."""
    from django.db import connections

    if connections[alias].vendor != "postgresql":
        return False
    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        return bool(cursor.fetchone()[0] == "on")


def sqlite_file(alias: str) -> str:
    """The file of a SQLite database, links resolved; "" for what has none."""
    from django.db import connections

    connection = connections[alias]
    name = str(connection.settings_dict["NAME"] or "")
    if connection.vendor != "sqlite" or name in ("", ":memory:") or name.startswith("file:"):
        return ""
    return os.path.realpath(name)


def applied_in(alias: str) -> Keys:
    from django.db import connections
    from django.db.migrations.recorder import MigrationRecorder

    return set(MigrationRecorder(connections[alias]).applied_migrations())


def apply() -> None:
    from django.core.management import call_command

    if "default" not in real_aliases():
        return answer("skip", "the settings name no DATABASES")
    remember_state()
    remember_attempts()
    try:
        call_command("migrate", interactive=False)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        fail(f"{migrating or 'migrate'} failed: {in_words(error)}", lock_waits.cure(error))


def remember_state() -> None:
    made, applied = {}, {}
    for alias in real_aliases():
        path = sqlite_file(alias)
        if alias == "default" and path and os.path.isdir(os.path.dirname(path)) and not os.path.exists(path):
            with open(path, "x") as file:
                made[alias] = [path, os.fstat(file.fileno()).st_ino]
        if path and not os.path.exists(path):
            continue
        try:
            if is_read_only(alias):
                continue
            applied[alias] = sorted(applied_in(alias))
        except Exception as error:
            if alias == "default":
                traceback.print_exc()
                fail(f"the database {alias} does not answer: {in_words(error)}", lock_waits.cure(error))
            print(f"the database {alias} does not answer, and is left alone: {in_words(error)}")
    write(BEFORE, json.dumps({"made": made, "applied": applied}))


def write(path: str, text: str) -> None:
    with open(path + ".part", "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".part", path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def remember_attempts() -> None:
    """Keeps in `migrating` which migration is under way. One that no transaction holds may stop half-way without being
    recorded as applied: the last is noted."""
    from django.db.migrations.executor import MigrationExecutor

    apply_migration = MigrationExecutor.apply_migration

    def noted(self: Any, state: Any, migration: Any, *words: Any, **more: Any) -> Any:
        global migrating
        if not (migration.atomic and self.connection.features.can_rollback_ddl):
            write(ATTEMPT, json.dumps([self.connection.alias, migration.app_label, migration.name]))
        migrating = name_of((migration.app_label, migration.name))
        state = apply_migration(self, state, migration, *words, **more)
        migrating = ""
        return state

    MigrationExecutor.apply_migration = noted


def reverse() -> None:
    try:
        with open(BEFORE) as file:
            record = json.load(file)
    except FileNotFoundError:
        return
    try:
        return_to(record)
    except Exception as error:
        traceback.print_exc()
        message = f"migrations of this deploy may have stayed in the database: {in_words(error)}"
        hint = "once that is mended, see what is applied: python manage.py showmigrations"
        fail(message, "; ".join(filter(None, [lock_waits.cure(error), hint])), "not-undone")


def return_to(record: dict[str, Any]) -> None:
    from django.db import connections

    switched = os.environ.get("DEPLOYER_SWITCHED") == "1"
    if not switched:
        remove_made(record["made"])
    before = {
        alias: {(app, name) for app, name in keys}
        for alias, keys in record["applied"].items()
        if os.path.exists(sqlite_file(alias) or "/")
    }
    for alias in before:
        lock_waits.end_left_over(connections[alias], PATIENCE)
    applied = applied_since(before)
    half = half_applied(before)
    if not applied and not half:
        print("no migration is to be reversed")
        return
    if half:
        app, _, name = half.partition(".")
        cure = f"see what of it is there (python manage.py sqlmigrate {app} {name}), and finish or remove that by hand"
        reason = "it stopped half-way, and no transaction held it: some of it may be there"
        stay(applied, before, {half: reason}, cures=[cure])
    if switched:
        stay(applied, before, {}, "the new release was live already, and data may be in them")
    undos = [undo_in(alias, keys, before[alias]) for alias, keys in applied.items()]
    obstacles = {name: reason for undo in undos for name, reason in undo.obstacles.items()}
    if obstacles:
        stay(applied, before, obstacles)
    take_back(undos, before)


def remove_made(made: dict[str, Any]) -> None:
    """A database file that this deploy made held nothing before it."""
    from django.db import connections

    for alias, (path, inode) in made.items():
        connections[alias].close()
        if os.path.exists(path) and os.stat(path).st_ino == inode:
            for name in (path, f"{path}-journal", f"{path}-wal", f"{path}-shm"):
                if os.path.exists(name):
                    os.unlink(name)
            print(f"removed {path}, which this deploy had made")


def applied_since(before: dict[str, Keys]) -> dict[str, Keys]:
    since = {alias: applied_in(alias) - keys for alias, keys in before.items()}
    return {alias: keys for alias, keys in since.items() if keys}


def half_applied(before: dict[str, Keys]) -> str:
    """The migration that was under way outside of a transaction when all ended; "" if there is none."""
    try:
        with open(ATTEMPT) as file:
            alias, app, name = json.load(file)
    except FileNotFoundError:
        return ""
    if alias not in before:
        return ""
    if (app, name) in applied_in(alias):
        os.unlink(ATTEMPT)  # it is whole: once it is taken back, it is no half one
        return ""
    return f"{app}.{name}"


def undo_in(alias: str, applied: Keys, before: Keys) -> Undo:
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connections[alias])
    targets = targets_of(executor.loader, applied, before)
    unknown = applied - set(executor.loader.disk_migrations)
    if unknown:
        return Undo(alias, applied, targets, [], {name_of(key): "this code does not have it" for key in unknown})
    plan = executor.migration_plan(targets)
    obstacles: dict[str, str] = {}
    planned: Keys = set()
    for migration, backwards in plan:
        keys = {(migration.app_label, migration.name), *map(tuple, migration.replaces)}
        planned |= keys
        reason = reason_to_keep(executor.loader, migration) if backwards else "it would have to be applied first"
        if reason:
            obstacles[name_of((migration.app_label, migration.name))] = reason
    for key in planned ^ applied:
        obstacles.setdefault(name_of(key), "reversing would take back more, or less, than this deploy applied")
    return Undo(alias, applied, targets, plan, obstacles)


def name_of(key: Key) -> str:
    return ".".join(key)


def targets_of(loader: Any, applied: Keys, before: Keys) -> list[tuple[str, str | None]]:
    """For each app what was its last migration before, as `migrate APP NAME` would name it; None: it had none."""
    targets: list[tuple[str, str | None]] = []
    for app in sorted({app for app, _name in applied}):
        earlier = [key for key in before if key[0] == app and key in loader.graph.nodes]
        last = [
            key for key in earlier if not any(child.key in earlier for child in loader.graph.node_map[key].children)
        ]
        targets += sorted(last) or [(app, None)]
    return targets


def reason_to_keep(loader: Any, migration: Any) -> str:
    """Why reversing it could lose what was there before; "" if all that it did was to add."""
    state = None
    for operation in migration.operations:
        if not operation.reversible:
            return f"{operation.describe()}: {IRREVERSIBLE}"
        if type(operation).__name__ == "AlterField" and state is None:
            state = loader.project_state((migration.app_label, migration.name), at_end=False)
            for earlier in migration.operations[: migration.operations.index(operation)]:
                earlier.state_forwards(migration.app_label, state)
        if not only_adds(operation, migration.app_label, state):
            return f"{operation.describe()}: not a pure addition"
        if state is not None:
            operation.state_forwards(migration.app_label, state)
    return ""


def only_adds(operation: Any, app: str, state: Any) -> bool:
    from django.db.migrations import operations as known

    if not type(operation).__module__.startswith("django."):
        return False
    if isinstance(operation, known.AlterField):
        old = state.models[app, operation.model_name_lower].fields[operation.name]
        return only_widens(old, operation.field)
    additions = (known.CreateModel, known.AddField, known.AddIndex, known.AddConstraint)
    without_effect = (known.AlterModelOptions, known.AlterModelManagers)
    return isinstance(operation, additions + without_effect)


def only_widens(old: Any, new: Any) -> bool:
    """Whether all values that the old column could hold stay as they are when the field changes, there and back."""
    _, old_path, old_words, old_options = old.deconstruct()
    _, new_path, new_words, new_options = new.deconstruct()
    if (old_path, old_words) != (new_path, new_words):
        return False
    without_column = {*getattr(new, "non_db_attrs", ()), "default"} - {"db_column", "on_delete"}
    for name in {*old_options, *new_options} - without_column:
        before, after = old_options.get(name), new_options.get(name)
        wider = (
            before == after
            or (name == "null" and after is True)
            or (name in ("unique", "db_index") and after is True)
            or (name == "max_length" and before is not None and (after is None or before < after))
        )
        if not wider:
            return False
    return True


def take_back(undos: list[Undo], before: dict[str, Keys]) -> None:
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor

    obstacles: dict[str, str] = {}
    cures: list[str] = []
    for undo in undos:
        for migration, _backwards in undo.plan:
            print(f"to reverse: {name_of((migration.app_label, migration.name))} ({undo.alias})")
        try:
            executor = MigrationExecutor(connections[undo.alias])
            executor.migrate(undo.targets, plan=executor.migration_plan(undo.targets))
        except Exception as error:
            traceback.print_exc()
            obstacles[f"reversing in {undo.alias}"] = in_words(error)
            cures += filter(None, [lock_waits.cure(error)])
    remaining = applied_since(before)
    gone = {alias: keys - applied_in(alias) for alias, keys in before.items()}
    if obstacles or remaining or any(gone.values()):
        lost = sorted(name_of(key) for keys in gone.values() for key in keys)
        stay(remaining, before, obstacles, f"reversed too far: {', '.join(lost)}" if lost else "", cures)
    print("the database is as it was before")


def stay(
    applied: dict[str, Keys], before: dict[str, Keys], reasons: dict[str, str], why: str = "", cures: Sequence[str] = ()
) -> NoReturn:
    from django.db.migrations.loader import MigrationLoader

    names = sorted({name_of(key) for keys in applied.values() for key in keys} | set(reasons))
    listed = ", ".join(f"{name} ({reasons[name]})" if name in reasons else name for name in names)
    loader = MigrationLoader(None, ignore_no_migrations=True)
    one_way = {name.split(".")[0] for name, reason in reasons.items() if reason.endswith(IRREVERSIBLE)}
    commands = [
        f"python manage.py migrate {app} {name or 'zero'}" + (f" --database {alias}" if alias != "default" else "")
        for alias, keys in applied.items()
        for app, name in targets_of(loader, keys, before[alias])
        if app not in one_way
    ]
    if one_way:
        cures = [*cures, "what cannot be reversed is put right by a new migration, or from a backup of the database"]
    hint = "; ".join([*cures, "the next deploy goes on from here"])
    if commands:
        hint += f"; to reverse by hand, with {code()} and the site's environment: {' && '.join(commands)}"
    fail(f"migrations stay in the database: {listed}{f'; {why}' if why else ''}", hint, "not-undone")


def code() -> str:
    """Where to get the code that knows these migrations: its release goes when its deploy is undone."""
    place = os.environ["DEPLOYER_DEPLOY_PATH"]
    try:
        with open(os.path.join(place, "releases", os.environ["DEPLOYER_RELEASE"], "REVISION")) as file:
            commit = file.read().strip()
    except OSError:
        return "the code of this deploy"
    mirror = shlex.quote(os.path.join(place, ".deployer/repo.git"))
    return f"the code of this deploy (git --git-dir={mirror} archive {commit} | tar -x -C FOLDER)"


def unknown() -> None:
    from django.db.migrations.loader import MigrationLoader

    migrations = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    known = {*migrations, *(tuple(key) for migration in migrations.values() for key in migration.replaces)}
    for alias in real_aliases():
        if not os.path.exists(sqlite_file(alias) or "/"):
            continue
        try:
            names = sorted(name_of(key) for key in applied_in(alias) - known)
        except Exception as error:
            answer("warning", f"the database {alias} does not say what is applied: {in_words(error)}")
            continue
        if names:
            place = "" if alias == "default" else f" {alias}"
            answer("warning", f"the database{place} has migrations that this release does not know: {', '.join(names)}")


main()
