"""Links what outlives a release: releases/$RELEASE/PATH becomes a link to shared/PATH.

shared.py link --dir D … --file F …    a missing file is named, never made up; a missing directory is made, from the
                                       release's own content if it has one
shared.py undo                         removes from shared/ what `link` made there and nobody has changed since

What is made in shared/ stands in $RUN/shared before it is made: records of four fields, each ended by a NUL.
"""

from __future__ import annotations

import os
import stat
import sys

from common import fail


def main(arguments: list[str]) -> None:
    verb, *words = arguments
    if verb == "undo":
        return undo()
    pairs = list(zip(words[::2], words[1::2]))
    folders = [path for kind, path in pairs if kind == "--dir"]
    files = [path for kind, path in pairs if kind == "--file"]
    refuse(folders, files)
    for path in folders:
        provide(path)
    link(folders + files)
    return None


def in_shared(path: str) -> str:
    return os.path.join("shared", path)


def in_release(path: str) -> str:
    return os.path.join("releases", os.environ["RELEASE"], path)


def refuse(folders: list[str], files: list[str]) -> None:
    """Everything that stands against the links, before one of them is made."""
    for parent in sorted({os.path.dirname(path) for path in folders + files}):
        refuse_parent(parent)
    for path in folders:
        place = in_shared(path)
        if os.path.lexists(place) and not os.path.isdir(place):
            fail(f"{os.path.abspath(place)} is no folder, or a link to one that does not exist")
    kinds = [(path, kind_of(in_shared(path))) for path in files]
    missing = [path for path, kind in kinds if not kind]
    if missing:
        names = ", ".join(os.path.abspath(in_shared(path)) for path in missing)
        fail(f"missing in shared/: {names}", "\n".join(map(put_there, missing)))
    for path, kind in kinds:
        if stat.S_ISDIR(kind):
            fail(f"{os.path.abspath(in_shared(path))} is a folder; shared_files names it as a file")


def refuse_parent(parent: str) -> None:
    inside = os.path.realpath(in_release("")) + "/"
    folder = os.path.realpath(in_release(parent))
    if not (folder + "/").startswith(inside):
        fail(f"{parent} is a link in the repository that leads out of the release, to {folder}")
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        fail(f"{parent} holds shared entries, but {os.path.relpath(folder, inside)} is a file in the repository")


def kind_of(path: str) -> int:
    """The kind of file, 0 if there is none."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)
    except OSError:
        return 0


def put_there(path: str) -> str:
    from shlex import quote

    place = os.path.abspath(in_shared(path))
    make = "" if os.path.isdir(os.path.dirname(place)) else f"mkdir -p {quote(os.path.dirname(place))} && "
    return f"{make}cp {quote(path)} {quote(place)}"


def provide(path: str) -> None:
    """The directory in shared/: as it is, else from the release, else empty."""
    place, source = in_shared(path), in_release(path)
    if os.path.isdir(place):
        return
    make_folder(os.path.dirname(place))
    if os.path.isdir(source) and not os.path.islink(source):
        seed(source, place)
    else:
        make_folder(place)


def make_folder(folder: str) -> None:
    if not folder or os.path.isdir(folder):
        return
    make_folder(os.path.dirname(folder))
    note([("folder", folder, "", "")])
    os.mkdir(folder)


def seed(source: str, place: str) -> None:
    """Copies a directory whole beside its place, then renames it: it is there with everything, or not at all."""
    import shutil

    copy = os.path.join(os.path.dirname(place), f".{os.environ['RELEASE']}.{os.path.basename(place)}")
    note([("copy", copy, "", "")])
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy, symlinks=True)
    note(record(copy, place))
    os.rename(copy, place)


def record(copy: str, place: str) -> list[tuple[str, str, str, str]]:
    records = [("folder", place, "", "")]
    for folder, names, files in os.walk(copy):
        there = os.path.join(place, os.path.relpath(folder, copy))
        for name in names + files:
            path = os.path.normpath(os.path.join(there, name))
            kind = "folder" if name in names and not os.path.islink(os.path.join(folder, name)) else "file"
            records.append((kind, path, *(state(os.path.join(folder, name)) if kind == "file" else ("", ""))))
    return records


def state(path: str) -> tuple[str, str]:
    """What changes when somebody writes a file or sets a link anew."""
    status = os.lstat(path)
    return str(status.st_size), str(status.st_mtime_ns)


def note(records: list[tuple[str, str, str, str]]) -> None:
    text = "".join(field + "\0" for fields in records for field in fields)
    with open(os.path.join(os.environ["RUN"], "shared"), "ab") as file:
        file.write(os.fsencode(text))
        file.flush()
        os.fsync(file.fileno())


def link(paths: list[str]) -> None:
    names: dict[str, list[str]] = {}
    for path in paths:
        parent, name = os.path.split(path)
        names.setdefault(parent, []).append(name)
    for parent in names:
        folder = in_release(parent)
        os.makedirs(folder, exist_ok=True)
        up = os.path.relpath(os.path.abspath(in_shared(parent)), os.path.realpath(folder))
        for name in names[parent]:
            link_one(os.path.join(folder, name), os.path.join(up, name))


def link_one(place: str, target: str) -> None:
    try:
        os.symlink(target, place)
    except FileExistsError:
        if os.path.islink(place) and os.readlink(place) == target:
            return
        clear(place)
        os.symlink(target, place)


def clear(place: str) -> None:
    if os.path.islink(place) or not os.path.isdir(place):
        os.unlink(place)
    else:
        import shutil

        shutil.rmtree(place)


def undo() -> None:
    try:
        with open(os.path.join(os.environ["RUN"], "shared"), "rb") as file:
            fields = os.fsdecode(file.read()).split("\0")[:-1]
    except FileNotFoundError:
        return
    records = list(zip(fields[::4], fields[1::4], fields[2::4], fields[3::4]))
    from contextlib import suppress  # takes 3 ms

    for kind, path, *known in reversed(records):
        with suppress(OSError):  # gone already, or a folder that somebody wrote to
            remove(kind, path, known)


def remove(kind: str, path: str, known: list[str]) -> None:
    if kind == "folder":
        os.rmdir(path)
    elif kind == "copy":
        import shutil

        shutil.rmtree(path)
    elif list(state(path)) == known:
        os.unlink(path)


if __name__ == "__main__":
    main(sys.argv[1:])
