"""The first words of a session: greets, and goes on with session.py as the target keeps it, else asks for it.

Sent at connect time, so it is short. The client's first frame, H, says the site's folder and the version of the
programs; they lie in .deployer/tools/VERSION, where a session has put them. Only what is our own and nobody else could
have written is run from there. What is read here of the frames behind H is handed on to the session.
"""

import os
import sys
import zlib

try:
    import _signal as signal  # type: ignore[import-not-found]  # the public module costs 4 ms (enum)
except ImportError:
    import signal

TYPE_CHECKING = False  # typing costs 8 ms
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, Dict, Optional, Tuple

PATIENCE = 30  # seconds for a client to say what it wants


def received(length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = os.read(0, length - len(data))
        if not more:
            sys.exit(4)  # the plan never came whole: nothing has run
        data += more
    return data


def frame() -> bytes:
    head = received(5)
    return head + received(int.from_bytes(head[1:], "big"))


def ours(path: bytes) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        about = os.fstat(fd)
        if about.st_uid != os.geteuid() or about.st_mode & 0o022:
            raise OSError("somebody else may have written it")
        return os.read(fd, about.st_size)
    finally:
        os.close(fd)


def kept(folder: bytes) -> "Optional[CodeType]":
    """The session that lies there, compiled if that was done for this Python; None if there is none."""
    import marshal
    from _frozen_importlib_external import MAGIC_NUMBER

    try:
        data = ours(folder + b"/__pycache__/session.%s.pyc" % sys.implementation.cache_tag.encode())
        if data[:4] == MAGIC_NUMBER:
            code: CodeType = marshal.loads(data[16:])
            return code
    except (OSError, ValueError, EOFError, TypeError):
        pass
    try:
        return compile(ours(folder + b"/session.py"), "session.py", "exec")
    except (OSError, ValueError, SyntaxError):
        return None


def asked_for() -> "Tuple[bytes, bytes]":
    """The session's text, and all frames up to the one that brought it."""
    os.write(1, b"T\0\0\0\0")
    held = b""
    while True:
        came = frame()
        held += came
        if came[:1] == b"T":
            words = zlib.decompress(came[5:]).split(b"\0")
            return words[words.index(b"session.py") + 1], held


def main() -> None:
    if sys.version_info < (3, 8):
        sys.stderr.write("python3 is older than 3.8: it is %d.%d.%d\n" % sys.version_info[:3])
        sys.exit(4)
    signal.alarm(PATIENCE)
    os.write(1, b"\ndeployer session 1\n")  # whatever a login shell printed before this is noise
    place, version = frame()[5:].split(b"\0")
    code, held = kept(os.path.join(place, b".deployer/tools", version)), b""
    if not code:
        text, held = asked_for()
        code = compile(text, "session.py", "exec")
    signal.alarm(0)
    session: Dict[str, Any] = {"__name__": "session"}
    exec(code, session)
    sys.exit(session["main"](held))


main()
