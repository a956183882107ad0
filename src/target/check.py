"""Tests what a deploy needs of its target, apart from the repository and the services, and changes nothing.

check.py --backup-path P --python python3 [--shared-file F …] [--shared-dir D …] [--needs-ssh] [--target TEXT]

Every problem is a `problem=` record: what is wrong and where, a newline, and the line that mends it. All of them are
said, then the exit code is 1.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import Tuple

from common import answer

FREE_BYTES = 100 << 20
FREE_INODES = 1000
PLACEHOLDERS = {".gitkeep", ".gitignore", ".keep"}
INTERPRETER = """
import sys
if sys.version_info < (3, 8): sys.exit(10)
sys.path = [path for path in sys.path if path]
from importlib.util import find_spec
sys.exit(0 if find_spec("venv") and (find_spec("pip") or find_spec("ensurepip")) else 11)
"""

Problem = Tuple[str, str]


def main() -> int:
    options = parsed(sys.argv[1:])
    files, folders = options.get("--shared-file", []), options.get("--shared-dir", [])
    backups, target = options["--backup-path"][0], options.get("--target", [""])[0]
    tools = ["git", "tar", "gzip"] + ["ssh"] * ("--needs-ssh" in options)
    found = [
        *tool_problems(tools),
        *interpreter_problems(options["--python"][0]),
        *folder_problems(backups),
        *filesystem_problems([".", "releases", "shared", ".deployer", backups]),
        *current_problems(),
        *shared_problems(files, folders, target),
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


def tool_problems(names: list[str]) -> list[Problem]:
    folders = os.environ.get("PATH", os.defpath).split(":")
    return [
        (f"{name} is not installed", install({"ssh": "openssh-client"}.get(name, name)))
        for name in names
        if not any(os.access(os.path.join(folder, name), os.X_OK) for folder in folders)
    ]


def install(*packages: str) -> str:
    return ("" if os.geteuid() == 0 else "sudo ") + f"apt-get install {' '.join(packages)}"


def interpreter_problems(python: str) -> list[Problem]:
    name = os.path.basename(python)
    package = name if name.startswith("python3") else "python3"
    try:
        quiet = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
        pid = os.posix_spawnp(python, [python, "-Es", "-c", INTERPRETER], os.environ, file_actions=quiet)
        status = os.waitpid(pid, 0)[1]
    except FileNotFoundError:
        return [(f"the Python interpreter {python} is not installed", install(package, f"{package}-venv"))]
    except OSError as error:
        return [(f"the Python interpreter {python} cannot be run", f"{error.strerror}: mend it, or change `python`")]
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
    if code == 10:
        return [(f"{python} is older than Python 3.8", "set `python` to a newer interpreter of the target")]
    if code == 11:
        return [(f"{python} has no venv, or no pip to put into one", install(f"{package}-venv"))]
    return [(f"{python} is no working Python interpreter", f"see what it says: {python} -c ''")] if code else []


def folder_problems(backups: str) -> list[Problem]:
    here = os.getcwd()
    found = []
    for place in (here, *(os.path.join(here, name) for name in ("releases", "shared", ".deployer")), backups):
        problem = folder_problem(place)
        if problem and problem not in found:
            found.append(problem)
    return found


def folder_problem(place: str) -> Problem | None:
    from shlex import quote

    path = nearest(place)
    if not os.path.exists(path):
        return f"{path} is a link to {os.readlink(path)}, which does not exist", f"rm {quote(path)}"
    if not os.path.isdir(path):
        return f"{path} is no folder", f"move it away: mv {quote(path)} {quote(path + '.old')}"
    owner, us = os.stat(path).st_uid, os.geteuid()
    if os.path.basename(path) in (".deployer", "releases") and path == place and owner != us:
        hand_over = f"deploy as {user(owner)}, or hand the site over: sudo chown -R {user(us)} {quote(os.getcwd())}"
        return f"{path} belongs to {user(owner)}, and this deploy runs as {user(us)}", hand_over
    if os.access(path, os.W_OK | os.X_OK) or read_only(path):
        return None
    if path == place:
        return (
            f"{path} belongs to {user(owner)} and is not writable by {user(us)}",
            f"sudo chown {user(us)} {quote(path)}",
        )
    cure = f"sudo install -d -o {user(us)} -g {os.getegid()} {quote(place)}"
    return f"{place} does not exist, and {path} is not writable by {user(us)}", cure


def nearest(path: str) -> str:
    """The path itself, or the nearest of its parents that exists."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def read_only(path: str) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def filesystem_problems(places: list[str]) -> list[Problem]:
    seen = set()
    found = []
    for place in places:
        path = os.path.realpath(nearest(os.path.abspath(place)))
        if not os.path.exists(path):
            continue
        point = mount_point(path)
        if point not in seen:
            seen.add(point)
            found += room_problems(path, point)
    return found


def mount_point(path: str) -> str:
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path


def room_problems(path: str, point: str) -> list[Problem]:
    room, where = os.statvfs(path), f"the filesystem {point} (of {path})"
    if room.f_flag & os.ST_RDONLY:
        return [(f"{where} is mounted read-only", f"see why (dmesg), then: mount -o remount,rw {point}")]
    found = []
    free = room.f_bavail * room.f_frsize
    if free < FREE_BYTES:
        found.append(
            (f"{where} has {free >> 20} MB free; a deploy needs {FREE_BYTES >> 20}", f"make room: df -h {point}")
        )
    if room.f_files > 0 and room.f_favail < FREE_INODES:
        files = f"{where} has room for {room.f_favail} more files; a deploy needs {FREE_INODES}"
        found.append((files, f"remove files: df -i {point}"))
    return found


def current_problems() -> list[Problem]:
    from shlex import quote

    here = os.getcwd()
    path = os.path.join(here, "current")
    into = f"cd {quote(here)} && mkdir -p releases && "
    if not os.path.lexists(path):
        return []
    if not os.path.islink(path):
        if os.path.isdir(path):
            cure = f"{into}mv current releases/before && ln -s releases/before current"
            return [(f"{path} is a folder, where a deploy needs a link to a release", cure)]
        return [(f"{path} is no link to a release", f"mv {quote(path)} {quote(path + '.old')}")]
    link = os.readlink(path)
    if not os.path.isdir(path):
        return [(f"{path} leads to {link}, which is no folder: nothing is live", f"rm {quote(path)}")]
    if os.path.realpath(os.path.dirname(os.path.join(here, link))) != os.path.realpath("releases"):
        cure = f"{into}cp -a {quote(os.path.realpath(path))} releases/before && ln -sfn releases/before current"
        return [(f"{path} leads to {link}, which is not in {here}/releases", cure)]
    return []


def shared_problems(files: list[str], folders: list[str], target: str) -> list[Problem]:
    from shlex import quote

    found = []
    for path in files + folders:
        place, is_file = os.path.join(os.getcwd(), "shared", path), path in files
        live = unshared(path, is_file)
        if os.path.islink(place) and not os.path.exists(place):
            found.append((f"{place} is a link to {os.readlink(place)}, which does not exist", f"ls -l {quote(place)}"))
        elif os.path.isdir(place) if is_file else os.path.isfile(place):
            is_what, wanted = ("folder", "file") if is_file else ("file", "folder")
            what = f"{place} is a {is_what}; shared_{wanted.replace('folder', 'dir')}s names it as a {wanted}"
            found.append((what, f"move it away: mv {quote(place)} {quote(place + '.old')}"))
        elif live and not (has_data(place) if os.path.isdir(place) else os.path.exists(place)):
            what = f"{live} holds data that {place} lacks: the next release would not see it"
            found.append((what, move(live, place)))
        elif is_file and not os.path.exists(place):
            found.append((f"the shared file {place} is missing", put_there(path, place, target)))
    return found


def unshared(path: str, is_file: bool) -> str:
    """Where the live release keeps real data, and no link, at a shared path."""
    release = os.path.realpath("current")
    place = os.path.join(release, path)
    if not os.path.isdir(release) or os.path.realpath(os.path.dirname(place)) != os.path.dirname(place):
        return ""
    try:
        mode = os.lstat(place).st_mode
    except OSError:
        return ""
    real = stat.S_ISREG(mode) if is_file else stat.S_ISDIR(mode) and has_data(place)
    return place if real else ""


def has_data(folder: str) -> bool:
    try:
        return bool(set(os.listdir(folder)) - PLACEHOLDERS)
    except PermissionError:
        return True


def move(live: str, place: str) -> str:
    """The line that moves data of the live release into shared/ and leaves a link to it in the release."""
    from shlex import quote

    link = os.path.relpath(place, os.path.dirname(live))
    clear = f"rmdir {quote(place)} && " if os.path.isdir(place) else f"mkdir -p {quote(os.path.dirname(place))} && "
    return f"{clear}mv {quote(live)} {quote(place)} && ln -s {quote(link)} {quote(live)}"


def put_there(path: str, place: str, target: str) -> str:
    """The line that brings a file from the user's machine to a target: `local`, `ssh user@host:port`, `docker NAME`."""
    from shlex import quote

    folder = os.path.dirname(place)
    make = "" if os.path.isdir(folder) else f"mkdir -p {quote(folder)}"
    kind, _, rest = target.partition(" ")
    if kind == "ssh":
        host, _, port = rest.rpartition(":") if rest.rpartition(":")[2].isdigit() else (rest, "", "22")
        ssh = f"ssh -p {port} {quote(host)} {quote(make)} && " if make else ""
        return f"{ssh}scp -P {port} {quote(path)} {quote(host + ':' + place)}"
    if kind == "docker":
        name, _, host = rest.partition(" on ")
        docker = f"docker -H {quote('ssh://' + host)}" if host else "docker"
        exec_ = f"{docker} exec {quote(name)} {make} && " if make else ""
        return f"{exec_}{docker} cp {quote(path)} {quote(name + ':' + place)}"
    return (make and make + " && ") + f"cp {quote(path)} {quote(place)}"


if __name__ == "__main__":
    sys.exit(main())
