"""The folders of the site whose deploy_path we are run in: which release, which environment a path leads to.

The paths here have their links resolved but `current` and the virtualenv of a release. A path of somebody else may name
deploy_path in another way, through a link: only what it leads to counts.
"""

from __future__ import annotations

import os

DEPLOY = os.getcwd()
CURRENT = DEPLOY + "/current"
RELEASES = DEPLOY + "/releases"


def live() -> str:
    """The release that `current` leads to."""
    return os.path.realpath(CURRENT)


def release_folder(release: str) -> str:
    """The folder of the release of that id."""
    return f"{RELEASES}/{release}"


def release_of(path: str) -> str:
    """The folder of the release that a resolved path lies in; empty when in none."""
    head = RELEASES + "/"
    return head + path[len(head) :].partition("/")[0] if path.startswith(head) else ""


def is_inside(path: str) -> bool:
    """Whether an absolute path lies in deploy_path, also where only a link leads there."""
    return path.startswith("/") and any(each.startswith(DEPLOY + "/") for each in (path, os.path.realpath(path)))


def is_deploy_path(path: str) -> bool:
    """Whether it is deploy_path, under whatever name."""
    return os.path.exists(path) and os.path.samefile(path, DEPLOY)


def follows(path: str) -> bool:
    """Whether a path leads through this site's `current`, so that it means another place after a switch."""
    return below_current(path) is not None


def below_current(path: str) -> str | None:
    """The rest of a path that leads through this site's `current`; None when it does not."""
    rest = ""
    while len(path) > 1:
        path, last = os.path.split(path.rstrip("/"))
        if last == "current" and is_deploy_path(path):
            return os.path.normpath(rest)
        rest = os.path.join(last, rest)
    return None


def environment_of(release: str, venv: str) -> str:
    """The resolved path of a release's virtualenv; empty when it has none."""
    path = os.path.join(release, venv)
    return os.path.realpath(path) if release and os.path.isdir(path) else ""


def environment_named(python: str) -> str:
    """The resolved path of the environment whose interpreter that is; empty for no interpreter."""
    return os.path.dirname(os.path.realpath(os.path.dirname(python))) if python else ""


def gunicorn_version(environment: str) -> str:
    """The Gunicorn that is installed in an environment; empty when there is none."""
    libraries = environment + "/lib"
    for python in os.listdir(libraries) if os.path.isdir(libraries) else []:
        packages = f"{libraries}/{python}/site-packages"
        for each in os.listdir(packages) if os.path.isdir(packages) else []:
            if each.startswith("gunicorn-") and each.endswith((".dist-info", ".egg-info")):
                return each[len("gunicorn-") : -len(".dist-info")]
    return ""
