"""Tests what a deploy needs of its target, apart from the repository and the services, and changes nothing.

check.py --backup-path P --python python3 [--shared-file F …] [--shared-dir D …] [--needs-ssh] [--target TEXT]

Every problem is a `problem=` record: what is wrong and where, a newline, and the line that mends it. All of them are
said, then the exit code is 1.
"""

from __future__ import annotations

import os
import sys

from check_folders import filesystem_problems, folder_problems
from check_shared import shared_problems
from common import answer, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from check_folders import Problem

INTERPRETER = """
import sys
if sys.version_info < (3, 8): sys.exit(10)
sys.path = [path for path in sys.path if path]
find = lambda name: any(finder.find_spec(name, None) for finder in sys.meta_path)  # importlib.util costs 5 ms
if not find("ensurepip"): import site; site.main()  # Debian's pip lies where only site looks, which costs 4 ms
sys.exit(0 if find("venv") and (find("ensurepip") or find("pip")) else 11)
"""


def main(words: list[str]) -> int:
    options = parsed(words)
    files, folders = options.get("--shared-file", []), options.get("--shared-dir", [])
    backups, target = options["--backup-path"][0], options.get("--target", [""])[0]
    tools = ["git", "tar", "gzip"] + ["ssh"] * ("--needs-ssh" in options)
    interpreter = interpreter_problems(options["--python"][0], target)
    found = [
        *tool_problems(tools, target),
        *folder_problems(backups),
        *filesystem_problems([".", "releases", "shared", ".deployer", backups]),
        *current_problems(),
        *shared_problems(files, folders, target),
        *interpreter(),
    ]
    for what, cure in found:
        answer("problem", f"{what}\n{cure}")
    return 1 if found else 0


def parsed(words: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        found.setdefault(word, []).append("" if word == "--needs-ssh" else next(rest))
    return found


def tool_problems(names: list[str], target: str) -> list[Problem]:
    folders = os.environ.get("PATH", os.defpath).split(":")
    return [
        (f"{name} is not installed", install(target, {"ssh": "openssh-client"}.get(name, name)))
        for name in names
        if not any(os.access(os.path.join(folder, name), os.X_OK) for folder in folders)
    ]


def install(target: str, *packages: str) -> str:
    if target.startswith("docker "):
        return f"add to the image of the container: RUN apt-get install -y {' '.join(packages)}"
    return ("" if os.geteuid() == 0 else "sudo ") + f"apt-get install {' '.join(packages)}"


def interpreter_problems(python: str, target: str) -> Callable[[], list[Problem]]:
    """Starts the interpreter. Returns a function that waits for what it says."""
    name = os.path.basename(python)
    package = name if name.startswith("python3") else "python3"
    try:
        quiet = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
        pid = os.posix_spawnp(python, [python, "-ESs", "-c", INTERPRETER], os.environ, file_actions=quiet)
    except FileNotFoundError:
        absent = f"the Python interpreter {python} is not installed"
        return lambda: [(absent, install(target, package, f"{package}-venv"))]
    except OSError as error:
        cure = f"{error.strerror}: mend it, or change `python`"
        return lambda: [(f"the Python interpreter {python} cannot be run", cure)]

    def wait() -> list[Problem]:
        status = os.waitpid(pid, 0)[1]
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        if code == 10:
            return [(f"{python} is older than Python 3.8", "set `python` to a newer interpreter of the target")]
        if code == 11:
            return [(f"{python} has no venv, or no pip to put into one", install(target, f"{package}-venv"))]
        return [(f"{python} is no working Python interpreter", f"see what it says: {python} -c ''")] if code else []

    return wait


def current_problems() -> list[Problem]:
    here = os.getcwd()
    path = os.path.join(here, "current")
    if not os.path.lexists(path):
        return []
    if not os.path.islink(path):
        if os.path.isdir(path):
            cure = f"{into(here)}mv current releases/before && ln -s releases/before current"
            return [(f"{path} is a folder, where a deploy needs a link to a release", cure)]
        return [(f"{path} is no link to a release", f"mv {quote(path)} {quote(path + '.old')}")]
    link = os.readlink(path).rstrip("/")
    if not os.path.isdir(path):
        return [(f"{path} leads to {link}, which is no folder: nothing is live", f"rm {quote(path)}")]
    if os.path.realpath(os.path.dirname(os.path.join(here, link))) != os.path.realpath("releases"):
        cure = f"{into(here)}cp -a {quote(os.path.realpath(path))} releases/before && ln -sfn releases/before current"
        return [(f"{path} leads to {link}, which is not in {here}/releases", cure)]
    return []


def into(folder: str) -> str:
    return f"cd {quote(folder)} && mkdir -p releases && "


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
