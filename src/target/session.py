"""One deploy, on its target: holds the lock, runs the steps, undoes them when it must. Python 3.8, standard library.

Started by begin.py; never installed. It outlives its client, so nothing here blocks on the client or dies of it.
Two files make even this process expendable: .deployer/run/ID.plan (what was to be done, with every undo) and
ID.journal (what was done); whoever takes the lock next settles the run from them, with the same code.

Frames, both ways: kind (1 byte), length (4 bytes, big endian), payload; words in a payload are parted by NUL, which no
shell text can hold.
  to the target    H the site's folder, the version of the programs (read by begin.py, which may ask for T, too),
                   K variables that no disk may see (without a name: only a value to hide), P plan (deflated),
                   T this program and those that steps call (deflated), B beat, C cancel
  from the target  the line "deployer session 1" (what comes before it is noise of a login shell), then
                   T the programs are wanted · I run, live release · S entry begins · O output ·
                   E entry ended, exit code, answers · U undo begins · V undo ended · W warning ·
                   X a dead run is being settled · R it is settled · B beat · L locked: holder, its step, seconds ·
                   D outcome (said when the lock is free)
"""

import fcntl
import os
import select
import sys
import time
import zlib

try:
    # the public module costs 6 ms of start-up (enum); json would cost 9, re 10, subprocess 14
    import _signal as signal  # type: ignore[import-not-found]
except ImportError:
    import signal

TYPE_CHECKING = False  # typing costs 8 ms
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Set, Tuple, Union

    from begin import trusted  # which hands it on

    Path = Union[str, bytes]
    Ears = Dict[int, Callable[[bytes], None]]  # file descriptor: what hears its bytes

FORMAT = b"2"  # of plans and journals: a run that another version left is reported, not guessed at
PIPE = 1 << 16  # what a pipe holds
BACKLOG = 1 << 20  # bytes kept for a slow client before the step has to wait
ANSWERS = 1 << 18  # most that a step may say on fd 3
LOG = 8 << 20  # most that a run's log keeps
JOURNAL = 1 << 14  # taken up front: a disk that fills up later must not silence the undo
LONGEST = 1 << 16  # a line without an end is passed on in pieces of this size
OVERLAP = 1 << 12  # of which this much is held back, lest a secret lie across the cut
STEP_TIMED_OUT, STEP_STOPPED = 124, 130
PART = b"\x1c"  # between the parts of a script, which run one after another
WHOLE = b"\x1a"  # before a script that is one part, whatever it holds
PROGRAM, WORD = b"\x1e", "\x1f"  # before each program of a part that needs no shell, and between its words
THE_RELEASE = "\x1d"  # the word that is the release
RESET = (signal.SIGPIPE, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
INHERITED = (
    b"HOME USER LOGNAME PATH LANG LC_ALL TZ TMPDIR XDG_RUNTIME_DIR SSH_AUTH_SOCK http_proxy https_proxy ftp_proxy "
    b"all_proxy no_proxy HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY"
).split()
now = time.monotonic


def attempt(call: "Callable[..., Any]", *words: object) -> "Any":
    """None: it would block. b"": it cannot be done any more."""
    try:
        return call(*words)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def read(path: "Path") -> bytes:
    with open(path, "rb") as file:
        return file.read()


def write(path: "Path", data: bytes, mode: int = 0o600, through: bool = True) -> int:
    """Writes a file, unless said otherwise through to the disk. Returns it open."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)
    while data:
        data = data[os.write(fd, data) :]
    if through:
        os.fsync(fd)
    return fd


def remove_tree(folder: bytes) -> None:
    if os.path.islink(folder):
        attempt(os.unlink, folder)
        return
    for base, folders, files in os.walk(folder, topdown=False):
        for name in files:
            attempt(os.unlink, os.path.join(base, name))
        for name in folders:
            path = os.path.join(base, name)
            attempt(os.unlink if os.path.islink(path) else os.rmdir, path)
    attempt(os.rmdir, folder)


def clock() -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode()


class Client:
    """The other end of stdin and stdout. It may be slow, silent or gone: nothing here blocks or raises."""

    def __init__(self, unread: bytes) -> None:
        self.unsent, self.unread = bytearray(), bytearray(unread)
        self.plan: "Optional[bytes]" = None
        self.tools: "Optional[bytes]" = None
        self.variables: "Dict[bytes, bytes]" = {}
        self.secrets: "List[bytes]" = []
        self.gone, self.cancelled, self.silence, self.beat = b"", b"", 30.0, 5.0
        self.left: "Callable[[bytes], None]" = lambda why: None
        self.heard = self.spoke = now()
        self.wake, wake = os.pipe()
        for fd in (0, 1, self.wake, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes poll() the moment a step ends
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # python itself ignores SIGPIPE
        for number in (signal.SIGTERM, signal.SIGINT):  # a login scope that closes, unlock --force: stop and undo
            signal.signal(number, lambda *_: setattr(self, "cancelled", self.cancelled or b"terminated"))

    def leave(self, why: bytes) -> None:
        if not self.gone:
            self.gone = why
            self.unsent.clear()
            self.left(why)

    def lost(self) -> bytes:
        return self.gone or self.cancelled

    def say(self, kind: bytes, *words: bytes) -> None:
        if not self.gone:
            payload = b"\0".join(words)
            self.unsent += kind + len(payload).to_bytes(4, "big") + payload
            self.spoke = now()

    def hear(self) -> None:
        data = attempt(os.read, 0, PIPE)
        if data == b"":
            return self.leave(b"closed")
        if data is None:
            return None
        self.heard = now()
        self.unread += data
        return self.take()

    def take(self) -> None:
        while len(self.unread) >= 5:
            end = 5 + int.from_bytes(self.unread[1:5], "big")
            if len(self.unread) < end:  # a plan cut short is no plan
                break
            kind, payload = bytes(self.unread[:1]), bytes(self.unread[5:end])
            del self.unread[:end]
            if kind == b"P":
                self.plan = payload
            elif kind == b"T":
                self.tools = payload
            elif kind == b"K":
                words = [word.partition(b"=") for word in payload.split(b"\0") if word]
                self.variables = {name: value for name, _, value in words if name}
                self.secrets = [value for _, _, value in words]
            elif kind == b"C":
                self.cancelled = self.cancelled or b"cancelled"

    def send(self) -> None:
        sent = attempt(os.write, 1, self.unsent[:PIPE])
        if sent == b"":
            self.leave(b"stopped listening")
        elif sent:
            del self.unsent[:sent]

    def turn(self, pipes: "Ears", patience: float = 1.0) -> None:
        """Sleeps until something happens, then moves what can move."""
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        if not self.gone:
            poll.register(0, select.POLLIN)
            poll.register(1, select.POLLOUT if self.unsent else 0)  # 0 still tells of a reader that is gone
        if len(self.unsent) < BACKLOG:  # else the step waits for the client, as in any pipe
            for fd in pipes:
                poll.register(fd, select.POLLIN)
        heard = False
        for fd, event in poll.poll(patience * 1000):
            if fd == self.wake:
                os.read(fd, PIPE)
            elif fd == 0:
                self.hear()
            elif fd == 1:
                self.send() if event == select.POLLOUT else self.leave(b"stopped listening")
            else:
                heard = True
        if heard:
            listen(pipes)
        if now() - self.heard > self.silence:
            self.leave(b"silent")
        if now() - self.spoke > self.beat:
            self.say(b"B")

    def flush(self) -> None:
        while self.unsent and not self.gone:
            self.turn({})


def listen(pipes: "Ears") -> bool:
    """Passes on what the pipes hold. The first is read last and heard first: a secret is known before the output that
    shows it."""
    said = [(fd, attempt(os.read, fd, PIPE)) for fd in reversed(list(pipes))]
    for fd, data in reversed(said):
        if data:
            pipes[fd](data)
        elif data == b"":
            del pipes[fd]
    return any(data for _, data in said)


class Mask:
    """Hides secrets in what is said, logged and answered."""

    def __init__(self, secrets: "Iterable[bytes]") -> None:
        self.secrets: "List[bytes]" = []
        self.overlap = OVERLAP
        for secret in secrets:
            self.add(secret)

    def add(self, secret: bytes) -> None:
        parts = [part for part in (secret, *secret.splitlines()) if len(part) >= 6 and part not in self.secrets]
        self.secrets = sorted(self.secrets + parts, key=len, reverse=True)
        self.overlap = max([OVERLAP, *map(len, self.secrets[:1])])

    def __call__(self, data: bytes) -> bytes:
        for secret in self.secrets:
            if secret in data:
                data = data.replace(secret, b"***")
        return url_masked(data) if b"://" in data else data


def url_masked(data: bytes) -> bytes:
    """The user and the password of every URL hidden: ://user:password@ becomes ://***@, http://token@ http://***@."""
    head, *rest = data.split(b"://")
    out = [head]
    for part in rest:
        end = min(
            (at for at in map(part.find, (b"/", b" ", b"\n", b"\r", b'"', b"'", b"\t", b"<", b"\\")) if at >= 0),
            default=-1,
        )
        place = part[:end] if end >= 0 else part
        user, at, _ = place.rpartition(b"@")
        secret = at and (b":" in user or out[-1][-5:].lower().endswith((b"http", b"https")))
        out.append(b"***@" + part[len(user) + 1 :] if secret else part)
    return b"://".join(out)


class Output:
    """The log of one script: whole lines, masked, to the client and to the run's log."""

    def __init__(self, client: Client, mask: Mask, log: int) -> None:
        self.client, self.mask, self.log, self.held = client, mask, log, b""

    def hear(self, data: bytes) -> None:
        self.held += data
        cut = self.held.rfind(b"\n") + 1
        if cut:
            self.pass_on(self.held[:cut])
            self.held = self.held[cut:]
        elif len(self.held) > LONGEST:
            held = self.mask(self.held)
            cut = max(0, len(held) - self.mask.overlap)
            self.pass_on(held[:cut])
            self.held = held[cut:]

    def end(self) -> None:
        self.pass_on(self.held)
        self.held = b""

    def pass_on(self, data: bytes) -> None:
        data = self.mask(data)
        if data:
            self.client.say(b"O", data)
        if data and os.fstat(self.log).st_size < LOG:
            attempt(os.write, self.log, data)


class Entry:
    """One script of the plan with its undo."""

    WORDS = 8

    def __init__(self, words: "List[bytes]") -> None:
        self.name, self.phase, self.orphan, limit, undo_limit, self.keys, self.run, self.undo = words
        self.limit, self.undo_limit = float(limit), float(undo_limit)

    def killable(self) -> bool:
        return self.orphan == b"kill"

    def endless(self) -> bool:
        """Never killed, at most warned about: a migration."""
        return self.orphan == b"never"


class Run:
    """A plan, and the journal of what was done of it."""

    def __init__(self, plan: bytes, id: bytes = b"") -> None:
        self.plan, self.id = plan, id
        words = iter(zlib.decompress(plan).split(b"\0"))
        if next(words) != FORMAT:
            raise ValueError("the plan of another version of deployer")
        self.place, self.kind = next(words), next(words)
        self.site, self.by, self.command, self.force = (next(words).replace(b"\n", b" ") for _ in range(4))
        self.silence, self.grace, self.patience, self.beat = (float(next(words)) for _ in range(4))
        self.head = next(words)
        self.mask = Mask([next(words) for _ in range(int(next(words)))])
        self.tools = b".deployer/tools/" + next(words)
        rest = list(words)
        self.entries = [Entry(rest[at : at + Entry.WORDS]) for at in range(0, len(rest) - 1, Entry.WORDS)]
        self.started: "List[int]" = []
        self.undone: "List[int]" = []
        self.done: "Dict[int, int]" = {}
        self.failures: "List[bytes]" = []
        self.variables: "Dict[bytes, bytes]" = {}
        self.begun, self.committed, self.at = False, False, 0
        self.release, self.commit, self.live, self.since, self.stopped = b"", b"", b"", b"", b""

    def path(self, kind: bytes = b"") -> bytes:
        return b".deployer/run/" + self.id + kind

    def begin(self) -> None:
        """Puts the plan and the journal on the disk, and says in the history that the release is ours."""
        self.id, self.since = fresh_id(), clock()
        self.release = self.id if self.kind == b"deploy" else b""
        try:
            os.mkdir(self.path(), 0o700)
            os.close(write(self.path(b".plan.new"), self.plan))
            self.journal = write(self.path(b".journal"), b"\n" * JOURNAL)
            self.open_log()
            self.note(b"run", self.since, self.kind, self.by)
            self.note(b"live", self.live or b"-")
            self.note(b"release", self.release or b"-")
            os.replace(self.path(b".plan.new"), self.path(b".plan"))
            self.sign()
            if os.path.isdir(b"releases/" + (self.live or b".none")) and not attempt(read, record_path(self.live)):
                record(self.live, b"good", clock(), b"taken over")
            if self.release:
                record(self.release, b"begun", clock(), self.kind, self.by)
        except OSError:
            attempt(os.unlink, ".deploy.lock")
            attempt(os.unlink, record_path(self.release or b"-"))
            self.sweep()
            raise
        self.begun = True
        find_programs(os.path.join(os.getcwd(), os.fsdecode(self.tools)))

    def sign(self) -> None:
        """Says in .deploy.lock whose run this process is at."""
        text = b"Site: %s\nCommand: %s\nBy: %s\nSince: %s\nRun: %s\nPid: %d %s\n"
        words = (self.site, self.command, self.by, self.since, self.id, os.getpid(), born(os.getpid()))
        os.close(write(self.path(b".lock"), text % words, 0o644, through=False))
        os.replace(self.path(b".lock"), b".deploy.lock")

    def resume(self) -> "Tuple[bool, int, int]":
        """Reads how far a run came whose session died. Returns the script it was in: undo?, index, process."""
        self.journal = os.open(self.path(b".journal"), os.O_RDWR)
        lines = os.pread(self.journal, 1 << 20, 0).rstrip(b"\n").split(b"\n")
        if not lines[0].startswith(b"run "):
            raise ValueError("its journal is hurt")
        self.open_log()
        self.at, self.script_at = sum(len(line) + 1 for line in lines), (False, 0, 0)
        for line in lines:
            try:
                self.recall(*line.split())
            except (IndexError, TypeError, ValueError):
                if line is not lines[-1]:  # which a power cut may have torn
                    raise
        undo, index, pid = self.script_at
        return undo, index, pid or shell_of(self.mark(index))

    def recall(self, verb: bytes, *rest: bytes) -> None:
        """Takes in one line of the journal."""
        if verb == b"run":
            self.since = rest[0]
        elif verb == b"live":
            self.live = b" ".join(rest).strip(b"-")
        elif verb == b"release":
            self.release = rest[0].strip(b"-")
        elif verb == b"start":
            self.script_at = (False, int(rest[0]), 0)
            self.started.append(int(rest[0]))
        elif verb == b"part":  # its process is not known yet
            self.script_at = (*self.script_at[:2], 0)
        elif verb == b"pid":  # a pid may be another's by now
            pid = int(rest[0])
            self.script_at = (*self.script_at[:2], pid if [born(pid)] == list(rest[1:]) else -1)
        elif verb == b"done":
            self.done[int(rest[0])] = int(rest[1])
        elif verb == b"undo":
            self.script_at = (True, int(rest[0]), 0)
        elif verb == b"undone":
            self.undone.append(int(rest[0]))
            if rest[1] != b"0":
                self.failures.append(self.entries[int(rest[0])].name)
        self.committed = self.committed or verb == b"commit"

    def open_log(self) -> None:
        self.log = os.open(self.path(b".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def end(self, *words: bytes, why: "Iterable[bytes]" = ()) -> None:
        """Writes how the run ended and removes what only a running one needs: with the plan goes the duty to undo."""
        if self.kind == b"deploy" and not self.committed:
            attempt(record, self.release, b"failed", clock(), *words)
        self.note(b"end", clock(), *words, *why)
        self.sweep(b".plan")
        attempt(os.unlink, ".deploy.lock")
        remove_tree(self.path())

    def sweep(self, *kinds: bytes) -> None:
        for kind in kinds or (b".plan", b".plan.new", b".journal", b".log", b".lock"):
            attempt(os.unlink, self.path(kind))
        if not kinds:
            remove_tree(self.path())

    def note(self, *words: bytes) -> None:
        line = b" ".join(words) + b"\n"
        attempt(os.pwrite, self.journal, line, self.at)
        self.at += len(line)

    def note_through(self, *words: bytes) -> None:
        """A note that is on the disk before what it announces happens."""
        self.note(*words)
        attempt(os.fdatasync, self.journal)

    def mark(self, index: int) -> bytes:
        """What every process of a script carries. With the place: two sites may have begun in one millisecond."""
        return b"%s:%d:%s" % (self.id, index, os.getcwdb())

    def script(self, client: Client, index: int, undo: bool) -> "Tuple[int, List[bytes]]":
        """Runs one script, part by part, to its end or to the first that fails, or stops it. Returns its exit code and
        its answers."""
        text, begun, code = self.entries[index].undo if undo else self.entries[index].run, now(), 0
        answers: "List[bytes]" = []
        for number, part in enumerate([text[1:]] if text[:1] == WHOLE else text.split(PART)):
            if number:
                self.note(b"part")
            code, said = self.part(client, index, undo, part, begun)
            answers += said
            if code:
                break
        return code, answers

    def part(self, client: Client, index: int, undo: bool, text: bytes, begun: float) -> "Tuple[int, List[bytes]]":
        """A shell, or programs of ours side by side. `begun`: when the script did, whose limit it is."""
        entry, mark = self.entries[index], self.mark(index)
        limit = entry.undo_limit if undo else entry.limit
        stoppable = entry.killable() and not undo and not self.committed
        out, out_w = os.pipe()
        say, say_w = os.pipe()
        begin, theirs, go = spawn, [out_w, out_w, say_w], -1
        if text[:1] == PROGRAM:
            begin, (ready, go) = fork, os.pipe()
            theirs.append(ready)
        else:
            text = b"{\nset -eu\n%s\n%s\n} </dev/null\n" % (self.head, text)  # read whole before any of it runs
        try:
            pid = begin(text, theirs + [out] * (not stoppable), self.surroundings(mark, entry))
        except OSError as error:  # no more processes, no memory: a failed step, to be undone
            for fd in (out, say, *theirs[1:], go):
                attempt(os.close, fd)
            return 126, [b"message=cannot start a process: " + text_of(error)]
        for fd in theirs[1:]:
            os.close(fd)
        for fd in (out, say):
            os.set_blocking(fd, False)
        self.note(b"pid", b"%d" % pid, born(pid))
        if go >= 0:
            attempt(os.write, go, b"!")
            os.close(go)
        self.look_ahead(index + 1)
        output, answers, why, stopped = Output(client, self.mask, self.log), Answers(self), 0, 0.0
        pipes: "Ears" = {say: answers.hear, out: output.hear}
        status: "Optional[int]" = None
        warn_at = max(now(), begun + limit)
        while status is None or (why and kin(mark, pid) and now() < stopped + self.grace + self.patience):
            client.turn(pipes, 0.05 if why else 1.0)
            if status is None:
                done, ended = os.waitpid(pid, os.WNOHANG)
                status = ended if done else None
            if status is None and entry.endless() and now() > warn_at:
                warn_at += 60
                client.say(b"W", entry.name, b"still running after %d s; it is never killed" % (now() - begun))
            if status is None and not why:
                timed_out = not entry.endless() and now() > begun + limit
                why = STEP_TIMED_OUT if timed_out else STEP_STOPPED if stoppable and client.lost() else 0
                if why:
                    stopped = now()
                    signal_all(kin(mark, pid), signal.SIGTERM)
            elif why and now() > stopped + self.grace:
                signal_all(kin(mark, pid), signal.SIGKILL)
        if go >= 0:  # a program that outlives the one that waits for it, which was killed, carries no mark
            signal_all(kin(mark, pid) & {-pid}, signal.SIGKILL)
        for _ in range(32):  # what it wrote before it ended; a child that stays may go on for ever
            if not listen(pipes):
                break
        output.end()
        if out in pipes and not why:
            drain(out)
        os.close(out)
        os.close(say)
        code = why or (os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
        return code, answers.forwarded()

    def look_ahead(self, index: int) -> None:
        """While a step runs, imports what the programs of another do: its children then have it."""
        for entry in self.entries[index : index + 1] if self.begun else ():
            for program in entry.run.split(PROGRAM)[1:]:
                try:
                    __import__(os.fsdecode(program).split(WORD)[0][:-3])
                except (Exception, SystemExit):  # the step will say so itself
                    pass

    def surroundings(self, mark: bytes, entry: Entry) -> "Dict[bytes, bytes]":
        """The environment of a script: made, not inherited: nothing of the caller's shell reaches Git or Django."""
        made = {name: os.environb[name] for name in INHERITED if name in os.environb}
        made.setdefault(b"PATH", b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        if b"LC_ALL" not in made:
            made.setdefault(b"LANG", b"C.UTF-8")
        if b"HOME" not in made:
            made[b"HOME"] = os.fsencode(account(os.getuid(), 5, "/"))
        if entry.keys == b"keys":
            made.update(self.variables)
        run, tools = (os.path.join(os.getcwdb(), path) for path in (self.path(), self.tools))
        made.update({b"RUN": run, b"TOOLS": tools, b"RELEASE": self.release})
        made.update({b"DEPLOYER_RUN": mark, b"PYTHON": os.fsencode(sys.executable or "python3")})
        return made

    def forward(self, client: Client) -> "Tuple[bytes, ...]":
        """Runs the steps. Returns what went wrong as words, nothing if nothing did."""
        for index, entry in enumerate(self.entries):
            if entry.phase == b"after" and not self.committed:
                self.commit_release()
            client.turn({}, 0)  # what came while the last step ended
            if not self.committed and client.lost():
                return b"lost", client.lost(), self.entries[max(0, index - 1)].name
            # an undo too many is harmless, too few is not
            note = self.note_through if entry.undo else self.note
            note(b"start", b"%d" % index, entry.name, clock())
            self.started.append(index)
            attempt(os.write, self.log, b"== %s\n" % entry.name)
            client.say(b"S", b"%d" % index)
            code, answers = self.script(client, index, False)
            self.note(b"done", b"%d" % index, b"%d" % code)
            client.say(b"E", b"%d" % index, b"%d" % code, *answers)
            if code and not self.committed:
                stopped = code == STEP_STOPPED and client.lost()
                return (b"lost", stopped, entry.name) if stopped else (b"failed", b"%d" % code, entry.name)
        if not self.committed:
            self.commit_release()
        return ()

    def proven(self) -> bool:
        """Every step ended well, whether or not that was written down as the commit."""
        return all(self.done.get(index) == 0 for index, entry in enumerate(self.entries) if entry.phase == b"step")

    def commit_release(self) -> None:
        """The release is proven: from here on nothing is undone."""
        self.committed = True
        if self.kind != b"restart" and self.release:
            attempt(record, self.release, b"good", clock(), self.by)
        if self.kind == b"rollback" and self.live and self.live != self.release:
            attempt(record, self.live, b"left", clock(), self.by)
        self.note_through(b"commit")

    def backward(self, client: Client) -> None:
        """Undoes what was started, newest first, whatever fails: at least once, so an undo must bear a second time."""
        for index in reversed(self.started):
            entry = self.entries[index]
            if entry.undo and index not in self.undone:
                self.note(b"undo", b"%d" % index, entry.name, clock())
                attempt(os.write, self.log, b"== undo %s\n" % entry.name)
                client.say(b"U", entry.name)
                code, answers = self.script(client, index, True)
                self.note(b"undone", b"%d" % index, b"%d" % code)
                client.say(b"V", entry.name, b"%d" % code, *answers)
                if code:
                    self.failures.append(entry.name)


class Answers:
    """What a script says on fd 3: records ended by NUL. Some are meant for the session itself."""

    def __init__(self, run: Run) -> None:
        self.run, self.held, self.room = run, b"", ANSWERS
        self.kept: "List[bytes]" = []

    def hear(self, data: bytes) -> None:
        *records, self.held = (self.held + data[: self.room]).split(b"\0")
        self.room -= len(data[: self.room])
        for answer in records:
            key, _, value = answer.partition(b"=")
            if key == b"secret":
                self.run.mask.add(value)
                continue
            self.kept.append(answer)
            if key == b"release" and self.run.kind != b"deploy" and a_name(value):
                self.run.release = value
                self.run.note_through(b"release", value)
            elif key == b"commit" and a_name(value):
                self.run.commit = value
                if self.run.kind == b"deploy":
                    attempt(record, self.run.release, b"commit", value)
            elif key in (b"unserved", b"unproven"):
                self.run.note(key)

    def forwarded(self) -> "List[bytes]":
        return [self.run.mask(answer) for answer in self.kept]


def spawn(text: bytes, files: "List[int]", env: "Dict[bytes, bytes]") -> int:
    """A shell in a session of its own: no terminal to ask on or be stopped by, no signal that was not for it.
    One that must finish holds the ear of its own output, so that it does not die of SIGPIPE if this process does."""
    feed = os.memfd_create("step")
    os.write(feed, text), os.lseek(feed, 0, 0)
    # not fork and exec: posix_spawn takes 1 ms off each step
    dup = [(os.POSIX_SPAWN_DUP2, old, new) for new, old in enumerate([feed, *files[:3]])]
    for ear in files[3:]:
        os.set_inheritable(ear, True)
    pid = os.posix_spawn("/bin/sh", ["sh"], env, file_actions=dup, setsid=True, setsigdef=RESET)
    os.close(feed)
    return pid


def fork(text: bytes, files: "List[int]", env: "Dict[bytes, bytes]") -> int:
    """Programs of ours side by side in a child of this process, like a shell of `spawn`, but without the 10 ms that it
    and the start of a Python take. It does nothing before its number stands in the journal, for no mark tells of it:
    the file behind those of `spawn`'s shell, and before its ear, says so."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()
        for number in RESET[1:]:  # a Python ignores SIGPIPE
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        null = os.open("/dev/null", os.O_RDONLY)
        for new, old in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, 16) for fd in (null, *files)]):
            os.dup2(old, new)
        os.closerange(4 + len(files[3:]), 1024)  # the lock, too
        if os.read(4, 1):
            os.close(4)
            os.environb.clear()
            os.environb.update(env)
            utf8 = {"encoding": "utf-8", "errors": "surrogateescape"}
            attempt(lambda: sys.stdout.reconfigure(**utf8))  # type: ignore[union-attr]
            find_programs(os.environ["TOOLS"])
            first, *more = text[1:].split(PROGRAM)
            code = side_by_side([first, *more]) if more else call(first)
    except BaseException as error:
        for fd in (files[2], 3):
            attempt(os.write, fd, b"message=cannot start a program: %s\0" % repr(error).encode())
    finally:
        os._exit(code)


def side_by_side(programs: "List[bytes]") -> int:
    """Runs them all to their ends. Returns 0 if each has ended well."""
    code, children = 0, []
    for program in programs:
        try:
            child = os.fork()
        except OSError as error:
            os.write(3, b"error=failed\0message=cannot start a process: %s\0" % text_of(error))
            code = 126
            break
        if not child:
            os._exit(call(program))
        children.append(child)
    for child in children:
        code = 1 if os.waitpid(child, 0)[1] else code
    return code


def find_programs(folder: str) -> None:
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True  # cleanup does, and through to the disk


def call(program: bytes) -> int:
    """Runs one of our programs in this process. Returns its exit code."""
    file, *words = os.fsdecode(program).replace(THE_RELEASE, os.environ["RELEASE"]).split(WORD)
    try:
        code = __import__(file[:-3]).main(words)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    return code if isinstance(code, int) else 0 if code is None else 1


def drain(pipe: int) -> None:
    """A daemon that kept the step's output would die of SIGPIPE at its next word: someone goes on listening."""
    os.set_blocking(pipe, True)
    null = (os.POSIX_SPAWN_OPEN, 1, b"/dev/null", os.O_WRONLY, 0)
    files = ((os.POSIX_SPAWN_DUP2, pipe, 0), null, (os.POSIX_SPAWN_DUP2, 1, 2))
    path = {b"PATH": b"/usr/bin:/bin"}
    attempt(lambda: os.posix_spawn("/bin/sh", ["sh", "-c", "cd /; exec cat"], path, file_actions=files, setsid=True))


def kin(mark: bytes, group: int) -> "Set[int]":
    """What still lives of a step, as pids for kill(): its group (negative) and those that left it but carry its mark.
    Looked up in /proc, since killpg(group, 0) is true for ever of a zombie that a container's pid 1 never reaps."""
    found, mark = set(), b"\0DEPLOYER_RUN=" + mark + b"\0"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, _, pgrp = read("/proc/%s/stat" % pid).rpartition(b")")[2].split()[:3]
            if state not in b"ZX" and int(pgrp) == group > 1:
                found.add(-group)
            elif state not in b"ZX" and mark in b"\0" + read("/proc/%s/environ" % pid):
                found.add(int(pid))
        except OSError:
            pass
    try:
        os.kill(-group, 0) if group > 1 else None
    except PermissionError:
        found.add(-group)  # hidepid hides what sudo runs
    except OSError:
        pass
    return found


def shell_of(mark: bytes) -> int:
    """The process of a script whose session died before it could note it, -1 if there is none."""
    for pid in kin(mark, -1):
        if attempt(read, "/proc/%d/cmdline" % pid) == b"sh\0" and attempt(os.getpgid, pid) == pid:
            return pid
    return -1


def output_of(pid: int) -> "Optional[int]":
    """The pipe that a script writes to whose session died: unheard, it would stop when that is full."""
    path = "/proc/%d/fd/1" % pid
    if pid > 0 and (attempt(os.readlink, path) or "").startswith("pipe:"):
        return attempt(os.open, path, os.O_RDONLY | os.O_NONBLOCK) or None
    return None


def signal_all(pids: "Set[int]", number: int) -> None:
    for pid in pids:
        attempt(os.kill, pid, number)


def born(pid: int) -> bytes:
    """When a process started, b"-" if it is gone or cannot be seen."""
    stat = attempt(read, "/proc/%d/stat" % pid)
    words = stat.rpartition(b")")[2].split() if stat else []
    return words[19] if words and words[0] not in b"ZX" else b"-"


def current() -> bytes:
    """The release that is live, b"" if there is none."""
    return os.path.basename((attempt(os.readlink, b"current") or b"").rstrip(b"/"))


def record_path(release: bytes) -> bytes:
    return b".deployer/history/" + release


def record(release: bytes, *words: bytes) -> None:
    """Adds a line to the history of a release."""
    fd = os.open(record_path(release), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(fd, b" ".join(word for word in words if word) + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)


def a_name(value: bytes) -> bool:
    """Whether this can be one word of a journal and the name of a file."""
    return [value] == value.split() and b"/" not in value and not value.startswith((b".", b"-"))


def fresh_id() -> bytes:
    """The clock's UTC time, or a millisecond after the newest name there is: unique and increasing on any clock."""
    newest = 0
    for folder in (b".deployer/history", b".deployer/run", b"releases"):
        latest = (id_time(name[:19]) for name in sorted(attempt(os.listdir, folder) or [], reverse=True))
        newest = max(newest, next(filter(None, latest), 0))
    return id_at(max(int(time.time() * 1000), newest + 1))


def id_at(moment: int) -> bytes:
    return time.strftime("%Y%m%d_%H%M%S", time.gmtime(moment // 1000)).encode() + b"_%03d" % (moment % 1000)


def id_time(name: bytes) -> int:
    """Milliseconds since 1970, 0 if this is no release id."""
    parts = name.split(b"_")
    if list(map(len, parts)) != [8, 6, 3] or not b"".join(parts).isdigit() or not b"1970" <= name < b"9999":
        return 0
    year, month, day, hour, minute, second = (
        int(name[a:b]) for a, b in ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15))
    )
    before = year - (month < 3)  # days from the civil date, Howard Hinnant's algorithm: calendar costs 10 ms to import
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + of_year - 719468
    moment = ((days * 24 + hour) * 60 + minute) * 60000 + second * 1000 + int(parts[2])
    return moment if id_at(moment) == name else 0


def unsettled() -> "List[bytes]":
    """The runs whose sessions died, oldest first."""
    names: "List[bytes]" = attempt(os.listdir, b".deployer/run") or []
    return sorted(name[: -len(b".plan")] for name in names if name.endswith(b".plan"))


def settle(client: Client, by: Run) -> bool:
    """Ends what sessions that died (SIGKILL, out of memory, power) left undone. False: a last script still runs."""
    for id in unsettled():
        path = b".deployer/run/" + id
        try:
            run = Run(read(path + b".plan"), id)
            undo, index, pid = run.resume()
            entry = run.entries[index]
        except (
            Exception
        ) as error:  # of another version, or hurt: never guessed at, and no reason to refuse every deploy
            why = b"the run %s left a plan that cannot be read (%s): look at %s.*"
            client.say(b"W", b"lock", why % (id, text_of(error), path))
            os.replace(path + b".plan", path + b".unread")
            continue
        for secret in client.secrets:
            run.mask.add(secret)
        if not trusted(run.tools):  # gone, or somebody else may have written them
            if not equipped(client, by.tools):
                return False
            run.tools = by.tools
        attempt(run.sign)
        run.note(b"settle", clock(), by.kind, by.by)
        client.say(b"X", id, run.kind, run.by, entry.name)
        if run.started and not ended(client, run, by.force == b"force", undo, index, pid):
            return False
        if not run.committed and run.proven():
            run.commit_release()
        if not run.committed:
            run.backward(client)
        run.end(b"settled", *run.failures)
        client.say(b"R", id, b"committed" if run.committed else b"undone", *run.failures)
    return True


def ended(client: Client, run: Run, force: bool, undo: bool, index: int, pid: int) -> bool:
    """Stops the last script of a dead run, or, where it may not be stopped, waits for it and hears it out. What such a
    script leaves running on purpose (a server) carries its mark too: there only its own shell counts. A migration is
    waited for even without its shell, but what a hook left behind in that step not for ever."""
    mark, output, end = run.mark(index), Output(client, run.mask, run.log), now() + run.patience
    entry, ear = run.entries[index], output_of(pid)
    kill = entry.killable() and not undo
    pipes: "Ears" = {} if ear is None else {ear: output.hear}
    while True:
        shell = pid > 0 and born(pid) != b"-"
        rest = shell or ((kill or entry.endless()) and kin(mark, pid))
        if not rest or (now() > end and not kill and not shell):
            break
        if client.lost() or (now() > end and not force):
            return False
        if kill:
            signal_all(kin(mark, pid), signal.SIGKILL)
        client.turn(pipes, 0.2)
    output.end()
    if ear is not None:
        os.close(ear)
    return True


def sweep_up() -> None:
    """Removes what runs left that died before their plan or after their end. Only with the lock, and all settled."""
    names = os.listdir(b".deployer/run")
    for name in names:
        id, dot, kind = name.partition(b".")
        if kind in (b"plan.new", b"lock") and id_time(id):
            attempt(os.unlink, b".deployer/run/" + name)
        elif not dot and id + b".unread" not in names and id_time(id):
            remove_tree(b".deployer/run/" + name)


def equipped(client: Client, tools: bytes) -> bool:
    """Has the programs that steps call, which are kept: they come over once. False: the client is gone."""
    if client.tools is None and not trusted(tools):  # they were a moment ago
        client.say(b"T")
        while client.tools is None:
            if client.lost():
                return False
            client.turn({})
    if client.tools is not None and not trusted(tools):
        if os.path.islink(b".deployer/tools"):
            os.unlink(b".deployer/tools")
        os.makedirs(b".deployer/tools", exist_ok=True)
        for folder in (b".deployer", b".deployer/tools"):
            if os.stat(folder).st_mode & 0o022:  # whoever may write there decides what we run
                os.chmod(folder, 0o755)
                path = os.path.join(os.getcwdb(), folder)
                client.say(
                    b"W", b"lock", path + b" could be written by others, and holds what we run: chmod 755 was done"
                )
        try:
            remove_tree(tools + b".new")
            os.mkdir(tools + b".new")
            words = iter(zlib.decompress(client.tools).split(b"\0"))
            for name, text in zip(words, words):
                os.close(write(tools + b".new/" + name, text, 0o644))
            if os.path.lexists(tools):
                remove_tree(tools + b".old")
                os.rename(tools, tools + b".old")
            os.rename(tools + b".new", tools)
        finally:
            remove_tree(tools + b".new")
            remove_tree(tools + b".old")
    return True


def locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def holder() -> bytes:
    return attempt(read, ".deploy.lock") or b""  # it may just be coming or going


def field(text: bytes, name: bytes) -> bytes:
    return (b"\n" + text).partition(b"\n" + name + b": ")[2].partition(b"\n")[0]


def under_way(text: bytes) -> "Tuple[bytes, bytes]":
    """The step that a holder is in, and since when."""
    journal = attempt(read, b".deployer/run/" + (field(text, b"Run") or b"-") + b".journal") or b""
    steps = [line.split() for line in journal.split(b"\n") if line.startswith((b"start ", b"undo "))]
    if not steps:
        return b"lock", field(text, b"Since")
    return (b"undo " if steps[-1][0] == b"undo" else b"") + steps[-1][2], steps[-1][3]


def take_lock(client: Client, lock: int, run: Run) -> bool:
    """True when it is ours."""
    end = now() + 2.0
    while not locked(lock):
        if not holder() and now() < end:  # between the lock and its name
            client.turn({}, 0.01)
        else:
            return run.force == b"force" and run.kind == b"unlock" and take_by_force(client, lock, run)
    return True


def take_by_force(client: Client, lock: int, run: Run) -> bool:
    """Asks the holder to stop and undo, and waits for it: for a running migration too."""
    asked, said = b"", b""
    while not locked(lock):
        text = holder()
        pid, _, start = field(text, b"Pid").partition(b" ")
        step, since = under_way(text)
        if pid.isdigit() and pid != asked and born(int(pid)) == start:
            attempt(os.kill, int(pid), signal.SIGTERM)
            run.stopped, asked = text, pid
        if text and step != said:
            client.say(b"W", b"unlock", b"waiting for it to stop: %s, since %s" % (step, since))
            said = step
        client.turn({}, 0.2)
        if client.lost():
            return False
    return True


class Refused(Exception):
    """Nothing was begun: why, and the line that mends it."""

    pass


def enter(run: Run) -> None:
    """Goes to the site's folder, making it where the parent lets us and the command may."""
    if run.kind == b"deploy":
        os.makedirs(run.place, 0o755, exist_ok=True)
    os.chdir(run.place)
    if os.path.isdir(".deployer") and os.stat(".deployer").st_uid != os.geteuid():
        owner = account(os.stat(".deployer").st_uid, 0, "").encode() or b"another user"
        raise Refused(b"%s is deployed by %s" % (run.place, owner), b"run it as %s: a site has one owner" % owner)
    for folder in (
        b".deployer",
        b".deployer/run",
        b".deployer/history",
        b".deployer/environments",
        b"releases",
        b"shared",
    ):
        os.makedirs(folder, 0o755, exist_ok=True)


def converse(client: Client, run: Run) -> "Tuple[bytes, ...]":
    """Does what was asked for. Returns the last frame, which is said when the lock is free."""
    if run.kind == b"unlock" and not os.path.isdir(os.path.join(run.place, b".deployer")):
        return b"D", b"nothing"
    enter(run)
    lock = os.open(".deployer/lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not take_lock(client, lock, run):
            text = holder()
            return (b"L", text, *under_way(text))
        return hold(client, run)
    finally:
        os.close(lock)


def hold(client: Client, run: Run) -> "Tuple[bytes, ...]":
    """With the lock: settles what dead runs left, then runs the plan."""
    stale, dead = holder() or run.stopped, unsettled()
    settled = settle(client, run)
    client.turn({}, 0)
    if client.lost():
        return b"D", b"undone", b"lost", client.lost(), b"lock", b"", current()
    if not settled:
        text = holder()
        return (b"L", text, *under_way(text))
    attempt(os.unlink, ".deploy.lock")
    sweep_up()
    if run.kind == b"unlock":
        return b"D", b"done" if stale or dead else b"nothing", b"", b"", b"", b"", current(), stale
    if not equipped(client, run.tools):
        return b"D", b"undone", b"lost", client.lost(), b"lock", b"", current()
    run.live, run.variables = current(), client.variables
    for value in client.secrets:
        run.mask.add(value)
    run.begin()
    client.left = lambda why: run.note(b"gone", why)
    client.say(b"I", run.id, run.live, b"" if dead else stale)
    why = run.forward(client)
    if why:
        run.backward(client)
    outcome = b"done" if not why else b"stuck" if run.failures else b"undone"
    run.end(outcome, *why[2:], why=why[1:2])
    reason = (*why, b"", b"", b"")[:3]
    return (b"D", outcome, *reason, run.release, current(), run.commit, *run.failures)


def refusal(error: Exception, run: "Optional[Run]") -> "Tuple[bytes, ...]":
    """Why nothing was begun, and the line that mends it."""
    if isinstance(error, Refused):
        return error.args
    if run and isinstance(error, FileNotFoundError) and run.kind != b"deploy":
        return b"nothing is deployed at " + run.place, b""
    if run and isinstance(error, PermissionError):
        import grp

        user, group = account(os.getuid(), 0, str(os.getuid())), str(os.getgid())
        try:
            group = grp.getgrgid(os.getgid()).gr_name
        except KeyError:
            pass
        cure = "sudo install -d -o %s -g %s %s" % (user, group, quoted(os.fsdecode(run.place)))
        return text_of(error), os.fsencode(cure)
    if run and isinstance(error, OSError) and error.errno in (28, 30, 122):  # no space, read-only, quota
        place = quoted(os.fsdecode(run.place))
        cure = "see whether its filesystem has room and is mounted rw: df -h %s; df -i %s; findmnt -T %s"
        where = b"" if error.filename else run.place + b": "
        return where + text_of(error), os.fsencode(cure % (place, place, place))
    return text_of(error), b""


def text_of(error: Exception) -> bytes:
    if not isinstance(error, OSError):
        return repr(error).encode("utf-8", "replace")
    path, words = error.filename, (error.strerror or str(error)).encode("utf-8", "replace")
    return (os.fsencode(path) + b": " if isinstance(path, (str, bytes)) else b"") + words


def account(user: int, field: int, default: str) -> str:
    """A field of /etc/passwd, where the user is known: a container's need not be."""
    import pwd

    try:
        return str(pwd.getpwuid(user)[field])
    except KeyError:
        return default


def quoted(path: str) -> str:
    return (
        path
        if path.replace("/", "").replace("-", "").replace("_", "").replace(".", "").isalnum()
        else ("'" + path.replace("'", "'\\''") + "'")
    )


def main(unread: bytes) -> int:
    os.closerange(3, 1024)  # a lock of the caller's shell must not live on in a server that a step starts
    client = Client(unread)
    client.take()
    while client.plan is None:
        if client.gone:
            return 4  # the plan never came whole: nothing has run
        client.turn({})
    os.umask(0o022)
    run = None
    try:
        run = Run(client.plan)
        client.silence, client.beat = run.silence, run.beat
        last = converse(client, run)
    except Exception as error:
        if run and run.begun:  # a mistake of ours: the plan is on the disk, and the next session settles it
            client.flush()
            raise
        last = (b"D", b"refused", *refusal(error, run))
    client.say(*last)
    client.flush()
    return 0
