"""Values that a model refuses, worded as AWS words them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

ECHOED = 200
"""Characters of a refused value that a message repeats."""
NAMED = 50
"""Violations that one message names at most; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One value that the model refuses: where it stands, why, and the whole clause of the message."""

    member: str
    kind: Literal["required", "type", "length", "range", "pattern", "enum", "union"]
    text: str


def sentence(violations: Sequence[Violation]) -> str:
    """All violations in one message, in AWS's words."""
    count = len(violations)
    named = "; ".join(violation.text for violation in violations[:NAMED])
    more = f"; and {count - NAMED} more" if count > NAMED else ""
    return f"{count} validation error{'s' if count != 1 else ''} detected: {named}{more}"


def echo(value: Any) -> str:
    """A value as a message repeats it: cut short, without control characters."""
    text = value if isinstance(value, str) else str(value)[: ECHOED + 1]
    cut = text[:ECHOED]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return safe + "..." if len(text) > ECHOED else safe
