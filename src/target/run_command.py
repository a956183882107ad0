"""Runs a command and takes what it says, without the module subprocess: its import takes longer than Python's start."""

from __future__ import annotations

import os
import select
import time

SIGPIPE, SIGKILL = 13, 9  # the module signal costs 3 ms


class Silent(Exception):
    """The command has not ended within its limit; it and its children are ended."""


def run_command(words: list[str], env: dict[str, str], limit: float | None = None) -> tuple[int, str, str]:
    """Returns exit code (128 and more: a signal), stdout and stderr; FileNotFoundError where there is no such command.

    It has no stdin, and is in our process group; with `limit` (seconds, then Silent is raised) in a session of its own.
    """
    (out, out_w), (errors, errors_w) = os.pipe(), os.pipe()
    files = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, out_w, 1),
        (os.POSIX_SPAWN_DUP2, errors_w, 2),
        (os.POSIX_SPAWN_CLOSE, 3),  # the answers are ours to give
    ]
    try:
        pid = os.posix_spawnp(words[0], words, env, file_actions=files, setsid=limit is not None, setsigdef=[SIGPIPE])
    except OSError:
        os.close(out)
        os.close(errors)
        raise
    finally:
        os.close(out_w)
        os.close(errors_w)
    said = {out: b"", errors: b""}
    try:
        hear(said, limit)
    except Silent:
        os.killpg(pid, SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(out)
        os.close(errors)
    status = os.waitpid(pid, 0)[1]
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
    return code, text(said[out]), text(said[errors])


def text(said: bytes) -> str:
    return said.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def hear(said: dict[int, bytes], limit: float | None) -> None:
    """Reads the pipes to their ends."""
    deadline = time.monotonic() + (limit or 0)
    poll, left = select.poll(), set(said)
    for fd in said:
        poll.register(fd, select.POLLIN)
    while left:
        rest = None if limit is None else max(0.0, (deadline - time.monotonic()) * 1000)
        ready = poll.poll(rest)
        if not ready:
            raise Silent
        for fd, _ in ready:
            data = os.read(fd, 1 << 16)
            said[fd] += data
            if not data:
                poll.unregister(fd)
                left.remove(fd)
