"""Analysis rules of associations: who may get results of a table in one collaboration, and which models may use it.

https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_CreateConfiguredTableAssociationAnalysisRule.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.collaborations.model import Collaboration, Membership
from modelyard.jobs.model import Resource
from modelyard.services.cleanrooms.analysis_rules import changed_rule, check_type, new_rule, shown_rule
from modelyard.services.cleanrooms.backend import Backend, conflict, invalid
from modelyard.services.cleanrooms.policies import members
from modelyard.services.cleanrooms.table_associations import TableAssociations
from modelyard.wire.endpoint import Call, quick

TYPE = "CONFIGURED_TABLE_ASSOCIATION"


class AssociationRules:
    """The operations on an association's one rule, which AWS's console calls the collaboration's."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._associations = TableAssociations(backend)

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Gives an association its rule, of the type of its table's rule; a Fault if it has one."""
        found, membership = self._associations.own(call, request)
        self._check(request, found, membership.collaboration)

        def edit(document: Mapping[str, Any]) -> Mapping[str, Any]:
            if rule := document.get("rule"):
                reason = f"Association {found.id} has a rule already, of type {rule['type']}"
                raise conflict(reason, "ALREADY_EXISTS", TYPE, found.id)
            return {**document, "rule": new_rule(request)}

        return {"analysisRule": _described(await self._backend.resources.edit(found, edit), membership)}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """An association's rule."""
        found, membership = self._associations.own(call, request)
        check_type(call, request, found.document, TYPE, found.id)
        return {"analysisRule": _described(found, membership)}

    async def update(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Gives an association's rule another policy, which holds for queries from now on."""
        found, membership = self._associations.own(call, request)
        self._check(request, found, membership.collaboration)

        def edit(document: Mapping[str, Any]) -> Mapping[str, Any]:
            rule = check_type(call, request, document, TYPE, found.id)
            return {**document, "rule": changed_rule(rule, request)}

        return {"analysisRule": _described(await self._backend.resources.edit(found, edit), membership)}

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Takes an association's rule away: no result and no model may use the table then."""
        found, _ = self._associations.own(call, request)

        def edit(document: Mapping[str, Any]) -> Mapping[str, Any]:
            check_type(call, request, document, TYPE, found.id)
            return {**document, "rule": None}

        await self._backend.resources.edit(found, edit)
        return {}

    def _check(self, request: Mapping[str, Any], found: Resource, collaboration: Collaboration) -> None:
        """A Fault unless the rule goes with the table's, and names members that can receive results."""
        type = request["analysisRuleType"]
        table_rule = self._backend.tables.configured(found).document.get("rule")
        if table_rule and table_rule["type"] != type:
            raise invalid("analysisRuleType", f"the table's rule is of type {table_rule['type']}; so is this to be")
        rule = members(request["analysisRulePolicy"], type)
        able = {one.account for one in collaboration.members if "CAN_RECEIVE_RESULTS" in one.abilities}
        for account in rule.get("allowedResultReceivers", ()):
            if account not in able:
                reason = f"account {account} is no member with the ability CAN_RECEIVE_RESULTS"
                raise invalid("analysisRulePolicy.allowedResultReceivers", reason)


def _described(found: Resource, membership: Membership) -> dict[str, Any]:
    return {
        "membershipIdentifier": membership.id,
        "configuredTableAssociationId": found.id,
        "configuredTableAssociationArn": found.document["arn"],
        **shown_rule(found.document["rule"]),
    }
