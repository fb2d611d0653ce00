"""Privacy budget templates: how often a collaboration may use one of a member's tables.

Differential privacy is not served: a budget of noise that nothing adds would be a promise that is not kept.
https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_CreatePrivacyBudgetTemplate.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.collaborations import arns, parties
from modelyard.collaborations.budgets import LIFETIME, TEMPLATE, access_budget, budget
from modelyard.collaborations.model import Collaboration, Membership
from modelyard.collaborations.tables import ASSOCIATION
from modelyard.jobs import resources
from modelyard.jobs.model import AlreadyExists, NotFound, Resource
from modelyard.services.calls import listed, moment, next_token, owner
from modelyard.services.cleanrooms.backend import Backend, conflict, invalid, not_found, search, tags_of
from modelyard.services.cleanrooms.configured_tables import ACTIVE
from modelyard.wire.endpoint import Call, quick

TYPE, TYPE_MEMBER = "ACCESS_BUDGET", "accessBudget"


class BudgetTemplates:
    """The operations on budget templates and on what is left of them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Gives one of the caller's associations its budgets; a Fault if it has some."""
        membership = self._backend.parties.active(owner(call), request["membershipIdentifier"])
        asked = _asked(request)
        association = self._association(membership, asked["resourceArn"])
        id = arns.new_id()
        document = {
            "arn": arns.privacy_budget_template(owner(call), membership.id, id),
            "resourceArn": asked["resourceArn"],
            "association": association.id,
            "table": association.document["name"],
            "budgets": _budgets(asked["budgetParameters"]),
            "autoRefresh": request.get("autoRefresh", "NONE"),
        }
        root = membership.collaboration.arn
        made = resources.new(owner(call), TEMPLATE, id, association.id, ACTIVE, document, membership.arn, root)
        try:
            kept = await self._backend.resources.create(
                made,
                needs=association,
                tagged=tags_of(request),
                within=lambda connection: parties.require(connection, membership),
            )
        except AlreadyExists as taken:
            reason = f"Association {association.id} has the budget template {taken.id} already"
            raise conflict(reason, "ALREADY_EXISTS", "CONFIGURED_TABLE_ASSOCIATION", association.id) from None
        return {"privacyBudgetTemplate": _described(kept, membership)}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One template of the caller's."""
        found, membership = self._own(call, request)
        return {"privacyBudgetTemplate": _described(found, membership)}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the templates in a membership of the caller's."""
        membership = self._backend.parties.membership(owner(call), request["membershipIdentifier"])
        page = self._backend.resources.page(owner(call), TEMPLATE, search(request, base=membership.arn))
        return listed("privacyBudgetTemplateSummaries", page, lambda one: _summary(one, membership))

    async def update(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Gives an association new budgets, of which nothing is used."""
        found, membership = self._own(call, request)
        if request["privacyBudgetType"] != TYPE:
            raise invalid("privacyBudgetType", f"this template is of type {TYPE}")
        if parameters := request.get("parameters", {}).get("accessBudget"):
            renewed = {"budgets": _budgets(parameters["budgetParameters"])}
            found = await self._backend.resources.edit(found, lambda document: {**document, **renewed})
        return {"privacyBudgetTemplate": _described(found, membership)}

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Takes the budgets off: the table may then be used as often as the rules allow."""
        found, _ = self._own(call, request)
        await self._backend.resources.delete(found)
        return {}

    @quick
    def list_budgets(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of what is left in a membership of the caller's."""
        membership = self._backend.parties.membership(owner(call), request["membershipIdentifier"])
        page = self._backend.resources.page(owner(call), TEMPLATE, search(request, base=membership.arn))
        return {
            "privacyBudgetSummaries": [
                {**_left(one), **_of_member(membership)} for one in _wanted(page.items, request)
            ],
            "nextToken": next_token(page.following),
        }

    @quick
    def list_budgets_of_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of what is left of all members' budgets."""
        collaboration = self._backend.collaboration(call, request)
        page = self._backend.resources.page_under(call.region, TEMPLATE, search(request, root=collaboration.arn))
        return {
            "collaborationPrivacyBudgetSummaries": [
                {**_left(one), **_of_creator(one, collaboration)} for one in _wanted(page.items, request)
            ],
            "nextToken": next_token(page.following),
        }

    @quick
    def get_of_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One template of any member, for any other."""
        collaboration, id = self._backend.collaboration(call, request), request["privacyBudgetTemplateIdentifier"]
        for one in self._backend.budgets.of(collaboration):
            if one.id == id:
                return {"collaborationPrivacyBudgetTemplate": _shared(one, collaboration)}
        raise not_found(call, "COLLABORATION", "privacy budget template in this collaboration,", id)

    @quick
    def list_of_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the templates of all members."""
        collaboration = self._backend.collaboration(call, request)
        page = self._backend.resources.page_under(call.region, TEMPLATE, search(request, root=collaboration.arn))
        return listed(
            "collaborationPrivacyBudgetTemplateSummaries", page, lambda one: _shared_summary(one, collaboration)
        )

    def _own(self, call: Call, request: Mapping[str, Any]) -> tuple[Resource, Membership]:
        id = request["privacyBudgetTemplateIdentifier"]
        return self._backend.in_membership(call, request, TEMPLATE, id, "privacy budget template")

    def _association(self, membership: Membership, text: str) -> Resource:
        """The association in that membership that the budgets are for; else a Fault."""
        arn = arns.parse(text)
        try:
            if arn and arn.membership == membership.id and arn.owner == membership.owner:
                found = self._backend.resources.get(membership.owner, ASSOCIATION, arn.id)
                if found.document["arn"] == text:
                    return found
        except NotFound:
            pass
        reason = f"{text} is no configured table association of membership {membership.id}"
        raise invalid("parameters.accessBudget.resourceArn", reason)


def _asked(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The access budget that a request describes; a Fault for one of another type."""
    if request["privacyBudgetType"] != TYPE or TYPE_MEMBER not in request["parameters"]:
        raise invalid("privacyBudgetType", f"only {TYPE} is served, with accessBudget in parameters: no noise is added")
    found: Mapping[str, Any] = request["parameters"][TYPE_MEMBER]
    return found


def _budgets(parameters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The budgets of a request as they are kept; a Fault for two of one sort."""
    lasting = [one["type"] == LIFETIME for one in parameters]
    if len({*lasting}) < len(lasting):
        reason = f"two budgets are one for each day, week or month, and one of type {LIFETIME}"
        raise invalid("parameters.accessBudget.budgetParameters", reason)
    if any(one["type"] == LIFETIME and one.get("autoRefresh") == "ENABLED" for one in parameters):
        raise invalid("parameters.accessBudget.budgetParameters", f"a {LIFETIME} budget is never refreshed")
    return [budget(one["type"], one["budget"], _refresh(one)) for one in parameters]


def _refresh(parameters: Mapping[str, Any]) -> str | None:
    """A budget of a period is refreshed only where that was asked for."""
    return None if parameters["type"] == LIFETIME else parameters.get("autoRefresh", "DISABLED")


def _wanted(found: Sequence[Resource], request: Mapping[str, Any]) -> Sequence[Resource]:
    if request["privacyBudgetType"] != TYPE:
        return []
    arn = request.get("accessBudgetResourceArn")
    return [one for one in found if arn in (None, one.document["resourceArn"])]


def _summary(found: Resource, membership: Membership) -> dict[str, Any]:
    return {**_facts(found), **_of_member(membership), "privacyBudgetType": TYPE}


def _shared_summary(found: Resource, collaboration: Collaboration) -> dict[str, Any]:
    return {**_facts(found), **_of_creator(found, collaboration), "privacyBudgetType": TYPE}


def _described(found: Resource, membership: Membership) -> dict[str, Any]:
    return {**_summary(found, membership), **_parameters(found)}


def _shared(found: Resource, collaboration: Collaboration) -> dict[str, Any]:
    return {**_shared_summary(found, collaboration), **_parameters(found)}


def _left(found: Resource) -> dict[str, Any]:
    """What is left of a template's budgets, but for whose they are."""
    facts = _facts(found)
    return {
        "id": facts["id"],
        "privacyBudgetTemplateId": facts["id"],
        "privacyBudgetTemplateArn": facts["arn"],
        "type": TYPE,
        "createTime": facts["createTime"],
        "updateTime": facts["updateTime"],
        "budget": {TYPE_MEMBER: access_budget(found)},
    }


def _facts(found: Resource) -> dict[str, Any]:
    return {
        "id": found.id,
        "arn": found.document["arn"],
        "createTime": moment(found.created),
        "updateTime": moment(found.updated),
    }


def _of_member(membership: Membership) -> dict[str, Any]:
    collaboration = membership.collaboration
    whose = {"membershipId": membership.id, "membershipArn": membership.arn}
    return {**whose, "collaborationId": collaboration.id, "collaborationArn": collaboration.arn}


def _of_creator(found: Resource, collaboration: Collaboration) -> dict[str, Any]:
    whose = {"creatorAccountId": found.owner.account}
    return {**whose, "collaborationId": collaboration.id, "collaborationArn": collaboration.arn}


def _parameters(found: Resource) -> dict[str, Any]:
    budgets = [{name: one[name] for name in ("type", "budget", "autoRefresh")} for one in found.document["budgets"]]
    parameters = {TYPE_MEMBER: {"budgetParameters": budgets, "resourceArn": found.document["resourceArn"]}}
    return {"autoRefresh": found.document["autoRefresh"], "parameters": parameters}
