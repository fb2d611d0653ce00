"""What a party's container did wrong. It ends the job, and neither its logs nor what was finished before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Failure(Exception):
    """A container's failure.

    code: stable, for programs. message: our own words, of which the container said none: everyone may read it.
    said: account -> the container's own words as that account's log policy shows them.
    """

    code: str
    message: str
    said: Mapping[str, str] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """As the task's result tells it."""
        return {"code": self.code, "message": self.message} | ({"said": dict(self.said)} if self.said else {})
