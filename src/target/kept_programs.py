"""Keeps the programs that steps call ready for the next run: compiled, and only those of this version."""

from __future__ import annotations

import os
import sys

from deletion import delete
from records import names_in

PROGRAMS = ".deployer/tools"


def keep_ready(version: str) -> None:
    """Compiles what has not been compiled for this Python, through to the disk; removes the programs of other versions.
    Only with the lock, and all runs settled. What a full disk keeps from being written costs the next run some time."""
    versions = names_in(PROGRAMS)
    if version not in versions:
        return
    for name in versions:
        if name != version and not name[:32].strip("0123456789abcdef"):
            delete(os.path.join(PROGRAMS, name))
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


def compile_program(path: str, compiled: str) -> None:
    from py_compile import PycInvalidationMode, compile

    compile(path, compiled + ".new", doraise=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    file = os.open(compiled + ".new", os.O_RDONLY)
    os.fsync(file)
    os.close(file)
    os.rename(compiled + ".new", compiled)
