"""Analysis rules of configured tables: what queries may do with a table, in all collaborations.

https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_CreateConfiguredTableAnalysisRule.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.jobs.model import Resource
from modelyard.jobs.store import now
from modelyard.services.calls import moment
from modelyard.services.cleanrooms.backend import Backend, conflict, not_found
from modelyard.services.cleanrooms.configured_tables import ConfiguredTables
from modelyard.services.cleanrooms.policies import check_policy
from modelyard.wire.endpoint import Call, quick

Rule = Mapping[str, Any]


class AnalysisRules:
    """The operations on a configured table's one rule."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._tables = ConfiguredTables(backend)

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Gives a table its rule; a Fault if it has one."""
        found = self._tables.own(call, request)

        def edit(document: Mapping[str, Any]) -> Mapping[str, Any]:
            if rule := document.get("rule"):
                reason = f"Configured table {found.id} has a rule already, of type {rule['type']}"
                raise conflict(reason, "ALREADY_EXISTS", "CONFIGURED_TABLE", found.id)
            check_policy(request["analysisRulePolicy"], request["analysisRuleType"], document["allowedColumns"])
            return {**document, "rule": new_rule(request)}

        return {"analysisRule": _described(await self._backend.resources.edit(found, edit))}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A table's rule."""
        found = self._tables.own(call, request)
        check_type(call, request, found.document, "CONFIGURED_TABLE", found.id)
        return {"analysisRule": _described(found)}

    async def update(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Gives a table's rule another policy, which holds for queries from now on."""
        found = self._tables.own(call, request)

        def edit(document: Mapping[str, Any]) -> Mapping[str, Any]:
            rule = check_type(call, request, document, "CONFIGURED_TABLE", found.id)
            check_policy(request["analysisRulePolicy"], request["analysisRuleType"], document["allowedColumns"])
            return {**document, "rule": changed_rule(rule, request)}

        return {"analysisRule": _described(await self._backend.resources.edit(found, edit))}

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Takes a table's rule away: nothing can query it then."""
        found = self._tables.own(call, request)

        def edit(document: Mapping[str, Any]) -> Mapping[str, Any]:
            check_type(call, request, document, "CONFIGURED_TABLE", found.id)
            return {**document, "rule": None}

        await self._backend.resources.edit(found, edit)
        return {}


def new_rule(request: Mapping[str, Any]) -> Rule:
    """A rule as it is kept with what it belongs to."""
    time = now()
    kept = {"type": request["analysisRuleType"], "policy": request["analysisRulePolicy"]}
    return {**kept, "created": time, "updated": time}


def changed_rule(rule: Rule, request: Mapping[str, Any]) -> Rule:
    """A rule with the policy of a request."""
    return {**rule, "policy": request["analysisRulePolicy"], "updated": now()}


def check_type(call: Call, request: Mapping[str, Any], document: Mapping[str, Any], type: str, id: str) -> Rule:
    """The rule of what a request names, if it is of the type that the request names too; else a Fault."""
    rule: Rule | None = document.get("rule")
    if rule is None or rule["type"] != request["analysisRuleType"]:
        raise not_found(call, type, f"analysis rule of type {request['analysisRuleType']} for", id)
    return rule


def shown_rule(rule: Rule) -> dict[str, Any]:
    """What the answers say of any rule."""
    return {
        "type": rule["type"],
        "policy": rule["policy"],
        "createTime": moment(rule["created"]),
        "updateTime": moment(rule["updated"]),
    }


def _described(found: Resource) -> dict[str, Any]:
    return {
        "configuredTableId": found.id,
        "configuredTableArn": found.document["arn"],
        **shown_rule(found.document["rule"]),
    }
