"""Asks a Django project, in one process, for all that would make its deploy fail or lose data.

It is executed by `manage.py shell` in the folder of manage.py, so settings and manage.py are the project's own, and it
imports nothing of ours: a project may have a module of any name. Answers go to file descriptor 3 as in common.py; each
finding is a `problem`, all are said before it fails. It leaves two files in $DEPLOYER_RUN_DIR:

migrations   none (no DATABASES) | empty | pending
static       collect | outside (STATIC_ROOT is outside the release) | skip REASON
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, Iterator

RELEASES = os.path.realpath(os.path.join(os.environ["DEPLOYER_DEPLOY_PATH"], "releases"))
RELEASE = os.path.join(RELEASES, os.environ["DEPLOYER_RELEASE"])
failed = False


def main() -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    for ask in (ask_databases, ask_migrations, ask_system_checks, ask_models, ask_media, ask_static_files):
        try:
            ask()
        except (Exception, SystemExit) as error:
            problem(f"{ask.__name__.replace('_', ' ')}: {in_words(error)}", error)
    if failed:
        sys.stdout.flush()
        sys.exit(1)


def answer(key: str, value: str) -> None:
    record = f"{key}={value}\0".encode("utf-8", "surrogateescape")
    try:
        while record:
            record = record[os.write(3, record) :]
    except OSError:
        pass


def problem(text: str, error: BaseException | None = None) -> None:
    global failed
    failed = True
    if error:
        traceback.print_exception(type(error), error, error.__traceback__)
    answer("problem", text)


def in_words(error: BaseException) -> str:
    first = (str(error).strip() or "no reason given").splitlines()[0]
    return f"{type(error).__name__}: {first}{place_of(error)}"


def place_of(error: BaseException) -> str:
    """The last line of the project that an error came through; empty when it came through none."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if is_within(each.filename, RELEASE)]
    return f" ({in_release(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""


def write_fact(name: str, value: str) -> None:
    path = os.path.join(os.environ["DEPLOYER_RUN_DIR"], name)
    with open(path + ".part", "w") as file:
        file.write(value + "\n")
    os.rename(path + ".part", path)


def real_aliases() -> list[str]:
    from django.db import connections

    dummy = "django.db.backends.dummy"
    return [alias for alias in connections if connections[alias].settings_dict["ENGINE"] != dummy]


def ask_databases() -> None:
    """A SQLite file in the release is gone with it."""
    from django.db import connections

    for alias in real_aliases():
        path = sqlite_file(connections[alias])
        if path and is_within(path, RELEASES):
            problem(f"the SQLite database {in_release(path)} ({alias}) is lost with its release\n{cure_for(path)}")


def cure_for(database: str) -> str:
    name = in_release(database)
    folder = os.path.dirname(name)
    if not folder or holds_code(os.path.dirname(database)):
        return f"add {name} to shared_files, and put the database, or an empty file, at {shared(name)}"
    return f"add {folder} to shared_dirs, and put the database, if there is one, at {shared(name)}"


def sqlite_file(connection: Any) -> str:
    """The file of a SQLite database, links resolved; "" for what has none, or is opened for reading only."""
    name = str(connection.settings_dict["NAME"] or "")
    if connection.vendor != "sqlite" or name in ("", ":memory:"):
        return ""
    if name.startswith("file:"):
        name, _, options = name[5:].partition("?")
        if any(word in options for word in ("mode=memory", "mode=ro", "immutable=1")):
            return ""
        name = "/" + name.lstrip("/") if name.startswith("//") else name
    return os.path.realpath(name)


def is_within(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(folder + os.sep)


def in_release(path: str) -> str:
    """As shared_files and shared_dirs name it."""
    return os.path.relpath(os.path.realpath(path), RELEASES).partition(os.sep)[2]


def shared(name: str) -> str:
    return os.path.join(os.environ["DEPLOYER_DEPLOY_PATH"], "shared", name)


def holds_code(folder: str) -> bool:
    return os.path.isdir(folder) and any(name.endswith(".py") for name in os.listdir(folder))


def ask_migrations() -> None:
    """The plan of what `migrate` would do. It is shown, not promised: a migration may still fail."""
    from django.core.management import get_commands
    from django.db import DatabaseError, connections
    from django.db.migrations.executor import MigrationExecutor

    aliases = real_aliases()
    if "default" not in aliases:
        if aliases:
            print(f"only the database `default` is migrated, and not {', '.join(aliases)}")
        return write_fact("migrations", "none")
    connection = connections["default"]
    path = sqlite_file(connection)
    if path and not os.path.isdir(os.path.dirname(path)):
        return problem(f"the folder of the SQLite database does not exist: {os.path.dirname(path)}")
    try:
        executor = MigrationExecutor(connection if exists(connection) else None)
        if exists(connection):
            executor.loader.check_consistent_history(connection)
        conflicts = executor.loader.detect_conflicts()
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return problem(f"the database {described(connection)} does not answer: {in_words(error)}", error)
    except Exception as error:
        return problem(f"the migrations cannot be planned: {in_words(error)}", error)
    for app, names in conflicts.items():
        problem(f"{app} has several last migrations: {', '.join(names)}\npython manage.py makemigrations --merge")
    unknown = sorted(f"{app}.{name}" for app, name in unknown_to(executor.loader))
    if unknown:
        answer("warning", f"the database has migrations that this release does not know: {', '.join(unknown)}")
    for line in lines_of(plan):
        print(line)
    answer("note", f"{len(plan) or 'no'} migration{'s' * (len(plan) != 1)} to apply")
    own_command = get_commands()["migrate"] != "django.core"  # it may have more to do than the plan tells
    write_fact("migrations", "pending" if plan or own_command else "empty")


def unknown_to(loader: Any) -> set[tuple[str, str]]:
    """What is applied and not in the code: of a newer release, when an older one is deployed."""
    replaced = {tuple(key) for migration in loader.disk_migrations.values() for key in migration.replaces}
    return set(loader.applied_migrations or ()) - set(loader.disk_migrations) - replaced


def exists(connection: Any) -> bool:
    """SQLite makes a missing file by being asked, and nothing may be left by a deploy that fails here."""
    path = sqlite_file(connection)
    return not path or os.path.exists(path)


def described(connection: Any) -> str:
    settings = connection.settings_dict
    place = f" at {settings['HOST']}" if settings.get("HOST") else ""
    return f"{connection.alias} ({connection.vendor} {settings['NAME']}{place})"


def lines_of(plan: Any) -> Iterator[str]:
    for migration, _backwards in plan:
        yield f"to apply: {migration.app_label}.{migration.name}"
        for operation in migration.operations:
            yield f"    {operation.describe()}{'' if reversible(operation) else ' [IRREVERSIBLE]'}"


def reversible(operation: Any) -> bool:
    return operation.reversible and all(map(reversible, getattr(operation, "database_operations", ())))


def ask_system_checks() -> None:
    from django.core import checks
    from django.db import DatabaseError, connections

    asked = [alias for alias in real_aliases() if alias == "default" and exists(connections[alias])]
    try:
        found = checks.run_checks(databases=asked)
    except DatabaseError:  # said already
        found = checks.run_checks()
    except (Exception, SystemExit) as error:
        return problem(f"the system checks could not run: {in_words(error)}", error)
    for message in found:
        if message.is_silenced():
            continue
        if message.is_serious():
            problem(str(message).replace("\n\t", "\n"))
        else:
            print(f"{'warning' if message.level >= checks.WARNING else 'note'}: {message}")


def ask_models() -> None:
    """Models of the project (not of libraries) that have no migration yet."""
    from django.apps import apps
    from django.db.migrations.autodetector import MigrationAutodetector
    from django.db.migrations.loader import MigrationLoader
    from django.db.migrations.questioner import MigrationQuestioner
    from django.db.migrations.state import ProjectState

    try:
        loader = MigrationLoader(None, ignore_no_migrations=True)
        states = loader.project_state(), ProjectState.from_apps(apps)
        changes = MigrationAutodetector(*states, MigrationQuestioner(dry_run=True)).changes(graph=loader.graph)
    except Exception as error:
        print(f"could not compare the models with their migrations: {in_words(error)}")
        return
    own = sorted(label for label in changes if is_within(apps.get_app_config(label).path, RELEASE))
    if own:
        answer("warning", f"models without a migration: {', '.join(own)} (python manage.py makemigrations)")


def ask_media() -> None:
    from django.conf import settings

    if settings.MEDIA_ROOT and is_within(settings.MEDIA_ROOT, RELEASES):
        name = in_release(settings.MEDIA_ROOT)
        answer(
            "warning",
            f"MEDIA_ROOT ({name}) lies inside the release: the next deploy would lose the uploads; "
            f"add {name} to shared_dirs",
        )


def ask_static_files() -> None:
    from django.apps import apps
    from django.conf import settings
    from django.contrib.staticfiles.storage import staticfiles_storage
    from django.core.exceptions import ImproperlyConfigured

    if not apps.is_installed("django.contrib.staticfiles"):
        return write_fact("static", "skip django.contrib.staticfiles is not installed")
    try:
        place = staticfiles_storage.path("")
    except NotImplementedError:
        place = ""  # a storage elsewhere
    except ImproperlyConfigured:
        if settings.STATIC_ROOT:
            raise
        return write_fact("static", "skip STATIC_ROOT is not set")
    current = os.path.join(os.environ["DEPLOYER_DEPLOY_PATH"], "current")
    if place and os.path.abspath(place).startswith(current + os.sep):
        return problem(
            f"STATIC_ROOT ({place}) leads through `current`: static files would go into the release that is live now\n"
            "name it by the project's own folder: STATIC_ROOT = BASE_DIR / 'staticfiles'"
        )
    if place and is_within(place, RELEASE):
        return write_fact("static", "collect")
    answer(
        "warning",
        f"{f'STATIC_ROOT ({place})' if place else 'the storage of static files'} lies outside the release: "
        "its files are replaced before the new release is live",
    )
    write_fact("static", "outside")


main()
