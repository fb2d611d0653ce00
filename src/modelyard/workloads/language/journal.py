"""What a task has finished, kept so that a kill at any moment loses nothing that was noted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """A file of JSON values, a line each, in the order of their noting. What a kill has left of a line is cut off."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("a+b") as file:
            file.seek(0)
            file.truncate(sum(len(line) for line in file if line.endswith(b"\n")))

    def note(self, value: Any) -> int:
        """Adds a value; tells its place."""
        with self._path.open("ab") as file:
            place = file.tell()
            file.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")
        return place

    def values(self) -> Iterator[tuple[int, Any]]:
        """The places and values of all that was noted."""
        place = 0
        with self._path.open("rb") as file:
            for line in file:
                yield place, json.loads(line)
                place += len(line)

    def at(self, place: int) -> Any:
        """The value at a place."""
        with self._path.open("rb") as file:
            file.seek(place)
            return json.loads(file.readline())
