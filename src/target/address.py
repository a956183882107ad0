"""Where the site is asked: found by the proof, and noted for the health check that follows it."""

from __future__ import annotations

import os

from arguments import Arguments


def note(addresses: list[str], path: str) -> None:
    """Writes the first one, unless it stands there: a disk that is full then does no harm."""
    if not path:
        return
    address = "".join(addresses[:1])
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            if file.read() == address:
                return
    with open(path + ".new", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(address)
    os.replace(path + ".new", path)


def decides(asked: Arguments) -> None:
    """Notes that only an answer of the site proves what it runs: in an undo, too, there is no proof without it."""
    if asked.address_file:
        with open(os.path.join(os.path.dirname(asked.address_file), "answer-decides"), "w", encoding="ascii"):
            pass


def is_asked(asked: Arguments, addresses: list[str]) -> bool:
    """Whether a health check follows that knows whom to ask."""
    return asked.health_check == "elsewhere" or (asked.health_check == "path" and bool(addresses))
