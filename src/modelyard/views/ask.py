"""What a page is asked, and how a view refuses it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from modelyard.jobs.model import Owner
from modelyard.wire.endpoint import Scope

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000


class Refused(Exception):
    """A request that cannot be answered: its status, and what to do about it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Ask:
    """What a page is asked: by whom, and the members of the query.

    here: whether the caller is on this machine, and the operator as far as that is checked.
    """

    owner: Owner
    query: Mapping[str, str]
    here: bool

    def required(self, name: str) -> str:
        """A member that must be there."""
        if not (value := self.query.get(name)):
            raise Refused(400, f"{name} is missing")
        return value

    def limit(self) -> int:
        """How many items are wanted."""
        text = self.query.get("limit", str(DEFAULT_LIMIT))
        if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= MAX_LIMIT):
            raise Refused(400, f"limit: {text[:40]!r} is no number from 1 to {MAX_LIMIT}")
        return int(text)

    def by_operator(self) -> "Ask":
        """The same, if it is asked from the server's own machine: for what is the operator's to do."""
        if not self.here:
            raise Refused(403, "This is done from the server's own machine only, by whoever can read its data folder")
        return self


View = Callable[[Ask], Any]
"""Answers with what becomes JSON, or with a coroutine of it."""
Views = Mapping[str, tuple[str, View]]
"""The views of one noun by their paths, each with the method that it answers."""


def query_of(scope: Scope) -> dict[str, str]:
    """The members of the query string, each once; none at all if there are too many."""
    try:
        return dict(parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=20))
    except ValueError:
        return {}
