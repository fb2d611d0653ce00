from collections.abc import Mapping
from dataclasses import replace

import pytest
from tests.analysis.tables import (
    BANK,
    MODEL,
    REGION,
    SHOP,
    STRANGER,
    TEMPLATE,
    custom,
    direct,
    grouped,
    listed,
    tables,
)

from modelyard.analysis.check import check, readiness
from modelyard.analysis.gates import matches
from modelyard.analysis.model import Analysis, Purpose, Refused, Table, Template

SQL = "SELECT age FROM bank"
FEEDS = {"type": "CUSTOM", "allowedResultReceivers": [], "allowedAdditionalAnalyses": [MODEL]}


def code(analysis: Analysis, over: Mapping[str, Table]) -> str:
    with pytest.raises(Refused) as refused:
        check(analysis, over)
    return refused.value.code


def channel(sql: str = SQL, model: str | None = MODEL) -> Analysis:
    return Analysis(sql, BANK, Purpose.ADDITIONAL, model_association=model)


def test_a_channel_needs_the_rule_of_the_table_and_that_of_the_collaboration() -> None:
    allowed = custom(additionalAnalyses="ALLOWED")
    assert check(channel(), tables(allowed, None, FEEDS)).rules == [
        f"bank: the rule allows any query of {BANK}.",
        f"bank: the collaboration's rule allows additional analyses by {MODEL}.",
    ]
    assert check(channel(), tables(custom(additionalAnalyses="REQUIRED"), None, FEEDS)).sql
    assert code(channel(), tables(custom(), None, FEEDS)) == "ADDITIONAL_ANALYSES_NOT_ALLOWED"
    not_allowed = custom(additionalAnalyses="NOT_ALLOWED")
    assert code(channel(), tables(not_allowed, None, FEEDS)) == "ADDITIONAL_ANALYSES_NOT_ALLOWED"
    assert code(channel(), tables(allowed, None)) == "COLLABORATION_ANALYSIS_RULE_NOT_CONFIGURED"
    nothing = {**FEEDS, "allowedAdditionalAnalyses": []}
    assert code(channel(), tables(allowed, None, nothing)) == "ADDITIONAL_ANALYSES_NOT_CONFIGURED"
    assert code(channel(model=None), tables(allowed, None, FEEDS)) == "ADDITIONAL_ANALYSES_NOT_ALLOWED"
    assert code(channel(model=MODEL + "x"), tables(allowed, None, FEEDS)) == "ADDITIONAL_ANALYSES_NOT_ALLOWED"
    of_lists = {**FEEDS, "type": "LIST"}
    assert code(channel(), tables(allowed, None, of_lists)) == "ANALYSIS_RULE_TYPES_NOT_COMPATIBLE"


def test_every_table_of_a_channel_must_allow_it() -> None:
    over = tables(custom(additionalAnalyses="ALLOWED"), custom(), FEEDS)
    with pytest.raises(Refused) as refused:
        check(channel("SELECT age, (SELECT max(spent) FROM shop) AS most FROM bank"), over)
    assert (refused.value.code, refused.value.table) == ("ADDITIONAL_ANALYSES_NOT_ALLOWED", "shop")


def test_tables_with_aggregation_rules_feed_no_channel() -> None:
    feeds = {**FEEDS, "type": "AGGREGATION"}
    over = tables(grouped("age", additionalAnalyses="ALLOWED"), None, feeds)
    assert code(channel("SELECT age, SUM(balance) FROM bank GROUP BY age"), over) == "ADDITIONAL_ANALYSES_NOT_ALLOWED"


def test_results_go_to_allowed_receivers_alone() -> None:
    receivers = {"type": "CUSTOM", "allowedResultReceivers": [BANK]}
    over = tables(custom(), None, receivers)
    assert f"bank: the collaboration's rule allows results for {BANK}." in check(direct(SQL), over).rules
    assert code(direct(SQL, receivers=[SHOP]), over) == "RESULT_RECEIVERS_NOT_ALLOWED"
    assert code(direct(SQL, receivers=[BANK, SHOP]), over) == "RESULT_RECEIVERS_NOT_ALLOWED"
    assert code(direct(SQL, receivers=[]), over) == "RESULT_RECEIVERS_NOT_CONFIGURED"
    required = tables(custom(additionalAnalyses="REQUIRED"), None, receivers)
    assert code(direct(SQL), required) == "RESULT_RECEIVERS_NOT_ALLOWED"
    nobody = tables(custom(), None, {"type": "CUSTOM", "allowedResultReceivers": []})
    assert code(direct(SQL), nobody) == "RESULT_RECEIVERS_NOT_CONFIGURED"
    both = tables(custom(additionalAnalyses="ALLOWED"), None)
    assert code(direct(SQL), both) == "COLLABORATION_ANALYSIS_RULE_NOT_CONFIGURED"


def test_queries_need_a_rule_on_every_table_and_one_type_of_rule() -> None:
    assert code(direct(SQL), tables(None, custom())) == "ANALYSIS_RULE_MISSING"
    both = "SELECT DISTINCT age FROM bank b JOIN shop s ON b.id = s.id"
    assert code(direct(both), tables(listed("age"), custom())) == "ANALYSIS_RULE_TYPES_NOT_COMPATIBLE"
    assert (
        code(direct(SQL), tables({**custom(), "type": "ID_MAPPING_TABLE"}, None))
        == "ANALYSIS_RULE_TYPES_NOT_COMPATIBLE"
    )


def test_custom_rules_name_who_may_ask_and_which_template() -> None:
    assert code(direct(SQL), tables(custom(allowedAnalyses=[]), None)) == "ANALYSIS_TEMPLATES_NOT_CONFIGURED"
    assert code(direct(SQL, asker=STRANGER), tables(custom(), None)) == "ANALYSIS_PROVIDERS_NOT_CONFIGURED"
    no_one = custom(allowedAnalysisProviders=[])
    assert code(direct(SQL), tables(no_one, None)) == "ANALYSIS_PROVIDERS_NOT_CONFIGURED"
    one = tables(custom(allowedAnalyses=[TEMPLATE], allowedAnalysisProviders=[]), None)
    assert code(direct(SQL), one) == "ANALYSIS_TEMPLATES_NOT_CONFIGURED"
    template = Template(TEMPLATE, SHOP)
    assert check(direct(SQL, template=template), one).sql
    assert code(direct(SQL, template=replace(template, arn=TEMPLATE + "x")), one) == "ANALYSIS_TEMPLATES_NOT_CONFIGURED"


def test_the_author_of_a_template_counts_and_not_who_runs_it() -> None:
    over = tables(custom(), None)
    assert code(direct(SQL, template=Template(TEMPLATE, SHOP)), over) == "ANALYSIS_PROVIDERS_NOT_CONFIGURED"
    assert check(direct(SQL, asker=STRANGER, template=Template(TEMPLATE, BANK)), over).sql


def test_templates_are_for_custom_rules() -> None:
    template = Template(TEMPLATE, BANK)
    over = tables(grouped("age"), None)
    asked = direct("SELECT SUM(balance) FROM bank", template=template)
    assert code(asked, over) == "ANALYSIS_TEMPLATE_NOT_ALLOWED"


@pytest.mark.parametrize("member", ["differentialPrivacy", "aggregationThresholds", "comparisonControls"])
def test_rules_with_promises_that_are_not_kept_let_nothing_through(member: str) -> None:
    over = tables(custom(**{member: {"columns": [{"name": "id"}]}}), None)
    assert code(direct(SQL), over) == "DIFFERENTIAL_PRIVACY_POLICY_NOT_CONFIGURED"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (MODEL, True),
        (f"{REGION}:*:membership/*/configured-model-algorithm-association/*", True),
        (f"{REGION}:{BANK}:membership/*/configured-model-algorithm-association/a-1", True),
        (f"{REGION}:{SHOP}:membership/*/configured-model-algorithm-association/*", False),
        (f"{REGION}:*:membership/m-2/configured-model-algorithm-association/*", False),
        (f"{REGION}:*:membership/m*/configured-model-algorithm-association/*", False),
        (f"{REGION}:*:membership/*/configured-model-algorithm-association/a*", False),
        (f"{REGION}:*:membership/*/configuredaudiencemodelassociation/*", False),
        ("arn:aws:cleanrooms-ml:*:*:membership/*/configured-model-algorithm-association/*", False),
        ("arn:aws:cleanrooms-ml:eu-west-1:*:membership/*/configured-model-algorithm-association/*", False),
        ("*", False),
        ("", False),
    ],
)
def test_wildcards_stand_for_the_account_and_ids_alone(entry: str, expected: bool) -> None:
    assert matches(entry, MODEL) is expected


def test_readiness_tells_all_reasons() -> None:
    table = tables(custom(additionalAnalyses="REQUIRED"), None)["bank"]
    assert [code for code, _ in readiness(table, Purpose.DIRECT)] == ["RESULT_RECEIVERS_NOT_ALLOWED"]
    additional = [code for code, _ in readiness(table, Purpose.ADDITIONAL)]
    assert additional == ["COLLABORATION_ANALYSIS_RULE_NOT_CONFIGURED"]
    assert readiness(replace(table, association_rule=FEEDS), Purpose.ADDITIONAL) == []
