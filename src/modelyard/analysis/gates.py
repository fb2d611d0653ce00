"""The gates of a table: may this kind of analysis touch it at all, whatever the query says?

The codes are those that GetSchema shows for a table, for queries whose rows go to a member (direct analysis) and for
those that only feed a model (additional analysis).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from modelyard.analysis.model import Analysis, Purpose, Refused, Table

KINDS = ("LIST", "AGGREGATION", "CUSTOM")
UNSERVED = ("differentialPrivacy", "aggregationThresholds", "comparisonControls")


def readiness(table: Table, purpose: Purpose) -> Sequence[tuple[str, str]]:
    """What stands in the way of every analysis of this purpose: (code, message), first things first; empty if ready."""
    rule = table.rule
    if rule is None:
        return [("ANALYSIS_RULE_MISSING", "The configured table has no analysis rule. Its owner must add one.")]
    reasons = [*_rule_reasons(rule), *_association_reasons(rule, table.association_rule)]
    return reasons + (_additional if purpose is Purpose.ADDITIONAL else _direct)(rule, table.association_rule)


def open_gates(analysis: Analysis, tables: Collection[Table]) -> Sequence[str]:
    """A sentence for each gate that this analysis passes on its way to these tables; Refused by a closed one."""
    for table in tables:
        for code, message in readiness(table, analysis.purpose):
            raise Refused(code, message, table.name)
    kinds = {str(table.rule["type"]) for table in tables if table.rule}
    if len(kinds) != 1:
        words = " and ".join(sorted(kinds))
        reason = f"The tables of the query have rules of the types {words}. Query tables of one type."
        raise Refused("ANALYSIS_RULE_TYPES_NOT_COMPATIBLE", reason)
    if analysis.template and kinds != {"CUSTOM"}:
        raise Refused("ANALYSIS_TEMPLATE_NOT_ALLOWED", "Analysis templates need tables with CUSTOM rules.")
    return [sentence for table in tables for sentence in _gates(analysis, table)]


def matches(entry: str, association: str) -> bool:
    """Whether an entry of `allowedAdditionalAnalyses` names this association: account and ids may be `*` alone."""
    wanted, given = entry.split(":", 5), association.split(":", 5)
    if len(wanted) != 6 or len(given) != 6 or wanted[:4] != given[:4] or wanted[4] not in ("*", given[4]):
        return False
    wanted_path, given_path = wanted[5].split("/", 3), given[5].split("/", 3)
    if len(wanted_path) != 4 or len(given_path) != 4 or wanted_path[::2] != given_path[::2]:
        return False
    return all(one in ("*", other) for one, other in zip(wanted_path[1::2], given_path[1::2], strict=True))


def _rule_reasons(rule: Mapping[str, Any]) -> list[tuple[str, str]]:
    if rule["type"] not in KINDS:
        return [("ANALYSIS_RULE_TYPES_NOT_COMPATIBLE", f"Rules of the type {rule['type']} are not served here.")]
    reasons = []
    if rule["type"] == "CUSTOM":
        if not rule.get("allowedAnalyses"):
            reasons.append(("ANALYSIS_TEMPLATES_NOT_CONFIGURED", "The table's rule allows no analyses yet."))
        elif "ANY_QUERY" in rule["allowedAnalyses"] and not rule.get("allowedAnalysisProviders"):
            reasons.append(
                ("ANALYSIS_PROVIDERS_NOT_CONFIGURED", "The table's rule names no account that may query it.")
            )
    for member in UNSERVED:
        if rule.get(member):
            message = f"The table's rule asks for {member}, which is not served here: no query may touch the table."
            reasons.append(("DIFFERENTIAL_PRIVACY_POLICY_NOT_CONFIGURED", message))
    return reasons


def _association_reasons(rule: Mapping[str, Any], association: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if association is None or association["type"] == rule["type"]:
        return []
    message = f"The collaboration's rule is of the type {association['type']}, the table's own is {rule['type']}."
    return [("ANALYSIS_RULE_TYPES_NOT_COMPATIBLE", message)]


def _additional(rule: Mapping[str, Any], association: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if rule["type"] == "AGGREGATION" or rule.get("additionalAnalyses") not in ("ALLOWED", "REQUIRED"):
        return [("ADDITIONAL_ANALYSES_NOT_ALLOWED", "The table's rule allows no additional analyses.")]
    if association is None:
        return [_MISSING]
    if not association.get("allowedAdditionalAnalyses"):
        return [("ADDITIONAL_ANALYSES_NOT_CONFIGURED", "The collaboration's rule names no additional analysis.")]
    return []


def _direct(rule: Mapping[str, Any], association: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    if rule.get("additionalAnalyses") == "REQUIRED":
        message = "The table's rule lets its rows go into additional analyses alone, never to a member."
        return [("RESULT_RECEIVERS_NOT_ALLOWED", message)]
    if association is None:
        return [_MISSING] if rule.get("additionalAnalyses") == "ALLOWED" else []
    if not association.get("allowedResultReceivers"):
        return [("RESULT_RECEIVERS_NOT_CONFIGURED", "The collaboration's rule names no account that may get results.")]
    return []


_MISSING = (
    "COLLABORATION_ANALYSIS_RULE_NOT_CONFIGURED",
    "The table's association has no collaboration analysis rule. Its owner must add one.",
)


def _gates(analysis: Analysis, table: Table) -> Sequence[str]:
    assert table.rule is not None
    sentences = [_provider(analysis, table, table.rule)] if table.rule["type"] == "CUSTOM" else []
    if analysis.purpose is Purpose.ADDITIONAL:
        return [*sentences, _model(analysis.model_association, table)]
    return [*sentences, *_receivers(analysis.receivers, table)]


def _provider(analysis: Analysis, table: Table, rule: Mapping[str, Any]) -> str:
    allowed, author = rule["allowedAnalyses"], analysis.asker
    if analysis.template:
        author = analysis.template.author
        if analysis.template.arn in allowed:
            return f"{table.name}: the rule allows the template {analysis.template.arn}."
    if "ANY_QUERY" not in allowed:
        reason = "The table's rule allows certain analysis templates alone. Ask its owner to allow this analysis."
        raise Refused("ANALYSIS_TEMPLATES_NOT_CONFIGURED", reason, table.name)
    if author not in rule.get("allowedAnalysisProviders", ()):
        reason = f"The account {author} is not among those whose queries the table's rule allows."
        raise Refused("ANALYSIS_PROVIDERS_NOT_CONFIGURED", reason, table.name)
    return f"{table.name}: the rule allows any query of {author}."


def _model(association: str | None, table: Table) -> str:
    assert table.association_rule is not None
    entries = table.association_rule["allowedAdditionalAnalyses"]
    entry = next((entry for entry in entries if association and matches(entry, association)), None)
    if entry is None:
        reason = f"The collaboration's rule of the table does not name {association or 'a model'} as an analysis."
        raise Refused("ADDITIONAL_ANALYSES_NOT_ALLOWED", reason, table.name)
    return f"{table.name}: the collaboration's rule allows additional analyses by {entry}."


def _receivers(receivers: Sequence[str], table: Table) -> Sequence[str]:
    if not receivers:
        raise Refused("RESULT_RECEIVERS_NOT_CONFIGURED", "The query names no account that gets its result. Name one.")
    if table.association_rule is None:
        return []
    for receiver in receivers:
        if receiver not in table.association_rule["allowedResultReceivers"]:
            reason = f"The account {receiver} is not among those that may get results of this table."
            raise Refused("RESULT_RECEIVERS_NOT_ALLOWED", reason, table.name)
    return [f"{table.name}: the collaboration's rule allows results for {', '.join(receivers)}."]
