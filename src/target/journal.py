"""What the journal of a run tells: how far it came, and how it ended. Pure; session.py writes it."""

from __future__ import annotations

from named_tuple import NamedTuple

TYPE_CHECKING = False  # typing costs 10 ms
if TYPE_CHECKING:
    from typing import Any


class Journal(NamedTuple):
    """Times are UTC, `2026-11-22T21:30:15Z`; "" and [] mean that nothing was noted."""

    kind: str
    by: str
    since: str
    release: str = ""
    live_before: str = ""
    reached: str = ""  # the last step that was begun
    step: str = ""  # the same, or, later, the last that was begun to be undone
    step_since: str = ""
    undoing: bool = False
    client_gone: str = ""  # why
    committed: bool = False  # the release was proven: nothing is undone any more
    served: bool = True  # False: good, but not proven to be served, or nothing ran
    not_undone: tuple[str, ...] = ()
    late_failures: tuple[str, ...] = ()  # of what comes after the proof
    settled_since: str = ""  # when another run began to end it
    settled_by: str = ""
    outcome: str = ""  # done, undone, stuck, settled; "" if it has not ended
    ended: str = ""
    failed_step: str = ""
    why: str = ""  # an exit code, or why it was stopped


def read_journal(text: str) -> Journal | None:
    """None: this is no journal. A line that is cut short, or of another version, is passed over."""
    lines = [line.split() for line in text.split("\n") if line.strip()]
    if not lines or lines[0][0] != "run" or len(lines[0]) < 3:
        return None
    journal = Journal(lines[0][2], " ".join(lines[0][3:]), lines[0][1])
    names: dict[str, str] = {}
    for verb, *rest in lines[1:]:
        try:
            journal = journal._replace(**told(journal, names, verb, rest))
        except IndexError:
            pass
    return journal


def told(journal: Journal, names: dict[str, str], verb: str, rest: list[str]) -> dict[str, Any]:
    """What one line changes. `names`: the steps by their numbers, as far as they are known."""
    if verb == "live":
        return {"live_before": rest[0].strip("-")}
    if verb == "release":
        return {"release": rest[0].strip("-")}
    if verb in ("start", "undo"):
        names[rest[0]] = rest[1]
        begun = {"step": rest[1], "step_since": rest[2], "undoing": verb == "undo"}
        return begun if verb == "undo" else {**begun, "reached": rest[1]}
    if verb == "done" and rest[1] != "0" and journal.committed:
        return {"late_failures": (*journal.late_failures, names.get(rest[0], ""))}
    if verb == "undone":
        others = [name for name in journal.not_undone if name != names.get(rest[0], "")]
        return {"not_undone": (*others, *([names.get(rest[0], "")] if rest[1] != "0" else []))}
    if verb == "gone":
        return {"client_gone": " ".join(rest)}
    if verb == "commit":
        return {"committed": True}
    if verb in ("unserved", "unproven"):
        return {"served": False}
    if verb == "settle":
        return {"settled_since": rest[0], "settled_by": " ".join(rest[1:])}
    if verb == "end":
        return ended(rest)
    return {}


def ended(words: list[str]) -> dict[str, Any]:
    """`end TIME OUTCOME STEP WHY`; an older session noted no time and no reason."""
    time, words = (words[0], words[1:]) if words[0][:1].isdigit() else ("", words)
    failed = words[1:2] if words[0] in ("undone", "stuck") else []
    return {
        "ended": time,
        "outcome": words[0],
        "failed_step": "".join(failed),
        "why": " ".join(words[2:]) if failed else "",
    }
