"""Asks the served site for a page, until it answers as it should.

    python3 -ES health.py --path /PATH --host NAME [--status 200-399] [--timeout S] [--retries N] [--interval S]
                          (--origin http://HOST:PORT | --socket PATH | --address-file FILE)

A request is a GET with `Host: NAME` and `X-Forwarded-Proto: https`, as a proxy in front would send it; no proxy is used
and no redirect is followed. It is asked once, and up to N times more, S seconds apart. An address file holds what
gunicorn.py found, `127.0.0.1:8000` or `unix:/PATH`; without one there is nobody to ask: a warning, and no failure.

With https, the certificate must be one for the host of the origin (for NAME, if that is an IP address). On the
loopback interface it is not verified: nobody is in between, and what listens there often has none for its own name.
"""

import os
import socket
import sys
import time
from typing import Dict, List, NamedTuple, Tuple

from common import answer, fail

LARGEST_HEAD = 64 * 1024
SHOWN = 200


class Place(NamedTuple):
    """Whom to ask. `host` is empty for a Unix socket."""

    host: str
    port: int
    path: str
    tls: bool

    def __str__(self) -> str:
        return f"unix:{self.path}" if not self.host else f"http{'s' if self.tls else ''}://{self.host}:{self.port}"


def main(words: List[str]) -> None:
    given = {name[2:]: value for name, value in zip(words[::2], words[1::2])}
    if "address-file" in given:
        given["address-file"] = os.path.join(os.environ.get("RUN", ""), given["address-file"])
    address_file = given.get("address-file", "")
    if address_file and not (os.path.exists(address_file) and os.path.getsize(address_file)):
        answer("warning", "the health check was not asked: no address of a running Gunicorn is known")
        return
    place = place_of(given)
    wanted = given.get("status", "200-399")
    first, last = (int(each) for each in (wanted.split("-") if "-" in wanted else (wanted, wanted)))
    for left in range(int(given.get("retries", "10")), -1, -1):
        began = time.monotonic()
        status, said = ask(place, given["path"], given["host"], float(given.get("timeout", "5")))
        print(f"{place}{given['path']}: {status or said} in {time.monotonic() - began:.2f} s", flush=True)
        if first <= status <= last:
            return
        if left:
            time.sleep(float(given.get("interval", "1")))
    got = f"{status}, wanted {wanted}" + (f": {said}" if said else "") if status else said
    asked = f"{given['path']} at {place}, as {given['host']}"
    fail(f"the health check failed: {asked}: {got}", hint_for(status, given["host"]))


def hint_for(status: int, host: str) -> str:
    return f"is {host} in ALLOWED_HOSTS? `health_check: {{host: …}}` asks for another name" if status == 400 else ""


def place_of(given: Dict[str, str]) -> Place:
    """From the origin, the socket, or what the address file says."""
    origin = given.get("origin", "")
    if "socket" in given:
        return Place("", 0, given["socket"], False)
    if not origin:
        with open(given["address-file"], encoding="utf-8", errors="surrogateescape") as file:
            origin = file.read().rstrip("\n")
        if origin.startswith("unix:"):
            return Place("", 0, origin[5:], False)
    scheme, separated, rest = origin.rpartition("://")
    tls = scheme == "https"
    host, port = split_port(rest.rstrip("/") if separated else origin)
    return Place(host, port or (443 if tls else 80), "", tls)


def split_port(text: str) -> Tuple[str, int]:
    """`[::1]:8000`, `name:8000`, `name`; port 0 when there is none."""
    head, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text, 0
    return head, int(port)


def ask(place: Place, path: str, host: str, seconds: float) -> Tuple[int, str]:
    """The status and the first line of the body; status 0 with the reason when there was no whole answer in time."""
    deadline = time.monotonic() + seconds
    try:
        connection = connect(place, host, seconds)
        with connection:
            connection.sendall(request(path, host))
            return read_answer(connection, deadline)
    except socket.timeout:
        return 0, f"no answer within {seconds:g} s"
    except (OSError, ValueError) as error:
        return 0, str(error) or type(error).__name__


def connect(place: Place, name: str, seconds: float) -> socket.socket:
    if not place.host:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(seconds)
        connection.connect(place.path)
        return connection
    bare = place.host.strip("[]")
    connection = socket.create_connection((bare, place.port), seconds)
    return secured(connection, bare, name) if place.tls else connection


def secured(connection: socket.socket, host: str, name: str) -> socket.socket:
    import ssl

    context = ssl.create_default_context()
    local = connection.getpeername()[0]
    if local.startswith("127.") or local == "::1":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    numeric = ":" in host or host.replace(".", "").isdigit()
    return context.wrap_socket(connection, server_hostname=name if numeric or host == "localhost" else host)


def request(path: str, host: str) -> bytes:
    lines = (
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "X-Forwarded-Proto: https",
        "User-Agent: deployer",
        "Accept: */*",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def read_answer(connection: socket.socket, deadline: float) -> Tuple[int, str]:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < LARGEST_HEAD:
        more = receive(connection, deadline)
        if not more:
            raise ValueError("the connection was closed before an answer" if not data else "the answer was cut off")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    status_line = head.partition(b"\r\n")[0].decode("utf-8", "replace")
    words = status_line.split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        raise ValueError(f"no HTTP answer: {status_line[:SHOWN]}")
    while b"\n" not in body.strip() and len(body) < SHOWN and b"chunked" not in head.lower():
        more = receive_rest(connection, deadline)
        if not more:
            break
        body += more
    return int(words[1]), first_line(head, body)


def receive(connection: socket.socket, deadline: float) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise socket.timeout
    connection.settimeout(left)
    return connection.recv(65536)


def receive_rest(connection: socket.socket, deadline: float) -> bytes:
    """More of a body that is only shown: what is not there is not missed."""
    try:
        return receive(connection, deadline)
    except OSError:
        return b""


def first_line(head: bytes, body: bytes) -> str:
    if b"transfer-encoding: chunked" in head.lower():
        body = body.partition(b"\r\n")[2]
    lines = body.decode("utf-8", "replace").strip().splitlines()
    return lines[0].strip()[:SHOWN] if lines else ""


if __name__ == "__main__":
    main(sys.argv[1:])
