"""What the configuration of a supervisord says of its programs, where we may read it."""

from __future__ import annotations

import glob
import os
import shlex
from typing import TYPE_CHECKING

from managers import Declared

if TYPE_CHECKING:
    from configparser import RawConfigParser

DEFAULTS = ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")


def declarations(config: str, name: str) -> list[Declared]:
    """The programs that a name means: a program, GROUP:PROGRAM or GROUP:*. Empty when that cannot be read."""
    group, _, program = name.rpartition(":")
    here = os.path.dirname(config)
    parser = read(config)
    wanted = [program] if program != "*" else members(parser, group)
    sections = [each for each in wanted if parser.has_section(f"program:{each}")]
    return [declared(parser, each, here) for each in sections if parser.has_option(f"program:{each}", "command")]


def read(config: str) -> RawConfigParser:
    import configparser

    parser = configparser.RawConfigParser(inline_comment_prefixes=(";",), strict=False)
    here = os.path.dirname(config)
    try:
        parser.read(config, encoding="utf-8")
        patterns = parser.get("include", "files", fallback="").split()
        for pattern in patterns:
            parser.read(sorted(glob.glob(os.path.join(here, expanded(pattern, "", here)))), encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError):
        return configparser.RawConfigParser()
    return parser


def members(parser: RawConfigParser, group: str) -> list[str]:
    """The programs of a group; a program with several processes is a group of its own."""
    programs = parser.get(f"group:{group}", "programs", fallback=group)
    return [each.strip() for each in programs.split(",")]


def declared(parser: RawConfigParser, program: str, here: str) -> Declared:
    section = f"program:{program}"
    command = expanded(parser.get(section, "command"), program, here)
    folder = expanded(parser.get(section, "directory", fallback=""), program, here)
    try:
        return Declared(tuple(shlex.split(command)), folder)
    except ValueError:
        return Declared((), folder)


def expanded(text: str, program: str, here: str) -> str:
    """With supervisor's own %-expressions; as it is where another is in it."""
    known = {f"ENV_{name}": value for name, value in os.environ.items()}
    known.update(here=here, program_name=program, group_name=program, host_node_name=os.uname().nodename)
    try:
        return text % {**known, "process_num": 0}
    except (KeyError, ValueError, TypeError):
        return text
