import time
from typing import Any

import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.cleanroom.log_policy import LogPolicy

BANK, SHOP, OTHER = "111111111111", "222222222222", "333333333333"


def policy(*accounts: str, **members: Any) -> dict[str, Any]:
    return {"allowedAccountIds": list(accounts), **members}


def redacting(*entities: str, custom: tuple[str, ...] = ()) -> LogPolicy:
    configuration: dict[str, Any] = {"entitiesToRedact": list(entities)}
    if custom:
        configuration["customEntityConfig"] = {"customDataIdentifiers": list(custom)}
    return LogPolicy([policy(BANK, logRedactionConfiguration=configuration)])


@pytest.mark.parametrize("policies", [None, [], [policy(SHOP)]])
def test_nobody_sees_a_line_without_a_policy_that_names_them(policies: Any) -> None:
    assert LogPolicy(policies).show(BANK, "epoch 1") is None
    assert BANK not in LogPolicy(policies).accounts([BANK, SHOP])


def test_only_members_that_a_policy_names_are_given_a_log() -> None:
    assert LogPolicy([policy(SHOP, BANK), policy(SHOP)]).accounts([OTHER, BANK]) == [BANK]


def test_a_filter_lets_through_what_it_finds_and_nothing_else() -> None:
    filtering = LogPolicy([policy(BANK, filterPattern="^(INFO|WARN).*loss")])

    assert filtering.show(BANK, "INFO loss=0.5") == "INFO loss=0.5"
    assert filtering.show(BANK, "DEBUG loss=0.5") is None


def test_an_empty_filter_filters_nothing() -> None:
    assert LogPolicy([policy(BANK, filterPattern="")]).show(BANK, "anything") == "anything"


def test_the_first_policy_that_lets_a_line_through_shows_it() -> None:
    numbers = {"entitiesToRedact": ["NUMBERS"]}
    policies = [policy(BANK, filterPattern="row", logRedactionConfiguration=numbers), policy(BANK, SHOP)]

    assert LogPolicy(policies).show(BANK, "row 7") == "row ***"
    assert LogPolicy(policies).show(BANK, "epoch 7") == "epoch 7"
    assert LogPolicy(policies).show(SHOP, "row 7") == "row 7"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("epoch 3 loss 0.25", "epoch *** loss ***"),
        ("2,345.67 and 1e-5", "*** and ***e-***"),
        ("arabic-indic ٣٤ and Ⅷ", "arabic-indic *** and ***"),
        ("none", "none"),
    ],
)
def test_numbers_are_redacted_in_every_script(line: str, shown: str) -> None:
    assert redacting("NUMBERS").show(BANK, line) == shown


@pytest.mark.parametrize(
    "secret",
    [
        "ada.lovelace+x@example.co.uk",
        "DE89 3704 0044 0532 0130 00",
        "GB29NWBK60161331926819",
        "4111 1111 1111 1111",
        "4111111111111111",
        "378282246310005",
        "123-45-6789",
        "192.168.10.77",
        "2001:db8:85a3::8a2e:370:7334",
        "fe80:0:0:0:200:f8ff:fe21:67cf",
        "+44 20 7946 0958",
        "(555) 123-4567",
        "555-123-4567",
    ],
)
def test_personal_data_is_found_by_its_form(secret: str) -> None:
    shown = redacting("ALL_PERSONALLY_IDENTIFIABLE_INFORMATION").show(BANK, f"customer <{secret}> failed")

    assert shown == "customer <***> failed"


@pytest.mark.parametrize("line", ["epoch 3 loss 0.25", "2026-11-21T20:15:00 INFO started", "step 12000 of 50000"])
def test_ordinary_lines_hold_no_personal_data(line: str) -> None:
    assert redacting("ALL_PERSONALLY_IDENTIFIABLE_INFORMATION").show(BANK, line) == line


def test_custom_identifiers_are_redacted() -> None:
    shown = redacting("CUSTOM", custom=("CUST-[A-Z]+", "secret|hidden")).show(BANK, "CUST-ABC is a hidden secret")

    assert shown == "*** is a *** ***"


def test_custom_identifiers_count_only_where_they_are_asked_for() -> None:
    assert redacting("NUMBERS", custom=("CUST",)).show(BANK, "CUST 1") == "CUST ***"


@pytest.mark.parametrize(
    "wrong",
    [
        policy(BANK, filterPattern="(unclosed"),
        policy(BANK, filterPattern="(?=ahead)"),
        policy(
            BANK,
            logRedactionConfiguration={
                "entitiesToRedact": ["CUSTOM"],
                "customEntityConfig": {"customDataIdentifiers": ["a)|(b"]},
            },
        ),
    ],
)
def test_what_cannot_be_understood_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not a regular expression of RE2"):
        LogPolicy([wrong])


def test_no_pattern_can_hold_up_a_log() -> None:
    hostile = LogPolicy([policy(BANK, filterPattern="(a+)+$")])
    started = time.monotonic()

    assert hostile.show(BANK, "a" * 200_000 + "!") is None
    assert time.monotonic() - started < 2


def test_a_summary_of_errors_shows_no_line_of_the_log() -> None:
    short = LogPolicy([policy(BANK, logType="ERROR_SUMMARY", filterPattern="")])

    assert short.show(BANK, "ValueError: could not convert 'Ada Lovelace'") is None
    assert short.summary(BANK, ["ValueError at train.py, line 12, in fit"]) == [
        "ValueError at train.py, line 12, in fit"
    ]


def test_a_summary_is_redacted_too() -> None:
    numbers = {"entitiesToRedact": ["NUMBERS"]}
    short = LogPolicy([policy(BANK, logType="ERROR_SUMMARY", logRedactionConfiguration=numbers)])

    assert short.summary(BANK, ["ValueError at train.py, line 12"]) == ["ValueError at train.py, line ***"]


FAILURE = """Exception during training: bad row Ada Lovelace, 4711
Traceback (most recent call last):
  File "/opt/program/train.py", line 40, in main
    fit(rows)
  File "/opt/program/train.py", line 12, in fit
    float(row["age"])
ValueError: could not convert string to float: 'Ada Lovelace'
"""


def test_words_of_a_failure_pass_the_policy_of_who_asks() -> None:
    policies = [
        policy(BANK, filterPattern="Exception during", logRedactionConfiguration={"entitiesToRedact": ["NUMBERS"]}),
        policy(SHOP, logType="ERROR_SUMMARY"),
    ]

    assert LogPolicy(policies).tell(BANK, FAILURE) == "Exception during training: bad row Ada Lovelace, ***"
    assert LogPolicy(policies).tell(SHOP, FAILURE) == "ValueError at train.py, line 12, in fit"
    assert LogPolicy(policies).tell(OTHER, FAILURE) == ""
