"""Deletes what is old."""

from __future__ import annotations

import os

from common import answer


def delete(path: str) -> None:
    """Deletes a file or a folder, following no link. What cannot be deleted is warned about."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            delete_folder(path)
        else:
            os.unlink(path)
    except OSError as error:
        warn_undeleted(path, str(error.strerror))


def delete_folder(path: str) -> None:
    try:
        return remove_tree(path)
    except OSError:
        pass  # the rest is worth the 8 ms that the module shutil costs
    import shutil

    shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):  # a folder of ours without `w` keeps its files
        open_up(path)
        shutil.rmtree(path, ignore_errors=True)
    if os.path.lexists(path):
        shutil.rmtree(path)


def remove_tree(folder: str) -> None:
    """By descriptors: nobody who may write in there can have us follow a link."""
    for _, folders, files, fd in os.fwalk(folder, topdown=False):
        for name in files:
            os.unlink(name, dir_fd=fd)
        for name in folders:
            try:
                os.rmdir(name, dir_fd=fd)
            except NotADirectoryError:  # a link to one
                os.unlink(name, dir_fd=fd)
    os.rmdir(folder)


def open_up(folder: str) -> None:
    try:
        os.chmod(folder, 0o700)
        for entry in list(os.scandir(folder)):
            if entry.is_dir(follow_symlinks=False):
                open_up(entry.path)
    except OSError:
        pass


def warn_undeleted(path: str, why: str) -> None:
    """Says what is still there, and the line that deletes it."""
    from shlex import quote

    where = os.path.abspath(path)
    answer("warning", f"{where} could not be deleted ({why}): sudo rm -r {quote(where)}")
