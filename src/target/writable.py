"""Gives the directories that the site writes to their mode, where their links lead.

writable.py --mode 775 [--recursive] [--sudo] --dir D …
writable.py undo                                           removes the directories that it made, where they are empty

Recursion gives `x` to directories only, keeps a file's own, and follows no link. An entry of another owner that has
the bits already is fine; with --sudo the others are changed by `sudo -n chmod`.
"""

from __future__ import annotations

import os
import stat
import sys

from common import fail

FLAGS = ("--recursive", "--sudo")
SPECIAL = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
EXECUTABLE = 0o111


def main(words: list[str]) -> None:
    if words[0] == "undo":
        return undo()
    options: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        options.setdefault(word, []).append("" if word in FLAGS else next(rest))
    mode, recursive = int(options["--mode"][0], 8), "--recursive" in options
    for folder in [resolved(name) for name in options.get("--dir", [])]:
        make(folder)
        denied = give(folder, mode, recursive)
        while denied and "--sudo" in options:
            give_by_sudo(denied)
            before, denied = denied, give(folder, mode, recursive)
            if denied == before:
                break
        if denied:
            refuse(folder, mode, recursive, denied)
    return None


def resolved(name: str) -> str:
    """Where a writable directory really is: in this release, in shared/, or elsewhere in deploy_path."""
    here, release = os.path.realpath("."), os.path.realpath(os.path.join("releases", os.environ["RELEASE"]))
    path = os.path.realpath(os.path.join(release, name))
    ours = [os.path.join(here, folder) + "/" for folder in (".deployer", "releases")]
    if path.startswith(release + "/") or (path.startswith(here + "/") and not (path + "/").startswith(tuple(ours))):
        return path
    return fail(f"{name} leads to {path}, and only what is in {here} is made writable", "take it out of writable_dirs")


def make(folder: str) -> None:
    missing, path = [], folder
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    try:
        for path in reversed(missing):
            note(path)
            os.mkdir(path)
    except FileExistsError:
        fail(f"{folder} is no folder", "take it out of writable_dirs, or out of the repository")
    except PermissionError:
        fail(f"{folder} does not exist and cannot be made", f"sudo install -d -o {os.getuid()} {quoted(folder)}")


def note(folder: str) -> None:
    with open(made(), "ab") as file:
        file.write(os.fsencode(folder) + b"\0")


def made() -> str:
    return os.path.join(os.environ["RUN"], "writable")


def undo() -> None:
    if os.path.exists(made()):
        with open(made(), "rb") as file:
            folders = file.read().split(b"\0")[:-1]
        from contextlib import suppress  # takes 3 ms

        for folder in reversed(folders):
            with suppress(OSError):  # gone already, or somebody wrote to it
                os.rmdir(folder)


def quoted(path: str) -> str:
    from shlex import quote

    return quote(path)


def give(folder: str, mode: int, recursive: bool) -> list[tuple[str, int]]:
    """Sets the modes. Returns what another owner keeps us from, with the mode that each lacks."""
    denied: list[tuple[str, int]] = []
    pending = [(folder, os.lstat(folder))]
    while pending:
        path, status = pending.pop()
        is_folder = stat.S_ISDIR(status.st_mode)
        if not set_mode(path, status, wanted(status, mode)):
            denied.append((path, wanted(status, mode)))
        if recursive and is_folder:
            try:
                with os.scandir(path) as entries:
                    pending += [(entry.path, entry.stat(follow_symlinks=False)) for entry in entries if regular(entry)]
            except PermissionError:
                pass  # another's folder: it has its bits, or stands in `denied`
    return denied


def regular(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)


def wanted(status: os.stat_result, mode: int) -> int:
    kept = status.st_mode & SPECIAL
    if stat.S_ISDIR(status.st_mode):
        return mode | kept
    return mode & ~EXECUTABLE & ~SPECIAL | kept | status.st_mode & EXECUTABLE


def set_mode(path: str, status: os.stat_result, mode: int) -> bool:
    has = stat.S_IMODE(status.st_mode)
    if has == mode or (status.st_uid != os.geteuid() and has & mode == mode):
        return True
    try:
        os.chmod(path, mode)
    except PermissionError:
        return False
    return True


def give_by_sudo(denied: list[tuple[str, int]]) -> None:
    import subprocess

    for mode in sorted({mode for _, mode in denied}):
        paths = [path for path, lacking in denied if lacking == mode]
        for at in range(0, len(paths), 500):
            words = ["sudo", "-n", "chmod", f"{mode:o}", "--", *paths[at : at + 500]]
            try:
                subprocess.run(words, stdin=subprocess.DEVNULL, check=False)
            except FileNotFoundError:
                fail("sudo is not installed on the target", "take writable_use_sudo out, or install sudo")


def refuse(folder: str, mode: int, recursive: bool, denied: list[tuple[str, int]]) -> None:
    path, lacking = denied[0]
    more = f", and {len(denied) - 1} more under {folder}" if len(denied) > 1 else ""
    letters = ",".join(who + "=" + symbols(mode >> shift & 7) for who, shift in (("u", 6), ("g", 3), ("o", 0)))
    cure = f"sudo chmod -R {letters} {quoted(folder)}" if recursive else f"sudo chmod {mode:o} {quoted(folder)}"
    fail(
        f"{path} belongs to user {os.lstat(path).st_uid}, lacks mode {lacking:o} and is not ours to change{more}", cure
    )


def symbols(bits: int) -> str:
    return "".join(letter for letter, bit in (("r", 4), ("w", 2), ("X", 1)) if bits & bit)


if __name__ == "__main__":
    main(sys.argv[1:])
