"""What stages report while they run: read in pieces, so that no answer grows with the length of a run."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from modelyard.engines.base import Engine
from modelyard.jobs.model import StageRecord

MAX_BYTES = 256 * 1024
_TAIL_BYTES = 32 * 1024

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Position:
    """How far a stage's events were read: an attempt, and bytes of its file."""

    attempt: int = 1
    offset: int = 0

    @classmethod
    def parse(cls, text: str) -> "Position":
        """The position that `str` wrote; ValueError for anything else."""
        attempt, _, offset = text.partition(".")
        if not (attempt.isascii() and attempt.isdigit() and offset.isascii() and offset.isdigit()):
            raise ValueError(f"{text[:40]!r} is no position of ours")
        return cls(min(int(attempt[:9]), 10**6), int(offset[:18]))

    def __str__(self) -> str:
        return f"{self.attempt}.{self.offset}"


def read(engine: Engine, record: StageRecord, since: Position) -> tuple[list[Event], Position]:
    """The events after a position, at most `MAX_BYTES` of them, and the position behind them.

    An unchanged position says that there are no more at the moment.
    """
    data = _bytes(engine.attempt_folder(record.task, since.attempt) / "events.jsonl", since.offset, MAX_BYTES)
    whole, newline, _ = data.rpartition(b"\n")
    if newline or len(data) == MAX_BYTES:
        return _events(whole), Position(since.attempt, since.offset + (len(whole) + 1 if newline else len(data)))
    following = since.attempt < record.attempt
    return [], Position(since.attempt + 1) if following else since


def latest(engine: Engine, record: StageRecord) -> Event | None:
    """The last event of a stage's latest attempt that tells a phase, else the last one; None without any."""
    path = engine.attempt_folder(record.task, record.attempt) / "events.jsonl"
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    events = _events(_bytes(path, max(0, size - _TAIL_BYTES), _TAIL_BYTES))
    told = [event for event in events if "phase" in event] or events
    return told[-1] if told else None


def _events(lines: bytes) -> list[Event]:
    """The lines that are JSON objects; a tail's first line is mostly half of one, and left out."""
    events: list[Event] = []
    for line in lines.splitlines():
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def _bytes(path: Path, offset: int, size: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
