"""Keeps the programs that steps call ready for the next run: compiled, and only those of this version."""

from __future__ import annotations

import os
import sys

from deletion import delete
from records import names_in

PROGRAMS = ".deployer/tools"
GOING = ".old"  # half of a version must never look whole


def keep_ready(version: str) -> None:
    """Compiles what has not been compiled for this Python, through to the disk; removes the programs of other versions.
    Only with the lock, and all runs settled. What a full disk keeps from being written costs the next run some time."""
    versions = names_in(PROGRAMS)
    if version not in versions:
        return
    for name in versions:
        path = os.path.join(PROGRAMS, name)
        if is_version(name) and name != version:
            os.rename(path, path + GOING)
            delete(path + GOING)
        elif name.endswith((GOING, ".new")) and is_version(name[:-4]):
            delete(path)
    folder = os.path.join(PROGRAMS, version)
    cache = os.path.join(folder, "__pycache__")
    try:
        os.makedirs(cache, exist_ok=True)
        there = os.listdir(cache)
        for name in os.listdir(folder):
            compiled = f"{name[:-3]}.{sys.implementation.cache_tag}.pyc"
            if name.endswith(".py") and compiled not in there:
                compile_program(os.path.join(folder, name), os.path.join(cache, compiled))
    except OSError:
        pass


def is_version(name: str) -> bool:
    return len(name) == 32 and not name.strip("0123456789abcdef")


def compile_program(path: str, compiled: str) -> None:
    """Python overlooks it when a full disk cuts what it writes, and would then fail for ever: so it is written here."""
    from importlib.util import MAGIC_NUMBER, source_hash
    from marshal import dumps

    with open(path, "rb") as source:
        text = source.read()
    unchecked = (1).to_bytes(4, "little")  # PEP 552: the source is not looked at again
    data = MAGIC_NUMBER + unchecked + source_hash(text) + dumps(compile(text, path, "exec", dont_inherit=True))
    try:
        with open(compiled + ".new", "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(compiled + ".new", compiled)
    except OSError:
        os.unlink(compiled + ".new")
        raise
