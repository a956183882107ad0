"""The processes of this machine, as /proc tells of them.

Everything here may be asked about a process that is gone, or that belongs to somebody else: the answer is then empty,
never an error. Paths are texts as the kernel gives them; bytes that are no UTF-8 stay whole (surrogateescape).
"""

from __future__ import annotations

import os
import pwd

from named_tuple import NamedTuple

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import Iterator

LISTENING_TCP = "0A"
LISTENING_UNIX = "00010000"


class Process(NamedTuple):
    """One process, told apart from a later one of the same number by when it started (clock ticks since boot)."""

    pid: int
    parent: int
    start: int


def table() -> dict[int, Process]:
    """Every process that has not ended (a zombie has), by its number."""
    found = (process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {each.pid: each for each in found if each}


def process(pid: int) -> Process | None:
    """The process of that number; None when it has ended."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    if not fields or fields[0] in ("Z", "X"):
        return None
    return Process(pid, int(fields[1]), int(fields[19]))


def session(pid: int) -> int:
    """The number of its session; 0 when it has ended."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return int(fields[3]) if fields else 0


def alive(one: Process) -> bool:
    """Whether this very process still runs, and not another that was given its number."""
    now = process(one.pid)
    return now is not None and now.start == one.start


def children(pid: int) -> list[Process]:
    """The processes that it has started, or has taken over as their new parent."""
    return [one for one in table().values() if one.parent == pid]


def arguments(pid: int) -> tuple[str, ...]:
    """Its command line; readable for the processes of every user."""
    words = _read(pid, "cmdline").rstrip("\0")
    return tuple(words.split("\0")) if words else ()


def environment(pid: int) -> dict[str, str]:
    """The environment it was started with."""
    pairs = (entry.partition("=") for entry in _read(pid, "environ").split("\0"))
    return {name: value for name, equals, value in pairs if equals and name.strip()}


def folder(pid: int) -> str:
    """Its working directory, links resolved; ends with ` (deleted)` when that was removed."""
    return _link(pid, "cwd")


def hidden(pid: int) -> bool:
    """Whether it lives, and its user keeps us from seeing where it is and what it runs."""
    return bool(arguments(pid)) and not folder(pid)


def executable(pid: int) -> str:
    """The file it executes, links resolved; a package upgrade that replaced the file is no other file."""
    path = _link(pid, "exe")
    return path[: -len(" (deleted)")] if path.endswith(" (deleted)") else path


def mapped(pid: int) -> list[str]:
    """The files that it has mapped: its libraries."""
    fields = (line.split(None, 5) for line in _read(pid, "maps").splitlines())
    return sorted({each[5] for each in fields if len(each) == 6 and each[5].startswith("/")})


def name(pid: int) -> str:
    """The short name of its program."""
    return _read(pid, "comm").strip()


def unit(pid: int) -> str:
    """The innermost control group it is in: `shop.service`, `session-3.scope`."""
    return _read(pid, "cgroup").strip().rpartition("/")[2]


def control_group(pid: int) -> str:
    """The path of its control group in systemd's tree: `/system.slice/shop.service`."""
    lines = [line.split(":", 2) for line in _read(pid, "cgroup").splitlines()]
    named = {fields[1]: fields[2] for fields in lines if len(fields) == 3}
    return named.get("name=systemd") or named.get("", "")


def cpu_time(pid: int) -> float:
    """Seconds of processor time that it has used."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def cpu_wanted(pid: int) -> float:
    """The same, and the seconds that its main thread had to wait for one: a busy machine makes no process idle."""
    fields = _read(pid, "schedstat").split()
    return cpu_time(pid) + (int(fields[1]) / 1e9 if len(fields) > 1 else 0.0)


def user(pid: int) -> str:
    """The name of the user it runs as, else the number."""
    uid = next((line.split()[2] for line in _read(pid, "status").splitlines() if line.startswith("Uid:")), "")
    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (KeyError, ValueError):
        return uid


def contained(pid: int) -> bool:
    """Whether it lives in a container below us: its paths are not ours, however they look."""
    ids = next((line for line in _read(pid, "status").splitlines() if line.startswith("NSpid:")), "")
    return len(ids.split()) > 2


def signallable(pid: int) -> bool:
    """Whether we may send it a signal."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def open_files(pid: int) -> Iterator[tuple[int, str]]:
    """What its file descriptors are, lowest first: `(4, "socket:[5113]")`."""
    try:
        numbers = sorted(int(each) for each in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return
    for number in numbers:
        yield number, _link(pid, f"fd/{number}")


def listens_at(pid: int) -> list[str]:
    """Where it accepts connections, in the order of its descriptors: `127.0.0.1:8000`, `[::1]:8000`, `unix:/run/s`."""
    known = dict(_listening(pid))
    return [known[target] for _, target in open_files(pid) if target in known]


def listeners_of(path: str) -> list[int]:
    """The processes that accept connections at a Unix socket."""
    wanted = "unix:" + os.path.realpath(path)
    sockets = {inode for inode, address in _listening(os.getpid()) if "unix:" + os.path.realpath(address[5:]) == wanted}
    return [pid for pid in table() if any(target in sockets for _, target in open_files(pid))]


def _listening(pid: int) -> Iterator[tuple[str, str]]:
    for family in ("net/tcp", "net/tcp6"):
        for line in _read(pid, family).splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING_TCP:
                yield f"socket:[{fields[9]}]", _address(fields[1])
    for line in _read(pid, "net/unix").splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) == 8 and fields[3] == LISTENING_UNIX:
            yield f"socket:[{fields[6]}]", "unix:" + fields[7]


def _address(encoded: str) -> str:
    """`0100007F:1F90` is `127.0.0.1:8000`; what listens everywhere is asked at the loopback address."""
    host, _, port = encoded.partition(":")
    words = [bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8)]
    raw = b"".join(words)
    if len(raw) == 4:
        return f"{'.'.join(map(str, raw)) if any(raw) else '127.0.0.1'}:{int(port, 16)}"
    groups = [f"{raw[at] << 8 | raw[at + 1]:x}" for at in range(0, 16, 2)]
    return f"[{':'.join(groups) if any(raw) else '::1'}]:{int(port, 16)}"


def _read(pid: int, what: str) -> str:
    """Through no file object, which would take longer than the kernel: there may be thousands of processes."""
    parts: list[bytes] = []
    try:
        fd = os.open(f"/proc/{pid}/{what}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        while not parts or parts[-1]:
            parts.append(os.read(fd, 1 << 16))
    except OSError:
        return ""
    finally:
        os.close(fd)
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _link(pid: int, what: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/{what}")
    except OSError:
        return ""
