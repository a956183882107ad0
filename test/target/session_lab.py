"""Sessions in this process's children, without a start of Python for each: for what has to be done a thousand times."""

import os
import sys
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "target"))
import session

session.trusted = lambda _tools: True  # as begin.py hands it on


def plan(place, *scripts, kind="deploy", secrets=()):
    """A plan as the client sends it; each script is the text of a step, or that and its undo."""
    words = ["2", place, kind, "www.example.com", "ana@laptop", "deployer deploy", "", "20", "5", "60", "5", ""]
    words += [str(len(secrets)), *secrets, ""]
    for script in scripts:
        run, undo = (script, "") if isinstance(script, str) else script
        words += ["code", "step", "kill", "60", "60", "", run, undo]
    return zlib.compress(("\0".join(words) + "\0").encode())


class Session:
    """The program in a child of this process, with the frames that it says."""

    def __init__(self):
        theirs_in, self.input = os.pipe()
        self.output, theirs_out = os.pipe()
        self.unread = b""
        self.pid = os.fork()
        if not self.pid:
            code = 70
            try:
                os.dup2(theirs_in, 0)
                os.dup2(theirs_out, 1)
                os.closerange(3, 256)
                code = session.main(b"")
            finally:
                os._exit(code)
        os.close(theirs_in)
        os.close(theirs_out)

    def send(self, kind, payload):
        data = kind + len(payload).to_bytes(4, "big") + payload
        while data:
            data = data[os.write(self.input, data) :]

    def next(self, *kinds):
        """The next frame of one of these kinds, as kind and words; None when nothing comes any more."""
        while True:
            frame = self.frame()
            if frame is None or frame[0] in kinds:
                return frame

    def frame(self):
        while True:
            end = 5 + int.from_bytes(self.unread[1:5], "big")
            if len(self.unread) >= max(5, end):
                kind, words = self.unread[:1], self.unread[5:end].split(b"\0")
                self.unread = self.unread[end:]
                return kind, words
            data = os.read(self.output, 65536)
            if not data:
                return None
            self.unread += data

    def end(self):
        """Waits for its end. Returns its exit code."""
        os.close(self.input)
        os.close(self.output)
        _, status = os.waitpid(self.pid, 0)
        return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
