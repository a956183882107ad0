"""The Git repository of a site: is it reachable, its commits in a mirror on the target, one of them as a release.

repository.py find --branch B -- URL    finds the commit: $RUN/commit and $RUN/ref (empty: a bare commit, maybe short)
repository.py fetch -- URL              brings it into .deployer/repo.git unless it is there; answers commit=ID
repository.py export                    writes its tree to releases/$RELEASE, with REVISION

The URL holds no user and no password: they come as DEPLOYER_GIT_USER and DEPLOYER_GIT_PASSWORD, and Git asks
askpass.sh for them, so that they are in no argv, file or log.
"""

from __future__ import annotations

import os
import sys

from common import answer, fail
from git import git, in_run
from run_command import Silent

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import NoReturn

SILENCE = 45  # seconds: git:// knows no time-out of its own, and `check` has 60
LFS = b"version https://git-lfs.github.com/spec/v1"


def main(arguments: list[str]) -> None:
    verb, *words = arguments
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
    except Silent:
        problem(f"{url} does not answer for {SILENCE} seconds", "is the address right, is a firewall between?")
    if code:
        from git_errors import diagnosis

        problem(*diagnosis(url, errors))
    refs = {ref: commit for commit, tab, ref in (line.partition("\t") for line in out.split("\n")) if tab}
    for ref in (f"refs/heads/{branch}", f"refs/tags/{branch}"):
        if ref in refs:
            return keep(refs[ref + "^{}"] if ref + "^{}" in refs else refs[ref], ref)
    if 7 <= len(branch) <= 40 and not branch.strip("0123456789abcdefABCDEF"):
        ids = {commit for commit in refs.values() if commit.startswith(branch.lower())}
        return keep(ids.pop() if len(ids) == 1 else branch.lower(), "")
    problem(*no_such_branch(url, branch, refs))


def problem(what: str, cure: str) -> NoReturn:
    answer("problem", f"{what}\n{cure}")
    sys.exit(1)


def keep(commit: str, ref: str) -> None:
    for name, value in (("commit", commit), ("ref", ref)):
        with open(in_run(name + ".new"), "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(value + "\n")
        os.replace(in_run(name + ".new"), in_run(name))  # whole, even when this is killed


def kept(name: str) -> str:
    with open(in_run(name), encoding="utf-8", errors="surrogateescape") as file:
        return file.read().rstrip("\n")


def no_such_branch(url: str, branch: str, refs: dict[str, str]) -> tuple[str, str]:
    from difflib import SequenceMatcher

    names = [ref[len("refs/heads/") :] for ref in refs if ref.startswith("refs/heads/")]
    if not names:
        return f"{url} has no branches yet", "push a first commit to it"
    names.sort(key=lambda name: -SequenceMatcher(None, branch, name).ratio())
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"{url} has no branch, tag or commit {branch}", f"the branches there: {', '.join(names[:20])}{more}"


def fetch(url: str) -> str:
    from mirror import bring

    ref = kept("ref")
    commit = bring(kept("commit"), ref, url)
    keep(commit, ref)
    return commit


def export(release: str) -> None:
    from mirror import IN_MIRROR

    commit, folder = kept("commit"), os.path.abspath(os.path.join("releases", release))
    os.umask(0o022)
    os.makedirs("releases", exist_ok=True)
    try:
        os.mkdir(folder)
    except FileExistsError:
        fail(f"{folder} exists already")
    tree = [*IN_MIRROR, "--work-tree=" + folder]
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
    import re

    from git_errors import DAMAGED, last_line
    from mirror import discredit

    if re.search(DAMAGED, errors):
        discredit()
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


if __name__ == "__main__":
    main(sys.argv[1:])
