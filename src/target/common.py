"""What the programs on the target share: how they answer the step that called them.

File descriptor 3 takes records `key=value`, each ended by a NUL, so that a value may hold anything else. Keys that the
session and the client know: skip, error, message, hint, problem, warning, note, secret, release, commit.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import NoReturn


def answer(key: str, value: str) -> None:
    """Says one thing to the caller. Never raises: a caller that does not listen is no failure of ours."""
    record = f"{key}={value}\0".encode("utf-8", "surrogateescape")
    try:
        while record:
            record = record[os.write(3, record) :]
    except OSError:
        pass


def fail(message: str, hint: str = "", code: str = "failed") -> NoReturn:
    """Ends the program as a failed step: what happened, and what to do about it."""
    answer("error", code)
    answer("message", message)
    if hint:
        answer("hint", hint)
    sys.exit(1)


def quote(text: str) -> str:
    """A word of a shell's command line. shlex costs 7 ms, and most programs have nothing to quote."""
    import shlex

    return shlex.quote(text)
