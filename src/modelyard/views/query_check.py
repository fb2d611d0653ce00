"""The dry run of a query: would it be allowed, and which rule says no? Nothing is run, and nothing is spent."""

from typing import Any

from modelyard.analysis.model import Purpose, Refused
from modelyard.collaborations.budgets import Budgets
from modelyard.collaborations.model import Membership, NotAMember
from modelyard.collaborations.parties import Parties
from modelyard.collaborations.queries import Judged, Queries
from modelyard.views.ask import Ask, Views
from modelyard.views.ask import Refused as NotAnswered


class QueryCheckView:
    """The page that judges a query as one of the member who can query, for any active member."""

    def __init__(self, parties: Parties, queries: Queries, budgets: Budgets) -> None:
        self._parties = parties
        self._queries = queries
        self._budgets = budgets
        self.views: Views = {"/-/query-check/": ("POST", self._check)}

    async def _check(self, ask: Ask) -> Any:
        """Of `sql`, or a `template`'s ARN; for a result, which `receiver` gets, or for `model_association`'s ARN."""
        id = ask.required("membership")
        try:
            membership = self._parties.active(ask.owner, id)
        except NotAMember:
            raise NotAnswered(404, f"You have no active membership {id[:80]!r}") from None
        try:
            judged = await self._judge(self._asker(membership), ask)
            self._check_budgets(judged)
        except Refused as refused:
            return {"allowed": False, "code": refused.code, "table": refused.table, "reason": refused.reason}
        allowed = judged.allowed
        remaining = self._budgets.remaining(judged.collaboration, allowed.tables)
        return {
            "allowed": True,
            "tables": allowed.tables,
            "columns": allowed.columns,
            "rules": allowed.rules,
            "budgets": remaining,
        }

    async def _judge(self, asker: Membership, ask: Ask) -> Judged:
        association, parameters = ask.query.get("model_association"), _parameters(ask)
        if association:
            return await self._queries.judge(asker, parameters, Purpose.ADDITIONAL, model_association=association)
        receivers = [ask.query.get("receiver") or _receiver(asker)]
        return await self._queries.judge(asker, parameters, Purpose.DIRECT, receivers)

    def _asker(self, membership: Membership) -> Membership:
        """The membership that would ask."""
        for one in (membership, *self._parties.memberships(membership.collaboration)):
            if one.can("CAN_QUERY"):
                return one
        raise Refused("NOBODY_CAN_QUERY", "The member with the ability CAN_QUERY has not joined yet")

    def _check_budgets(self, judged: Judged) -> None:
        for table, left in self._budgets.remaining(judged.collaboration, judged.allowed.tables).items():
            if not left:
                raise Refused("BUDGET_SPENT", f"The access budget of table {table} is spent", table)


def _receiver(asker: Membership) -> str:
    """Who would get the rows if nobody is named: the asker, or else the first who may."""
    able = [one.account for one in asker.collaboration.members if "CAN_RECEIVE_RESULTS" in one.abilities]
    return next((one for one in able if one == asker.owner.account), able[0] if able else asker.owner.account)


def _parameters(ask: Ask) -> dict[str, Any]:
    """What is asked, as `sqlParameters`."""
    if template := ask.query.get("template"):
        values = {
            name.removeprefix("parameter."): text for name, text in ask.query.items() if name.startswith("parameter.")
        }
        return {"analysisTemplateArn": template, "parameters": values}
    return {"queryString": ask.required("sql")}
