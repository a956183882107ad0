"""NamedTuple without the module typing, whose import takes longer than Python's own start."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from collections import namedtuple

    class Made(type):
        """Makes a named tuple of a class that names its fields as typing.NamedTuple has it."""

        def __new__(cls, name, bases, body):
            fields = body.get("__annotations__", {})
            made = namedtuple(name, fields, defaults=[body[field] for field in fields if field in body])
            for key, value in body.items():
                if key not in fields and key not in ("__annotations__", "__classcell__"):
                    setattr(made, key, value)
            return made

    NamedTuple = type.__new__(Made, "NamedTuple", (), {})
