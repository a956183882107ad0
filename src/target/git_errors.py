"""What Git's error messages mean, and the cure of each."""

from __future__ import annotations

import re
from shlex import quote

from git import host_of

DAMAGED = (
    "corrupt|bad object|missing (blob|tree|commit)|unable to read|inflate|not a valid object|invalid sha1 pointer"
    "|cannot lock ref|did not send all"
)
NOT_OFFERED = "not our ref|unadvertised object|n't find remote ref"


def diagnosis(url: str, errors: str) -> tuple[str, str]:
    """What went wrong between Git and the repository, and its cure."""
    host = host_of(url)
    for pattern, what, cure in CAUSES:
        if re.search(pattern, errors):
            reach, name = ssh_words(url)
            words = {"url": url, "host": host, "reach": reach, "name": quote(name), "quoted": quote(url)}
            path = re.search("repository at '(.*)'", errors)
            words["path"] = quote(path.group(1) if path else url)
            return what.format(**words), cure.format(**words)
    return f"git cannot read {url}", last_line(errors)


def ssh_words(url: str) -> tuple[str, str]:
    """How to reach the repository's host by hand with ssh, and its name in known_hosts."""
    place = url.partition("://")[2].split("/", 1)[0] if "://" in url else url.partition(":")[0]
    account, port = place, ""
    if "://" in url and place.rpartition(":")[2].isdigit():
        account, _, port = place.rpartition(":")
    name = account.rpartition("@")[2]
    known = f"[{name}]:{port}" if port not in ("", "22") else name
    return (f"ssh -T -p {port} " if port else "ssh -T ") + quote(account), known


def last_line(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"


PASSWORD = "put a user and a token that may read it into the https URL, or use git@{host}:… with a deploy key"
CAUSES = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed",
        "the host key of {host} has changed: someone may be in between",
        "if its owner announced a new key, on the target: ssh-keygen -R {name} && {reach}",
    ),
    (
        "Host key verification failed|No .* host key is known",
        "the host key of {host} is not known on the target",
        "on the target, compare the fingerprint it shows, and answer yes: {reach}",
    ),
    (
        "Permission denied \\(",
        "{host} does not accept the target's SSH key",
        "make a key on the target (ssh-keygen -t ed25519), add ~/.ssh/id_ed25519.pub as a deploy key of the repository,"
        " or set forward_agent: true",
    ),
    (
        "Authentication failed|HTTP Basic: Access denied|error: 40[13]",
        "{host} refuses the user and password of {url}",
        PASSWORD,
    ),
    ("could not read (Username|Password)|terminal prompts disabled", "{host} wants a user and a password", PASSWORD),
    (
        "dubious ownership",
        "the repository {path} belongs to another user, and Git does not trust it",
        "on the target: git config --global --add safe.directory {path}",
    ),
    (
        "(?i)could not resolve host|name or service not known|temporary failure in name resolution",
        "the target cannot find a host named {host}",
        "is the address right? on the target: getent hosts {host}",
    ),
    (
        "(?i)timed out|operation too slow|timeout, server|refused|unreachable|no route to host|connection reset"
        "|failed to connect|unable to connect",
        "{host} cannot be reached from the target, or does not answer",
        "is the address right, is a firewall between? on the target: git ls-remote {quoted}",
    ),
    (
        "(?i)repository not found|repository '.*' not found|could not be found or you don't have permission"
        "|error: 404|does not exist|no such file",
        "there is no repository {url}, or it may not be seen with these credentials",
        "is the address right? a private one needs a token in the URL or a deploy key",
    ),
    (
        "does not appear to be a git repository|not a git repository|is this a git repository",
        "{url} is no Git repository",
        "is the address right?",
    ),
)
