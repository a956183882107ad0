"""Tells which backups of a site there are, or passes one on. Only reads.

Words: FOLDER SITE, and for one backup its NAME.
"""

from __future__ import annotations

import os
import re
import time
import zlib

from question import Unanswered, answer, answering, pass_on
from records import is_file, names_in
from retention import backup_id


def main(words: list[str]) -> None:
    folder, site, *wanted = words
    names = sorted(name for name in names_in(folder) if backup_id(name, site) and is_file(folder, name))
    if not wanted:
        for name in names:
            try:
                answer(told(folder, name, site))
            except FileNotFoundError:  # a deploy has just cleaned it up
                pass
    elif wanted[0] not in names:
        raise Unanswered("no such backup", *names)
    else:
        fd = os.open(os.path.join(folder, wanted[0]), os.O_RDONLY | os.O_NOFOLLOW)
        answer({"name": wanted[0], "size": os.fstat(fd).st_size})
        pass_on(fd)


def told(folder: str, name: str, site: str) -> dict[str, object]:
    path = os.path.join(folder, name)
    status = os.stat(path)
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(status.st_mtime))
    return {
        "name": name,
        "made_by": backup_id(name, site),
        "holds": first_name(path),
        "size": status.st_size,
        "time": made,
    }


def first_name(path: str) -> str:
    """The folder that an archive begins with: in one of ours, the release. "" where that is none or cannot be read."""
    try:
        with open(path, "rb") as file:
            head = zlib.decompressobj(31).decompress(file.read(4096), 100)
    except (OSError, zlib.error):
        return ""
    name = head.partition(b"\0")[0].decode("utf-8", "replace")
    return name[:-1] if re.fullmatch(r"[^/]*[^/.][^/]*/", name) else ""


if __name__ == "__main__":
    answering(main)
