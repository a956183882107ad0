"""The Git repository of a site: is it reachable, its commits in a mirror on the target, one of them as a release.

repository.py find --branch B -- URL    finds the commit: $RUN/commit and $RUN/ref (empty: a bare commit, maybe short)
repository.py fetch -- URL              brings it into .deployer/repo.git unless it is there; answers commit=ID
repository.py export                    writes its tree to releases/$RELEASE, with REVISION

The URL holds no user and no password: they come as DEPLOYER_GIT_USER and DEPLOYER_GIT_PASSWORD, and Git asks
askpass.sh for them, so that they are in no argv, file or log.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import NoReturn

from common import answer, fail

MIRROR = ".deployer/repo.git"
SILENCE = 45  # seconds: git:// knows no time-out of its own, and `check` has 60
LFS = b"version https://git-lfs.github.com/spec/v1"
DAMAGED = (
    "corrupt|bad object|missing (blob|tree|commit)|unable to read|inflate|not a valid object|invalid sha1 pointer"
    "|cannot lock ref|did not send all"
)
EVERYTHING = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
FETCH = ["fetch", "--quiet", "--no-tags"]
FETCH_SETTINGS = (  # packs, never loose objects: a fetch that is killed leaves a whole pack or none
    "fetch.unpackLimit=1",
    "transfer.unpackLimit=1",
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
)


def main() -> None:
    verb, *words = sys.argv[1:]
    try:
        run(verb, words)
    except FileNotFoundError as error:
        if error.filename != "git":
            raise
        fail("git is not installed")


def run(verb: str, words: list[str]) -> None:
    if verb == "find":
        find(words[words.index("--branch") + 1], words[-1])
    elif verb == "fetch":
        answer("commit", fetch(words[-1]))
    elif verb == "export":
        export(os.environ["RELEASE"])


def find(branch: str, url: str) -> None:
    try:
        code, out, errors = git(["ls-remote", "--heads", "--tags", "--", url], url, SILENCE)
    except subprocess.TimeoutExpired:
        problem(f"{url} does not answer for {SILENCE} seconds", "is the address right, is a firewall between?")
    if code:
        problem(*diagnosis(url, errors))
    refs = {ref: commit for commit, tab, ref in (line.partition("\t") for line in out.split("\n")) if tab}
    for ref in (f"refs/heads/{branch}", f"refs/tags/{branch}"):
        if ref in refs:
            return keep(refs[ref + "^{}"] if ref + "^{}" in refs else refs[ref], ref)
    if re.fullmatch("[0-9a-fA-F]{7,40}", branch):
        ids = {commit for commit in refs.values() if commit.startswith(branch.lower())}
        return keep(ids.pop() if len(ids) == 1 else branch.lower(), "")
    problem(*no_such_branch(url, branch, refs))


def problem(what: str, cure: str) -> NoReturn:
    answer("problem", f"{what}\n{cure}")
    sys.exit(1)


def keep(commit: str, ref: str) -> None:
    for name, value in (("commit", commit), ("ref", ref)):
        with open(in_run(name), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(value + "\n")


def kept(name: str) -> str:
    with open(in_run(name), encoding="utf-8", errors="surrogateescape") as file:
        return file.read().rstrip("\n")


def in_run(name: str) -> str:
    return os.path.join(os.environ["RUN"], name)


def no_such_branch(url: str, branch: str, refs: dict[str, str]) -> tuple[str, str]:
    from difflib import SequenceMatcher

    names = [ref[len("refs/heads/") :] for ref in refs if ref.startswith("refs/heads/")]
    if not names:
        return f"{url} has no branches yet", "push a first commit to it"
    names.sort(key=lambda name: -SequenceMatcher(None, branch, name).ratio())
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"{url} has no branch, tag or commit {branch}", f"the branches there: {', '.join(names[:20])}{more}"


def fetch(url: str) -> str:
    commit, ref = kept("commit"), kept("ref")
    make_mirror()
    full = whole(commit)
    for refspecs in () if full else attempts(commit, ref):
        code, _, errors = git(
            [*mirror(), *fetching(), *(["--prune"] if refspecs is EVERYTHING else []), "--", url, *refspecs], url
        )
        if code and re.search(DAMAGED, errors):
            code, _, errors = fetch_anew(url)
        full = whole(commit)
        if full:
            break
        if code and not re.search("not our ref|unadvertised object|n't find remote ref", errors):
            fail(*diagnosis(url, errors))
    if not full:
        name = f"the commit {commit}" if not ref else f"the commit {commit} of {ref}"
        fail(f"{url} does not have {name}", "it may have been replaced meanwhile: push it, or deploy again")
    keep(full, ref)
    return full


def make_mirror() -> None:
    """An empty mirror if there is none that Git can read; without what a killed Git left: we hold the deploy lock."""
    for folder, _, names in os.walk(MIRROR):
        for name in names:
            if name.endswith(".lock") or name.startswith("tmp_"):
                os.unlink(os.path.join(folder, name))
    if git([*mirror(), "rev-parse", "--is-bare-repository"])[:2] != (0, "true\n"):
        remake_mirror()


def remake_mirror() -> None:
    import shutil

    if os.path.lexists(MIRROR):
        print("the mirror of the repository is damaged: fetching all of it again", flush=True)
        shutil.rmtree(MIRROR) if os.path.isdir(MIRROR) else os.unlink(MIRROR)
    code, _, errors = git(["init", "--quiet", "--bare", "--template=", MIRROR])
    if code:
        fail(f"git cannot make the mirror {MIRROR}", errors)


def mirror() -> list[str]:
    return ["--git-dir=" + MIRROR]


def whole(commit: str) -> str:
    """The full id of a commit that is in the mirror, else "". A mirror that lacks some of its files is made anew."""
    code, out, errors = git([*mirror(), "rev-parse", "--verify", commit + "^{commit}"])
    if "ambiguous" in errors:
        fail(f"{commit} names several commits", "give more of its digits")
    if code:
        return ""
    full = out.strip()
    if git([*mirror(), "rev-list", "--objects", "--no-walk", "--quiet", full])[0]:
        remake_mirror()
        return ""
    return full


def attempts(commit: str, ref: str) -> list[list[str]]:
    """What to ask for, one after another: the ref (a flat name, since `a` and `a/b` cannot both be refs), else the
    commit itself, which not every server gives, else everything."""
    first = [[f"+{ref}:refs/fetched/{ref[len('refs/') :].replace('/', '%')}"]] if ref else []
    exact = [[f"+{commit}:refs/fetched/{commit}"]] if len(commit) == 40 else []
    return [*first, *exact, EVERYTHING]


def fetching() -> list[str]:
    return [word for setting in FETCH_SETTINGS for word in ("-c", setting)] + FETCH


def fetch_anew(url: str) -> tuple[int, str, str]:
    remake_mirror()
    return git([*mirror(), *fetching(), "--", url, *EVERYTHING], url)


def export(release: str) -> None:
    commit, folder = kept("commit"), os.path.abspath(os.path.join("releases", release))
    os.umask(0o022)
    os.makedirs("releases", exist_ok=True)
    try:
        os.mkdir(folder)
    except FileExistsError:
        fail(f"{folder} exists already")
    tree = [*mirror(), "--work-tree=" + folder]
    index = {"GIT_INDEX_FILE": in_run("index"), "GIT_LFS_SKIP_SMUDGE": "1"}
    for words in (["read-tree", commit], ["checkout-index", "--all"]):
        code, _, errors = git([*tree, *words], more=index)
        if code:
            export_failed(commit, errors)
    entries = listed(git([*tree, "ls-files", "--stage", "-z"], more=index)[1])
    write_revision(os.path.join(folder, "REVISION"), commit)
    warn("submodules are not fetched, their folders are empty", [path for mode, path in entries if mode == "160000"])
    warn("files in Git LFS are not fetched, only their pointers are there", pointers(folder, entries))
    os.unlink(in_run("index"))


def export_failed(commit: str, errors: str) -> None:
    if re.search(DAMAGED, errors):
        os.unlink(os.path.join(MIRROR, "HEAD"))  # the next deploy makes the mirror anew
        fail(f"the mirror of the repository is damaged: {last_line(errors)}", "deploy again: it is fetched anew")
    fail(f"git cannot write the files of {commit}: {last_line(errors)}")


def listed(out: str) -> list[tuple[str, str]]:
    return [(record[:6], record.split("\t", 1)[1]) for record in out.split("\0") if record]


def write_revision(path: str, commit: str) -> None:
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
        os.unlink(path)
    with open(path, "x", encoding="ascii") as file:
        file.write(commit + "\n")


def warn(what: str, paths: list[str]) -> None:
    if paths:
        more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
        answer("warning", f"{what}: {', '.join(paths[:5])}{more}")


def pointers(folder: str, entries: list[tuple[str, str]]) -> list[str]:
    """The paths of files that are LFS pointers; looked for only where a .gitattributes speaks of LFS."""
    attributes = [path for _, path in entries if os.path.basename(path) == ".gitattributes"]
    if not any(b"filter=lfs" in start(os.path.join(folder, path), 1 << 20) for path in attributes):
        return []
    return [
        path for mode, path in entries if mode.startswith("100") and start(os.path.join(folder, path), len(LFS)) == LFS
    ]


def start(path: str, length: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return os.read(fd, length)
    finally:
        os.close(fd)


def git(
    words: list[str], url: str = "", limit: float | None = None, more: dict[str, str] | None = None
) -> tuple[int, str, str]:
    """Runs Git with no terminal, no stdin and no GIT_* of ours. Returns exit code, stdout and stderr."""
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
    process = subprocess.Popen(
        ["git", *words],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
        start_new_session=limit is not None,
    )
    try:
        out, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        raise
    if url or more:
        os.write(2, errors.encode("utf-8", "surrogateescape"))
    return process.returncode, out, errors


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


def host_of(url: str) -> str:
    """`host[:port]` as Git names it to a helper, "" for a path."""
    _, separator, rest = url.partition("://")
    return rest.split("/", 1)[0].rpartition("@")[2] if separator else url.partition(":")[0].rpartition("@")[2]


def last_line(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"


def diagnosis(url: str, errors: str) -> tuple[str, str]:
    """What went wrong between Git and the repository, and its cure."""
    from shlex import quote

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
    from shlex import quote

    place = url.partition("://")[2].split("/", 1)[0] if "://" in url else url.partition(":")[0]
    account, port = place, ""
    if "://" in url and place.rpartition(":")[2].isdigit():
        account, _, port = place.rpartition(":")
    name = account.rpartition("@")[2]
    known = f"[{name}]:{port}" if port not in ("", "22") else name
    return (f"ssh -T -p {port} " if port else "ssh -T ") + quote(account), known


PASSWORD = "use https://USER:TOKEN@{host}/… with a token that may read it, or git@{host}:… with a deploy key"
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


if __name__ == "__main__":
    main()
