"""The mirror of a site's repository: kept on the target, so that a deploy fetches only what is new."""

from __future__ import annotations

import os

from common import fail
from git import git

MIRROR = ".deployer/repo.git"
IN_MIRROR = ["--git-dir=" + MIRROR]
EVERYTHING = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
PACKS = 50  # gc.autoPackLimit
FETCH = (
    *("-c", "fetch.unpackLimit=1"),  # packs, never loose objects: a fetch that is killed leaves a whole pack or none
    *("-c", "transfer.unpackLimit=1"),
    *("-c", "gc.autoDetach=false"),
    *("-c", "maintenance.autoDetach=false"),
    *("fetch", "--quiet", "--no-tags"),
)


def bring(commit: str, ref: str, url: str) -> str:
    """Brings a commit into the mirror unless it is there, and returns its full id. Ends the program if that fails."""
    sweep()
    full = whole(looked_up(commit))
    for refspecs in () if full else attempts(commit, ref):
        code, errors = fetch(url, refspecs)
        full = whole(commit if ref else looked_up(commit))
        if full:
            break
        if code:
            refuse(url, errors)
    if not full:
        name = f"the commit {commit}" if not ref else f"the commit {commit} of {ref}"
        fail(f"{url} does not have {name}", "it may have been replaced meanwhile: push it, or deploy again")
    return full


def sweep() -> None:
    """Removes what a killed Git left: we hold the deploy lock."""
    for folder, _, names in os.walk(MIRROR):
        for name in names:
            if name.endswith(".lock") or name.startswith("tmp_"):
                os.unlink(os.path.join(folder, name))


def remake_mirror() -> None:
    import shutil

    if os.path.lexists(MIRROR):
        print("the mirror of the repository is damaged: fetching all of it again", flush=True)
        shutil.rmtree(MIRROR) if os.path.isdir(MIRROR) else os.unlink(MIRROR)
    code, _, errors = git(["init", "--quiet", "--bare", "--template=", MIRROR])
    if code:
        fail(f"git cannot make the mirror {MIRROR}", errors)


def looked_up(commit: str) -> str:
    """The full id of a commit that the mirror knows, else "". A mirror that Git cannot read is made anew."""
    code, out, errors = git([*IN_MIRROR, "rev-parse", "--is-bare-repository", "--verify", commit + "^{commit}"])
    bare, _, full = out.partition("\n")
    if bare != "true":
        remake_mirror()
    elif "ambiguous" in errors:
        fail(f"{commit} names several commits", "give more of its digits")
    return "" if bare != "true" or code else full.strip()


def whole(full: str) -> str:
    """The same id if all of that commit is in the mirror, else "". A mirror that lacks some of it is made anew."""
    if full and git([*IN_MIRROR, "rev-list", "--objects", "--no-walk", "--quiet", full + "^{commit}"])[0]:
        if looked_up(full):
            remake_mirror()
        return ""
    return full


def attempts(commit: str, ref: str) -> list[list[str]]:
    """What to ask for, one after another: the ref (a flat name, since `a` and `a/b` cannot both be refs), else the
    commit itself, which not every server gives, else everything."""
    first = [[f"+{ref}:refs/fetched/{ref[len('refs/') :].replace('/', '%')}"]] if ref else []
    exact = [[f"+{commit}:refs/fetched/{commit}"]] if len(commit) == 40 else []
    return [*first, *exact, EVERYTHING]


def fetch(url: str, refspecs: list[str]) -> tuple[int, str]:
    prune = ["--prune"] if refspecs is EVERYTHING else []
    untidied = [] if is_crowded() else ["-c", "maintenance.auto=false"]  # Git would start a process to find that out
    code, _, errors = git([*IN_MIRROR, *untidied, *FETCH, *prune, "--", url, *refspecs], url)
    if code:
        import re

        from git_errors import DAMAGED

        if re.search(DAMAGED, errors):
            remake_mirror()
            code, _, errors = git([*IN_MIRROR, *FETCH, "--", url, *EVERYTHING], url)
    return code, errors


def is_crowded() -> bool:
    """Whether there are so many packs, one of each fetch, that Git makes one of them all."""
    folder = os.path.join(MIRROR, "objects/pack")
    return os.path.isdir(folder) and sum(name.endswith(".pack") for name in os.listdir(folder)) > PACKS


def refuse(url: str, errors: str) -> None:
    """Ends the program, unless the server merely does not give what was asked for: it is asked for more then."""
    import re

    from git_errors import NOT_OFFERED, diagnosis

    if not re.search(NOT_OFFERED, errors):
        fail(*diagnosis(url, errors))


def discredit() -> None:
    """Has the next deploy make the mirror anew."""
    os.unlink(os.path.join(MIRROR, "HEAD"))
