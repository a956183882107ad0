"""The environments of a site as they lie on the disk: which there are, and which may go.

An environment is .deployer/environments/<name>: 12 digits of its key, and -2, -3 … for those built anew beside it. The
file `complete` in it is written last.
"""

from __future__ import annotations

import os

from common import answer

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import Iterator

ENVIRONMENTS = ".deployer/environments"


def all_names() -> list[str]:
    try:
        return sorted(filter(is_name, os.listdir(ENVIRONMENTS)))
    except FileNotFoundError:
        return []


def is_name(name: str) -> bool:
    key, dash, count = name.partition("-")
    return (
        len(key) == 12 and not key.strip("0123456789abcdef") and (count.isascii() and count.isdigit() if dash else True)
    )


def complete(name: str) -> str:
    return os.path.join(ENVIRONMENTS, name, "complete")


def remove(name: str) -> None:
    """Half of one never looks whole."""
    from contextlib import suppress
    from shutil import rmtree

    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(complete(name))
    with suppress(FileNotFoundError):
        rmtree(os.path.join(ENVIRONMENTS, name))


def discard() -> None:
    for name in all_names():
        if not os.path.exists(complete(name)):
            remove(name)


def sweep() -> None:
    unused = set(all_names()) - set(linked())
    if not unused:
        return
    for name in sorted(unused - set(lived_in())):
        remove(name)
        answer("note", f"removed environment {name}")


def linked() -> Iterator[str]:
    """The environments that a release links to, under whatever name."""
    for release in os.scandir("releases") if os.path.isdir("releases") else ():
        for entry in os.scandir(release.path) if release.is_dir(follow_symlinks=False) else ():
            if entry.is_symlink():
                yield os.path.basename(os.readlink(entry.path))


def lived_in() -> Iterator[str]:
    """The environments that a living process names on its command line, or has its folder, program or libraries in."""
    import processes

    place = os.path.abspath(ENVIRONMENTS) + "/"
    for pid in processes.table():
        words = processes.arguments(pid)
        paths = [processes.folder(pid), processes.executable(pid), *processes.mapped(pid)]
        resolved = [os.path.dirname(os.path.realpath(os.path.dirname(word))) for word in words if "/bin/" in word]
        for text in [*words, *paths, *resolved]:
            for tail in text.split(place)[1:]:
                yield tail.partition("/")[0]
