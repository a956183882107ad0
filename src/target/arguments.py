"""What a step asks of gunicorn.py, service.py and touch.py."""

from __future__ import annotations

import os

from named_tuple import NamedTuple


class Arguments(NamedTuple):
    """The words after the program's name: `--address-file PATH` is `address_file`.

    `project` is the folder of manage.py below a release; empty where it is to be found.
    `state` and `address_file` are absolute, or names in the run's own folder when they are parsed.
    `health_check`: `path` when one follows at the address found, `elsewhere` when one follows that needs no address.
    """

    verb: str
    venv: str = ".venv"
    release: str = ""
    at: str = ""
    state: str = ""
    timeout: str = "60"
    address_file: str = ""
    project: str = ""
    health_check: str = ""
    kind: str = ""
    name: str = ""
    file: str = ""


def parse(words: list[str]) -> Arguments:
    """The arguments from the words of a command line; a name that is none of them is a TypeError."""
    values = {name[2:].replace("-", "_"): value for name, value in zip(words[1::2], words[2::2])}
    for name in ("state", "address_file"):
        if name in values:
            values[name] = os.path.join(os.environ.get("RUN", ""), values[name])
    return Arguments(words[0], **values)
