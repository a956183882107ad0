"""Tests the folders that a deploy writes to: may we, and is there room?"""

from __future__ import annotations

import os

from common import quote

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import Tuple

    Problem = Tuple[str, str]  # what is wrong and where, and the line that mends it

FREE_BYTES = 100 << 20
FREE_INODES = 1000


def folder_problems(backups: str) -> list[Problem]:
    here = os.getcwd()
    found = []
    for place in (here, *(os.path.join(here, name) for name in ("releases", "shared", ".deployer")), backups):
        problem = folder_problem(place)
        if problem and problem not in found:
            found.append(problem)
    return found


def folder_problem(place: str) -> Problem | None:
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
