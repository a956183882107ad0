"""The first words of a session: greets, and goes on with session.py as the target keeps it, else asks for it.

Sent at connect time, so it is short. The client's first frame, H, says the site's folder and the version of the
programs; they lie in .deployer/tools/VERSION, where a session has put them. Nothing is run from there that somebody
else may have written: then they come anew. What is read here of the frames behind H is handed on to the session.
"""

import os
import stat
import sys
import time
import zlib

try:
    import _signal as signal  # type: ignore[import-not-found]  # the public module costs 4 ms (enum)
except ImportError:
    import signal

TYPE_CHECKING = False  # typing costs 8 ms
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, Dict, Optional, Tuple

PATIENCE = 30  # seconds without a word of the client
BEAT = 5  # seconds after which something is said to a client that is still sending
spoke = time.monotonic()


def say(kind: bytes, *words: bytes) -> None:
    global spoke
    payload = b"\0".join(words)
    os.write(1, kind + len(payload).to_bytes(4, "big") + payload)
    spoke = time.monotonic()


def received(length: int) -> bytes:
    data = b""
    while len(data) < length:
        signal.alarm(PATIENCE)
        more = os.read(0, length - len(data))
        if not more:
            sys.exit(4)  # the plan never came whole: nothing has run
        data += more
        if time.monotonic() - spoke > BEAT:
            say(b"B")
    return data


def frame() -> bytes:
    head = received(5)
    return head + received(int.from_bytes(head[1:], "big"))


def trusted(tools: bytes) -> bool:
    """Whether the programs are there, and nobody else may have written them: neither a file nor a folder on the way."""
    cache = tools + b"/__pycache__"
    try:
        files = [os.path.join(tools, name) for name in os.listdir(tools)]
        if cache in files:
            files += [os.path.join(cache, name) for name in os.listdir(cache)]
        above = os.path.dirname(tools)
        return ours(os.path.realpath(os.path.dirname(above))) and all(map(ours, [above, tools, *files]))
    except OSError:
        return False


def ours(path: bytes) -> bool:
    about = os.lstat(path)
    kind = stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)
    return kind and about.st_uid == os.geteuid() and not about.st_mode & 0o022


def kept(tools: bytes) -> "Optional[CodeType]":
    """The session that lies there, compiled if that was done for this Python; None if there is none."""
    import marshal
    from _frozen_importlib_external import MAGIC_NUMBER

    if not trusted(tools):
        return None
    try:
        data = read(tools + b"/__pycache__/session.%s.pyc" % sys.implementation.cache_tag.encode())
        if data[:4] == MAGIC_NUMBER:
            code: "CodeType" = marshal.loads(data[16:])
            return code
    except (OSError, ValueError, EOFError, TypeError):
        pass
    try:
        return compile(read(tools + b"/session.py"), "session.py", "exec")
    except (OSError, ValueError, SyntaxError):
        return None


def read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def asked_for(place: bytes) -> "Tuple[bytes, bytes]":
    """The session's text, and all frames up to the one that brought it."""
    say(b"T")
    held = b""
    while True:
        came = frame()
        held += came
        if came[:1] == b"C":
            live = os.path.join(place, b"current")
            live = os.path.basename(os.readlink(live).rstrip(b"/")) if os.path.islink(live) else b""
            say(b"D", b"undone", b"lost", b"cancelled", b"lock", b"", live)
            sys.exit(0)
        if came[:1] == b"T":
            words = zlib.decompress(came[5:]).split(b"\0")
            return words[words.index(b"session.py") + 1], held


def main() -> None:
    if sys.version_info < (3, 8):
        sys.stderr.write("python3 is older than 3.8: it is %d.%d.%d\n" % sys.version_info[:3])
        sys.exit(4)
    os.write(1, b"\ndeployer session 1\n")  # whatever a login shell printed before this is noise
    place, version = frame()[5:].split(b"\0")
    code, held = kept(os.path.join(place, b".deployer/tools", version)), b""
    if not code:
        text, held = asked_for(place)
        code = compile(text, "session.py", "exec")
    signal.alarm(0)
    session: "Dict[str, Any]" = {"__name__": "session", "trusted": trusted}
    exec(code, session)
    sys.exit(session["main"](held))


main()
