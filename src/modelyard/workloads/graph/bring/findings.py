"""What a check found: problems, which end a job, and warnings, which may spoil its result."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

MOST = 200
"""Findings of each kind that are told; more are counted."""

_PLACED = re.compile(r"(?s)(?P<file>.+?), line (?P<line>\d+)(?:, column '(?P<column>.*?)')?: (?P<message>.*)")
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: the file, the line and the column where there are such, and a sentence."""

    text: str
    file: str | None = None
    line: int | None = None
    column: str | None = None

    @classmethod
    def of(cls, text: str) -> "Finding":
        """Takes file and line out of a message that begins with them."""
        if (match := _PLACED.fullmatch(text)) is None:
            return cls(text)
        return cls(text, match["file"], int(match["line"]), match["column"])


@dataclass
class Findings:
    """What was found so far, the first `MOST` of each kind, and how much was read."""

    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    more: int = 0
    """Findings that are not among them."""
    nodes: dict[str, int] = field(default_factory=dict)
    edges: dict[str, int] = field(default_factory=dict)

    @property
    def fine(self) -> bool:
        """Whether data processing would take the export."""
        return not self.problems

    def problem(self, text: str) -> None:
        """Adds what ends a job."""
        self._add(self.problems, text)

    def problems_of(self, errors: Iterable[Exception]) -> None:
        """Adds the messages of errors."""
        for error in errors:
            self.problem(str(error))

    def warn(self, text: str) -> None:
        """Adds what may spoil a result."""
        self._add(self.warnings, text)

    def _add(self, found: list[Finding], text: str) -> None:
        if len(found) < MOST:
            found.append(Finding.of(text))
        else:
            self.more += 1


def document(found: Findings) -> dict[str, Any]:
    """The findings as JSON."""
    return {
        "fine": found.fine,
        "problems": [vars(one) for one in found.problems],
        "warnings": [vars(one) for one in found.warnings],
        "more": found.more,
        "nodes": found.nodes,
        "edges": found.edges,
    }


def shown(found: Findings) -> RenderableType:
    """The findings, a line each, and the verdict."""
    lines = [Text.assemble(("problem", "bold red"), "  ", _plain(one.text)) for one in found.problems]
    lines += [Text.assemble(("warning", "yellow"), "  ", _plain(one.text)) for one in found.warnings]
    if found.more:
        lines.append(Text(f"… and {found.more:,} more"))
    size = f"{sum(found.nodes.values()):,} nodes of {len(found.nodes):,} types, "
    size += f"{sum(found.edges.values()):,} edges of {len(found.edges):,} types"
    verdict = "nothing is wrong" if found.fine else f"{_count(len(found.problems), 'problem')} to solve"
    lines.append(Text(f"{size}: {verdict}", style="green" if found.fine else "red"))
    return Group(*lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _plain(text: str) -> str:
    return _STEERING.sub(lambda found: repr(found[0])[1:-1], text)
