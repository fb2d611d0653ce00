"""What an analysis rule may say: the members of its policy, against the columns of its table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from modelyard.services.cleanrooms.backend import invalid

UNSERVED = ("differentialPrivacy", "aggregationThresholds", "comparisonControls")
"""Members of a custom rule that would promise what is not kept here."""
ELSEWHERE = ("allowedResultReceivers", "allowedAdditionalAnalyses")
"""Members of a collaboration's rule, which newer models take for the table's too."""
WILDCARDS = ("ANY_QUERY", "ANY_JOB")


def members(policy: Mapping[str, Any], type: str) -> Mapping[str, Any]:
    """The members of a policy of that type; a Fault if it is one of another."""
    versions = policy["v1"]
    if list(versions) != [type.lower()]:
        given = ", ".join(versions) or "nothing"
        raise invalid("analysisRulePolicy.v1", f"a rule of type {type} has the member {type.lower()}, not {given}")
    found: Mapping[str, Any] = versions[type.lower()]
    return found


def check_policy(policy: Mapping[str, Any], type: str, columns: Sequence[str]) -> None:
    """A Fault unless a table's policy makes sense for its allowed columns, and all of it will be kept."""
    rule = members(policy, type)
    if unserved := [name for name in UNSERVED if name in rule]:
        reason = f"{unserved[0]} is not served: a rule that has it would not be kept"
        raise invalid(f"analysisRulePolicy.v1.custom.{unserved[0]}", reason)
    if elsewhere := [name for name in ELSEWHERE if name in rule]:
        raise invalid("analysisRulePolicy", f"{elsewhere[0]} belongs in the association's analysis rule")
    check_columns(policy, columns, "analysisRulePolicy")
    if type == "CUSTOM":
        _check_custom(rule)
    else:
        _check_disjoint(rule)


def check_columns(policy: Mapping[str, Any], columns: Sequence[str], where: str) -> None:
    """A Fault if a policy names a column that is not allowed for queries at all."""
    for type, rule in policy["v1"].items():
        for member, name in _named(rule):
            if name not in columns:
                reason = f"{name}, which {type}.{member} names, is none of the table's allowed columns"
                raise invalid(where, f"{reason}: {', '.join(columns)[:1000]}")


def _named(rule: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The columns that a rule names, each with the member that does."""
    for member in ("joinColumns", "listColumns", "dimensionColumns", "disallowedOutputColumns"):
        yield from ((member, name) for name in rule.get(member, ()))
    for one in rule.get("aggregateColumns", ()):
        yield from (("aggregateColumns", name) for name in one["columnNames"])
    yield from (("outputConstraints", one["columnName"]) for one in rule.get("outputConstraints", ()))


def _check_custom(rule: Mapping[str, Any]) -> None:
    analyses, providers = rule["allowedAnalyses"], rule.get("allowedAnalysisProviders", ())
    wild = [one for one in analyses if one in WILDCARDS]
    if wild and len(wild) < len(analyses):
        reason = f"{wild[0]} stands for all analyses: no templates are named beside it"
        raise invalid("analysisRulePolicy.v1.custom.allowedAnalyses", reason)
    if bool(wild) != bool(providers):
        reason = "it goes with ANY_QUERY in allowedAnalyses, which needs the accounts whose queries are meant"
        raise invalid("analysisRulePolicy.v1.custom.allowedAnalysisProviders", reason)


def _check_disjoint(rule: Mapping[str, Any]) -> None:
    joined = rule["joinColumns"]
    for member in ("listColumns", "dimensionColumns"):
        if both := _both(joined, rule.get(member, ())):
            reason = f"{both} is in joinColumns and in {member}; a column that joins is no output"
            raise invalid("analysisRulePolicy", reason)
    aggregated = [name for one in rule.get("aggregateColumns", ()) for name in one["columnNames"]]
    if both := _both(aggregated, rule.get("dimensionColumns", ())):
        raise invalid("analysisRulePolicy", f"{both} is in aggregateColumns and in dimensionColumns")


def _both(one: Iterable[str], other: Iterable[str]) -> str | None:
    return next(iter(sorted({*one} & {*other})), None)
