"""The audit log of a membership, for the one whose it is."""

from dataclasses import asdict
from typing import Any

from modelyard.collaborations.audit import Audit
from modelyard.collaborations.model import NotAMember
from modelyard.collaborations.parties import Parties
from modelyard.jobs.model import Owner
from modelyard.views.ask import Ask, Refused, Views


class AuditView:
    """The page over all entries that concern a member: what it brought, and what it did."""

    def __init__(self, parties: Parties, audit: Audit) -> None:
        self._parties = parties
        self._audit = audit
        self.views: Views = {"/-/audit/": ("GET", self._list)}

    def _list(self, ask: Ask) -> Any:
        """The newest entries first; `following` is the value of `before` for those that came earlier.

        Who has left names the collaboration, since the membership is gone.
        """
        collaboration = self._collaboration(ask.owner, ask.required("membership"))
        before = ask.query.get("before")
        if before is not None and not (before.isascii() and before.isdigit() and len(before) < 19):
            raise Refused(400, f"before: {before[:40]!r} is none of ours; repeat `following` from an answer")
        position = None if before is None else int(before)
        page = self._audit.page(ask.owner.account, collaboration, position, ask.limit())
        return {"entries": [asdict(entry) for entry in page.items], "following": page.following}

    def _collaboration(self, owner: Owner, id: str) -> str:
        """The id of the collaboration that an id of one's membership, or of itself, means."""
        try:
            return self._parties.membership(owner, id).collaboration.id
        except NotAMember:
            pass
        try:
            self._parties.took_part(owner, id)
        except NotAMember:
            raise Refused(404, f"You have no membership {id[:80]!r}") from None
        return id
