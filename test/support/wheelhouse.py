"""Prints a folder of wheels from which the Django project of the tests installs without a network.

It is filled once for each version of Python that runs this; with requirements as arguments, with these too. `tinylib`
is made here, in versions 1 to 3: it stands for a library whose version a page can show.
"""

import fcntl
import os
import subprocess
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "..", "..", "node_modules", ".cache", "deployer", "wheels")
MADE_AT = (2026, 1, 1, 0, 0, 0)  # the same bytes each time


def main():
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = os.path.join(FOLDER, "complete-{}.{}".format(*sys.version_info))
        fill([*pins(), *drivers()], complete)
        if sys.argv[1:]:
            fill(sys.argv[1:], f"{complete}-{'-'.join(sys.argv[1:])}")
    print(os.path.realpath(FOLDER))


def pins():
    if sys.version_info < (3, 10):
        return ["Django==4.2.30"]
    with open(os.path.join(HERE, "project", "requirements.txt")) as file:
        return file.read().split()


def drivers():
    """What speaks with PostgreSQL: psycopg 3, which Django prefers where it is installed, and psycopg2."""
    if sys.version_info < (3, 10):
        return ["psycopg[binary]==3.2.13", "psycopg2-binary==2.9.10"]
    return ["psycopg[binary]==3.3.9", "psycopg2-binary==2.9.13"]


def fill(wanted, complete):
    if os.path.exists(complete) and open(complete).read().split() == wanted:
        return
    for version in ("1", "2", "3"):
        make_tinylib(version)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    subprocess.run([*pip, "--dest", FOLDER, *wanted], check=True, stdout=sys.stderr)
    with open(complete, "w") as file:
        file.write(" ".join(wanted))


def make_tinylib(version):
    info = f"tinylib-{version}.dist-info"
    files = {
        "tinylib.py": f'VERSION = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tinylib\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(os.path.join(FOLDER, f"tinylib-{version}-py3-none-any.whl"), "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(zipfile.ZipInfo(name, MADE_AT), text)


if __name__ == "__main__":
    main()
