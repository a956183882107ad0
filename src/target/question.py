"""How a program that only tells answers its client. It is sent at connect time, and nothing of it is left.

Frames, both ways, as in session.py: kind (1 byte), length (4 bytes, big endian), payload.
  to the target    Q words, parted by NUL · M one more piece may come
  from the target  the line "deployer answer 1" (what comes before it is noise of a login shell), then A an answer, as
                   JSON · C a piece of a file · F it cannot be told: message, hint · D that was all
"""

from __future__ import annotations

import json
import os
import sys
from typing import Callable

PIECE = 1 << 16
WINDOW = 16  # pieces under way: a client that writes slowly must not have to hold the rest


class Unanswered(Exception):
    """It cannot be told: why, and what to do about it."""

    pass


def answering(tell: Callable[[list[str]], None]) -> None:
    """Asks `tell`, with the words of the question, and says whatever stops it."""
    send(b"\ndeployer answer 1\n")
    try:
        kind, payload = heard()
        if kind != b"Q":
            sys.exit(4)
        tell(payload.decode("utf-8", "surrogateescape").split("\0"))
        frame(b"D")
    except (BrokenPipeError, EOFError):
        sys.exit(4)  # nobody listens any more
    except Unanswered as error:
        frame(b"F", "\0".join(error.args).encode("utf-8", "surrogateescape"))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        frame(b"F", f"{where}{error.strerror or error}".encode("utf-8", "surrogateescape"))


def answer(value: object) -> None:
    """Says one thing: anything that JSON can hold."""
    frame(b"A", json.dumps(value).encode())


def pass_on(fd: int) -> None:
    """Sends what is left of a file, as fast as the client takes it."""
    room = WINDOW
    while True:
        piece = os.read(fd, PIECE)
        if not piece:
            return
        if room == 0:
            heard()
        else:
            room -= 1
        frame(b"C", piece)


def frame(kind: bytes, payload: bytes = b"") -> None:
    send(kind + len(payload).to_bytes(4, "big") + payload)


def send(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def heard() -> tuple[bytes, bytes]:
    """The client's next frame. Raises EOFError when it is gone."""
    head = exactly(5)
    return head[:1], exactly(int.from_bytes(head[1:], "big"))


def exactly(count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            raise EOFError
        data += more
    return data
