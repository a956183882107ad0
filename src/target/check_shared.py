"""Tests what is shared between releases: is it there, and does no release hold data that belongs there?"""

from __future__ import annotations

import os
import stat

from common import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from check_folders import Problem

PLACEHOLDERS = {".gitkeep", ".gitignore", ".keep"}


def shared_problems(files: list[str], folders: list[str], target: str) -> list[Problem]:
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
    link = os.path.relpath(place, os.path.dirname(live))
    clear = f"rmdir {quote(place)} && " if os.path.isdir(place) else f"mkdir -p {quote(os.path.dirname(place))} && "
    return f"{clear}mv {quote(live)} {quote(place)} && ln -s {quote(link)} {quote(live)}"


def put_there(path: str, place: str, target: str) -> str:
    """The line that brings a file from the user's machine to a target: `local`, `ssh user@host:22`, `docker exec …`."""
    folder = os.path.dirname(place)
    make = "" if os.path.isdir(folder) else f"mkdir -p {quote(folder)}"
    kind, _, rest = target.partition(" ")
    if kind == "ssh":
        host, _, port = rest.rpartition(":") if rest.rpartition(":")[2].isdigit() else (rest, "", "")
        ssh = f"ssh {port and f'-p {port} '}{quote(host)} {quote(make)} && " if make else ""
        return f"{ssh}scp {port and f'-P {port} '}{quote(path)} {quote(host + ':' + place)}"
    if kind == "docker":
        inside = (make and make + " && ") + f"cat > {quote(place)}"
        return f"{target} sh -c {quote(inside)} < {quote(path)}"
    return (make and make + " && ") + f"cp {quote(path)} {quote(place)}"
