"""Python environments, addressed by what they are made of, and never changed once they are whole.

environment.py build --venv .venv --python python3 [--requirements FILE …] [--rebuild]
                         releases/$RELEASE/<venv> becomes a link to the environment of its requirements
environment.py discard   removes what was not built to its end
environment.py sweep     removes what no release links to and no process lives in

environments.py says how they lie on the disk. Without `--requirements`, requirements.txt counts if it is there.
"""

from __future__ import annotations

import os
import re
import sys
from glob import escape, glob

from common import answer, fail
from environments import ENVIRONMENTS, all_names, complete, discard, remove, sweep
from named_tuple import NamedTuple
from run_command import run_command

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import Iterator

FORMAT = "1"
COSMETIC = (
    "CACHE_DIR CERT CLIENT_CERT CONFIG_FILE DEFAULT_TIMEOUT DISABLE_PIP_VERSION_CHECK EXISTS_ACTION LOG NO_CACHE_DIR "
    "NO_COLOR NO_INPUT NO_PYTHON_VERSION_WARNING PROGRESS_BAR PROXY QUIET RETRIES ROOT_USER_ACTION TIMEOUT USER VERBOSE"
).split()
PROBE = """
import os, sys, sysconfig
from importlib.util import find_spec
pip, ensurepip = find_spec("pip"), find_spec("ensurepip")
for each in (
    sys.executable, os.path.realpath(sys.executable), sys.version.split()[0], sys.implementation.cache_tag or "",
    sysconfig.get_platform(), "venv" if find_spec("venv") else "", ensurepip.origin if ensurepip else "",
    sysconfig.get_config_var("WHEEL_PKG_DIR") or "/usr/share/python-wheels", pip.origin if pip else "",
): print(each, end=chr(0))
"""


class Interpreter(NamedTuple):
    path: str
    real_path: str
    version: str
    tag: str
    platform: str
    venv: str
    ensurepip: str
    wheels: str
    pip: str


class Requirements(NamedTuple):
    files: list[str]  # those given to pip, relative to the release
    texts: list[str]  # of these and of all that they name
    bound: bool  # to the release: the same lines may mean other code in the next one


def main(arguments: list[str]) -> None:
    verb, *words = arguments
    os.umask(0o022)  # the web server's user runs from it
    try:
        build(words) if verb == "build" else {"discard": discard, "sweep": sweep}[verb]()
    except OSError as error:
        fail(f"{error.filename or 'environment'}: {error.strerror}")


def build(words: list[str]) -> None:
    venv, python = words[words.index("--venv") + 1], words[words.index("--python") + 1]
    named = [words[index + 1] for index, word in enumerate(words) if word == "--requirements"]
    release = os.path.join("releases", os.environ["RELEASE"])
    link = os.path.join(release, venv)
    refuse_foreign(link, venv)
    requirements = read_requirements(release, named)
    interpreter = probe(python)
    key = key_of(requirements, interpreter)
    whole = [name for name in names_of(key) if is_whole(name, key)]
    if whole and "--rebuild" not in words:
        name = whole[-1]
        answer("note", f"environment {name} reused")
    else:
        name = next_name(key)
        make(name, key, requirements, interpreter, release)
        answer("note", f"environment {name} built")
    if os.path.islink(link):
        os.unlink(link)
    os.symlink(os.path.relpath(os.path.join(ENVIRONMENTS, name), os.path.dirname(link)), link)


def refuse_foreign(link: str, venv: str) -> None:
    ours = os.path.islink(link) and ENVIRONMENTS in os.readlink(link)
    if os.path.lexists(link) and not ours:
        fail(
            f"{venv} is there in the release already: the repository tracks it, or it is shared",
            f"take {venv} out of the repository and of shared_files and shared_dirs, or set `venv` to another name",
        )


def read_requirements(release: str, named: list[str]) -> Requirements:
    files = named or [name for name in ["requirements.txt"] if os.path.exists(os.path.join(release, name))]
    for name in files:
        if not os.path.isfile(os.path.join(release, name)):
            fail(f"requirements: there is no {name} in the repository", "correct `requirements`, or commit the file")
    constraints = [each for name in ("PIP_CONSTRAINT", "PIP_REQUIREMENT") for each in os.environ.get(name, "").split()]
    waiting = [os.path.join(release, name) for name in [*files, *constraints]]
    seen: list[str] = []
    texts: list[str] = []
    bound = False
    while waiting:
        path = waiting.pop(0)
        if path in seen:
            continue
        seen.append(path)
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            texts.append(with_variables(file.read()))
        for kind, value in statements(texts[-1]):
            if kind == "requirement":
                bound = bound or is_bound(value)
            elif kind == "editable":
                bound = bound or not is_pinned(value)
            elif "://" in value:
                bound = True
            else:
                below = os.path.normpath(os.path.join(os.path.dirname(path), value.replace("file:", "")))
                if not os.path.isfile(below):
                    fail(f"{os.path.relpath(path, release)} names {value}, which is not there")
                waiting.append(below)
    return Requirements(files, texts, bound)


def with_variables(text: str) -> str:
    return re.sub(r"\$\{([A-Z0-9_]+)\}", lambda found: os.environ.get(found[1]) or found[0], text)


def statements(text: str) -> Iterator[tuple[str, str]]:
    """What a requirements file says, as pip reads it: ("file" | "editable" | "requirement", value)."""
    for line in re.sub(r"\\\r?\n", "", text).splitlines():
        line = re.sub(r"(^|\s+)#.*$", "", line).strip()
        found = re.match(r"(-r|-c|-e|--requirement|--constraint|--editable)(?:\s*=\s*|\s*)(.+)", line)
        if found:
            value = found[2].strip("\"'")
            yield ("editable" if found[1] in ("-e", "--editable") else "file"), value
        elif line and not line.startswith("-"):
            yield "requirement", line


def is_bound(requirement: str) -> bool:
    """A local path, or version control without a full commit."""
    named = re.match(r"[\w.-]+\s*(?:\[[^\]]*\])?\s*@\s*(.+)", requirement)
    target = (named[1] if named else requirement).split()[0]
    if re.match(r"(git|hg|svn|bzr)\+", target):
        return not is_pinned(target)
    if "://" in target and not target.startswith("file:"):
        return False
    return target[0] == "." or target.startswith("file:") or "/" in target or target.endswith((".whl", ".zip", ".gz"))


def is_pinned(target: str) -> bool:
    return re.match(r"(git|hg)\+.*@[0-9a-f]{40}(#|\s|$)", target) is not None


def probe(python: str) -> Interpreter:
    try:
        code, out, errors = run_command([python, "-I", "-c", PROBE], dict(os.environ))
    except OSError as error:
        fail(f"the Python interpreter {python}: {error.strerror}", cure(python))
    os.write(2, errors.encode("utf-8", "surrogateescape"))
    fields = out.split("\0")[:-1]
    if code or len(fields) != len(Interpreter._fields):
        fail(f"{python} is no working Python: exit code {code}")
    interpreter = Interpreter(*fields)
    if not interpreter.venv:
        fail(f"{python} has no venv module", cure(python))
    return interpreter


def cure(python: str) -> str:
    name = os.path.basename(python)
    return f"apt-get install {name if name.startswith('python3') else 'python3'}-venv python3-pip"


def key_of(requirements: Requirements, interpreter: Interpreter) -> str:
    from hashlib import sha256

    parts = [
        FORMAT,
        *interpreter[1:5],
        os.environ["RELEASE"] if requirements.bound else "",
        *requirements.texts,
        *index_settings(),
    ]
    text = "\0".join(without_credentials(part) for part in parts)
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def without_credentials(text: str) -> str:
    """A new password for the same index is no other environment."""
    return re.sub(r"://[^/\s@]*@", "://", text)


def index_settings() -> Iterator[str]:
    for name in sorted(os.environ):
        if name.startswith("PIP_") and name[4:] not in COSMETIC:
            yield f"{name}={os.environ[name]}"
    home = os.path.expanduser("~")
    configurations = [
        *(os.path.join(each, "pip") for each in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")),
        "/etc",
        os.path.join(home, ".pip"),
        os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "pip"),
    ]
    paths = [os.path.join(folder, "pip.conf") for folder in configurations]
    for path in [*paths, os.environ.get("PIP_CONFIG_FILE", "")]:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                yield file.read()
        except OSError:
            continue


def names_of(key: str) -> list[str]:
    """The environments of a key, whole or not, oldest first."""
    return sorted((name for name in all_names() if name[:12] == key[:12]), key=number)


def number(name: str) -> int:
    return int(name[13:] or 1)


def next_name(key: str) -> str:
    last = max((number(name) for name in names_of(key) if os.path.exists(complete(name))), default=0)
    return key[:12] + (f"-{last + 1}" if last else "")


def is_whole(name: str, key: str) -> bool:
    try:
        with open(complete(name)) as file:
            known = file.readline().split()
    except OSError:
        return False
    return known == ["key", key] and os.access(os.path.join(ENVIRONMENTS, name, "bin/python"), os.X_OK)


def make(name: str, key: str, requirements: Requirements, interpreter: Interpreter, release: str) -> None:
    place = os.path.abspath(os.path.join(ENVIRONMENTS, name))
    remove(name)
    os.makedirs(ENVIRONMENTS, exist_ok=True)
    print(
        f"environment {name}: Python {interpreter.version}, {', '.join(requirements.files) or 'only pip'}", flush=True
    )
    if run([interpreter.path, "-Im", "venv", "--without-pip", place]) != 0:
        fail(f"{interpreter.path} could not make a virtualenv", cure(interpreter.path))
    python = os.path.join(place, "bin/python")
    give_pip(place, interpreter)
    if requirements.files:
        files = [word for file in requirements.files for word in ("-r", file)]
        pip = [python, "-Im", "pip", "install", "--no-input", "--disable-pip-version-check", *files]
        code = run(pip, cwd=release)
        if code != 0:
            reason = f"exit code {code}" if code > 0 else f"ended by signal {-code}"
            fail(f"pip could not install {' and '.join(requirements.files)}: {reason}")
    settle(place)
    made_of = [
        f"key {key}",
        f"python {interpreter.real_path} {interpreter.version} {interpreter.platform}",
        f"requirements {' '.join(requirements.files)}",
        f"release {os.environ['RELEASE']}{' and no other' if requirements.bound else ''}",
    ]
    write_last(os.path.join(place, "complete"), "\n".join(made_of) + "\n")


def run(command: list[str], cwd: str = ".") -> int:
    """In our process group, so that what ends the step ends it too."""
    import subprocess

    inherited = {name: os.environ[name] for name in os.environ if name not in ("PYTHONHOME", "PYTHONPATH")}
    return subprocess.call(command, cwd=cwd, stdin=subprocess.DEVNULL, env={**inherited, "PIP_USER": "0"})


def give_pip(place: str, interpreter: Interpreter) -> None:
    """Puts a pip of this machine into the environment, and setuptools where Python comes with it (before 3.12).

    Unpacking is all that installing them means, and takes a tenth of the time of `ensurepip`.
    """
    [packages] = glob(os.path.join(escape(place), "lib/*/site-packages"))
    setuptools = tuple(map(int, interpreter.version.split(".")[:2])) < (3, 12)
    for wheels in [os.path.join(os.path.dirname(interpreter.ensurepip), "_bundled"), interpreter.wheels]:
        if unpack(wheels, "pip", packages) and has_pip(place):
            if setuptools and not unpack(wheels, "setuptools", packages):
                print("this Python comes without setuptools: a project that needs it has to require it", flush=True)
            return
    if interpreter.pip and copy_pip(os.path.dirname(interpreter.pip), packages) and has_pip(place):
        return
    fail(f"{interpreter.path} has no pip that works", cure(interpreter.path))


def unpack(wheels: str, name: str, packages: str) -> bool:
    """Unpacks the newest wheel of that name in the folder, in the place of what is there."""
    from zipfile import BadZipFile, ZipFile

    found = glob(os.path.join(escape(wheels), f"{name}-*.whl"))
    if not found:
        return False
    clear(packages, name)
    try:
        with ZipFile(max(found, key=lambda path: [int(each) for each in re.findall("[0-9]+", path)])) as file:
            file.extractall(packages)
    except (OSError, BadZipFile) as error:
        print(f"{wheels}: {error}", flush=True)
        return False
    return True


def copy_pip(pip: str, packages: str) -> bool:
    from shutil import copytree, ignore_patterns

    clear(packages, "pip")
    for path in [pip, *glob(os.path.join(escape(os.path.dirname(pip)), "pip-*.*-info"))]:
        if os.path.isdir(path):
            copytree(path, os.path.join(packages, os.path.basename(path)), ignore=ignore_patterns("__pycache__"))
    return True


def clear(packages: str, name: str) -> None:
    from shutil import rmtree

    for path in [os.path.join(packages, name), *glob(os.path.join(escape(packages), f"{name}-*.*-info"))]:
        rmtree(path, ignore_errors=True)


def has_pip(place: str) -> bool:
    """Whether the pip in it runs; if so, it gets the command `pip`."""
    if run([os.path.join(place, "bin/python"), "-Ic", "import pip._internal.cli.main"]) != 0:
        return False
    for name in ("pip", "pip3"):
        with open(os.path.join(place, "bin", name), "w") as file:
            file.write('#!/bin/sh\nexec "${0%/*}/python" -m pip "$@"\n')
            os.fchmod(file.fileno(), 0o755)
    return True


def settle(place: str) -> None:
    """What `complete` speaks for is on the disk before it."""
    import subprocess

    if subprocess.call(["sync", "-f", place], stderr=subprocess.DEVNULL) != 0:
        os.sync()


def write_last(path: str, text: str) -> None:
    with open(path + ".part", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".part", path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
