"""Boots the project of a release as its server would, and asks it for one page: no server, no socket, no port.

    VENV/bin/python boot.py --host SITE [--path /PATH] [--wsgi MODULE[:NAME]]

It is run in the project's folder by the Python of the release, in the environment of the site. It imports nothing of
ours, and first of all puts the project where the folder of this file was in sys.path: a project may have a module of
any name. Good is an answer below 500 that is not 400.
"""

import os
import sys

PROJECT = os.getcwd()
sys.path[:] = [PROJECT, *(each for each in sys.path if each != os.path.dirname(os.path.abspath(__file__)))]

import time  # noqa: E402
import traceback  # noqa: E402
from typing import Any, Callable, Dict, Iterator, List, NoReturn, Optional, Tuple  # noqa: E402

DEEPEST = 2
TRACEBACK_LINES = 15


def main(words: List[str]) -> NoReturn:
    given = dict(zip((name[2:] for name in words[::2]), words[1::2]))
    sys.argv = sys.argv[:1]
    host, path = given["host"], given.get("path") or "/"
    module, attribute = module_and_attribute(given.get("wsgi") or find_module())
    application = load(module, attribute)
    began = time.monotonic()
    try:
        status, error = ask(application, host, path)
    except BaseException as raised:
        status, error = 500, raised
    print(f"boot test of {module}: GET {path} as {host}: {status} in {time.monotonic() - began:.2f} s", flush=True)
    if status >= 500 or status == 400:
        show(error)
        fail(f"the new release answers {path} with {status}{in_words(error)}", hint_for(status, host))
    leave(0)


def module_and_attribute(text: str) -> Tuple[str, str]:
    module, _, attribute = text.partition(":")
    return module, attribute or "application"


def find_module() -> str:
    """The only wsgi.py; else what the settings name; else the only asgi.py."""
    found = list(files_named("wsgi.py"))
    named = found[0] if len(found) == 1 else wsgi_application()
    if named:
        return named
    found = found or list(files_named("asgi.py"))
    if len(found) == 1:
        return found[0]
    choice = " or ".join(found)
    fail("no WSGI or ASGI module was found" if not found else f"{choice}: which one is served?", "set `wsgi: MODULE`")


def files_named(name: str) -> Iterator[str]:
    """The modules of that file name in the project, no deeper than two folders, and in no virtualenv."""
    for folder, folders, files in os.walk(PROJECT):
        inner = os.path.relpath(folder, PROJECT).split(os.sep) if folder != PROJECT else []
        folders[:] = sorted(
            each
            for each in folders
            if len(inner) < DEEPEST
            and each.isidentifier()
            and not os.path.exists(os.path.join(folder, each, "pyvenv.cfg"))
        )
        if name in files:
            yield ".".join([*inner, name[: -len(".py")]])


def wsgi_application() -> str:
    """WSGI_APPLICATION of the settings that the environment or manage.py names, as MODULE:NAME."""
    settings = os.environ.get("DJANGO_SETTINGS_MODULE") or settings_of_manage()
    if not settings:
        return ""
    os.environ["DJANGO_SETTINGS_MODULE"] = settings
    module, _, attribute = str(getattr(load_module(settings), "WSGI_APPLICATION", None) or "").rpartition(".")
    return f"{module}:{attribute}" if module else ""


def settings_of_manage() -> str:
    import re

    if not os.path.isfile("manage.py"):
        return ""
    with open("manage.py", encoding="utf-8", errors="replace") as file:
        found = re.search(r"""["']DJANGO_SETTINGS_MODULE["']\s*[,\]=)]+\s*["']([\w.]+)["']""", file.read())
    return found.group(1) if found else ""


def load_module(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except BaseException as error:
        show(error)
        fail(f"the new release does not boot: importing {name} failed{in_words(error)}")


def load(module: str, attribute: str) -> Any:
    """The application; `NAME()` is called to make it, as Gunicorn does."""
    name, called, _ = attribute.partition("(")
    found = getattr(load_module(module), name, None)
    if found is None:
        fail(f"{module} has no {name}", "set `wsgi: MODULE:NAME`")
    return found() if called else found


def ask(application: Any, host: str, path: str) -> Tuple[int, Optional[BaseException]]:
    if "django" in sys.modules:
        from django.apps import apps

        if apps.ready:
            return ask_django(host, path)
    if is_asgi(application):
        answer("note", "the boot test has imported the application; only Django's ASGI can be asked without a server")
        return 200, None
    return ask_wsgi(application, host, path)


def ask_django(host: str, path: str) -> Tuple[int, Optional[BaseException]]:
    from django.test import Client

    client = Client(raise_request_exception=False)
    response = client.get(path, SERVER_NAME=host, HTTP_X_FORWARDED_PROTO="https")
    raised = getattr(response, "exc_info", None)
    return response.status_code, raised[1] if raised else None


def is_asgi(application: Any) -> bool:
    import inspect

    return inspect.iscoroutinefunction(application) or inspect.iscoroutinefunction(type(application).__call__)


def ask_wsgi(application: Callable[..., Any], host: str, path: str) -> Tuple[int, Optional[BaseException]]:
    from wsgiref.util import setup_testing_defaults

    started: List[str] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], Any]:
        started.append(status)
        return lambda data: None

    name, _, query = path.partition("?")
    environ: Dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": name,
        "QUERY_STRING": query,
        "SERVER_NAME": host,
        "HTTP_HOST": host,
        "HTTP_X_FORWARDED_PROTO": "https",
        "wsgi.url_scheme": "https",
    }
    setup_testing_defaults(environ)
    body = application(environ, start_response)
    for _ in body:
        pass
    getattr(body, "close", lambda: None)()
    return int(started[-1].split()[0]), None


def hint_for(status: int, host: str) -> str:
    if status != 400 or "django" not in sys.modules:
        return ""
    from django.conf import settings
    from django.http.request import validate_host

    if validate_host(host, settings.ALLOWED_HOSTS):
        return ""
    return f"ALLOWED_HOSTS of the settings lacks the site's name: add {host!r} to {settings.ALLOWED_HOSTS!r}"


def show(error: Optional[BaseException]) -> None:
    if error is not None:
        lines = "".join(traceback.format_exception(type(error), error, error.__traceback__)).splitlines()
        print("\n".join(lines[-TRACEBACK_LINES:]), flush=True)


def in_words(error: Optional[BaseException]) -> str:
    """`: NameError: name 'x' is not defined (views.py line 3)`: the last place in the project, if there is one."""
    if error is None:
        return ""
    said = traceback.format_exception_only(type(error), error)[-1].strip()
    places = [each for each in traceback.extract_tb(error.__traceback__) if each.filename.startswith(PROJECT + os.sep)]
    ours = [each for each in places if f"{os.sep}site-packages{os.sep}" not in each.filename]
    where = f" ({os.path.relpath(ours[-1].filename, PROJECT)} line {ours[-1].lineno})" if ours else ""
    return f": {said}{where}"


def fail(message: str, hint: str = "") -> NoReturn:
    for key, value in (("error", "failed"), ("message", message), ("hint", hint)):
        if value:
            answer(key, value)
    leave(1)


def answer(key: str, value: str) -> None:
    try:
        os.write(3, f"{key}={value}\0".encode("utf-8", "surrogateescape"))
    except OSError:
        pass


def leave(code: int) -> NoReturn:
    """Ends at once, whatever threads the project has started."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
