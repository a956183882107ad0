"""Runs Git on the target: no terminal, no question, no secret in an argv."""

from __future__ import annotations

import os

from run_command import run_command


def git(
    words: list[str], url: str = "", limit: float | None = None, more: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Runs Git with no terminal, no stdin and no GIT_* of ours. Returns exit code, stdout and stderr.

    With `url` it may ask for the user and password of that repository. `limit`: seconds, then Silent is raised.
    `more`: variables. What Git says of a repository or with `more` stands in the log, too.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") and name != "SSH_ASKPASS"}
    env.update(
        LC_ALL="C",
        GIT_TERMINAL_PROMPT="0",
        GIT_ASKPASS="",
        GIT_ALLOW_PROTOCOL="https:http:ssh:git:file",
        GIT_HTTP_LOW_SPEED_LIMIT="1000",
        GIT_HTTP_LOW_SPEED_TIME="30",
        GIT_SSH_COMMAND="ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15",
        **more or {},
    )
    if url and (env.get("DEPLOYER_GIT_USER") or env.get("DEPLOYER_GIT_PASSWORD")):
        env.update(GIT_ASKPASS=askpass(), DEPLOYER_GIT_HOST=host_of(url))
        helper = ["credential.helper=", 'credential.helper=!"$GIT_ASKPASS"', "credential.useHttpPath=false"]
        words = [word for setting in helper for word in ("-c", setting)] + words
    code, out, errors = run_command(["git", *words], env, limit)
    if url or more:
        os.write(2, errors.encode("utf-8", "surrogateescape"))
    return code, out, errors


def askpass() -> str:
    """A copy that can be executed, whatever the file's mode became on its way here."""
    path = in_run("askpass")
    if not os.path.exists(path):
        with open(os.path.join(os.environ["TOOLS"], "askpass.sh"), "rb") as file:
            text = file.read()
        fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700)
        os.write(fd, text)
        os.close(fd)
        os.rename(path + ".new", path)
    return path


def in_run(name: str) -> str:
    """The path of a file in the run's own folder."""
    return os.path.join(os.environ["RUN"], name)


def host_of(url: str) -> str:
    """`host[:port]` as Git names it to a helper, "" for a path."""
    _, separator, rest = url.partition("://")
    return rest.split("/", 1)[0].rpartition("@")[2] if separator else url.partition(":")[0].rpartition("@")[2]
