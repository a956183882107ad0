"""Runs a command on a terminal of its own, and types: typist.py COMMAND WORD... with lines EXPECTED<TAB>ANSWER on
stdin.

Each answer is typed when its expected text appears. All that the terminal showed goes to stdout; the exit code is the
command's.
"""

import os
import pty
import select
import sys


def main() -> int:
    answers = [line.split("\t") for line in sys.stdin.read().splitlines()]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    shown = unread = b""
    while True:
        select.select([terminal], [], [])
        try:
            data = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not data:
            break
        shown += data
        unread += data
        if answers and answers[0][0].encode() in unread:
            os.write(terminal, answers.pop(0)[1].encode().decode("unicode_escape").encode())
            unread = b""
    sys.stdout.buffer.write(shown)
    return os.WEXITSTATUS(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
