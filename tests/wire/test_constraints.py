"""What the models refuse, in AWS's words, and patterns that no value can make slow."""

import random
import re
import time
from typing import Any

import pytest
from botocore.loaders import Loader

from modelyard.wire.constraints import Constraints, Pattern, Violation, echo, sentence
from modelyard.wire.models import SERVICES, Model
from modelyard.wire.rest_json import RequestParser

JOB = {
    "jobName": "job",
    "customModelName": "model",
    "roleArn": "arn:aws:iam::111122223333:role/r",
    "baseModelIdentifier": "amazon.titan-text-v1",
    "trainingDataConfig": {"s3Uri": "s3://bucket/train.jsonl"},
    "outputDataConfig": {"s3Uri": "s3://bucket/out"},
}


def check(service: str, method: str, values: dict[str, Any]) -> list[Violation]:
    return Constraints().check(Model(service).operations[method].input_shape, values)


def only(values: dict[str, Any]) -> str:
    """The one violation of a customization job with some members changed."""
    violations = check("bedrock", "create_model_customization_job", JOB | values)
    assert len(violations) == 1, violations
    return violations[0].text


def test_what_the_model_allows_passes() -> None:
    assert check("bedrock", "create_model_customization_job", JOB) == []


def test_every_kind_of_violation_in_awss_words() -> None:
    failed = "failed to satisfy constraint: Member must"
    assert only({"jobName": "a b"}) == (
        f"Value 'a b' at 'jobName' {failed} satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9\\+\\-\\.])*"
    )
    assert only({"jobName": "a" * 64}).endswith(f"at 'jobName' {failed} have length less than or equal to 63")
    assert only({"customizationType": "MAGIC"}).startswith(
        f"Value 'MAGIC' at 'customizationType' {failed} satisfy enum value set: [FINE_TUNING, "
    )
    assert only({"roleArn": None}) == f"Value null at 'roleArn' {failed} not be null"
    assert only({"jobName": 5}) == f"Value '5' at 'jobName' {failed} be a string"
    assert only({"outputDataConfig": {}}) == f"Value null at 'outputDataConfig.s3Uri' {failed} not be null"
    assert only({"jobTags": [{"key": "k"}]}) == f"Value null at 'jobTags.1.member.value' {failed} not be null"
    assert only({"jobTags": {}}) == f"Value '{{}}' at 'jobTags' {failed} be a list"
    found = check("neptunedata", "list_ml_endpoints", {"maxItems": 5000})
    assert found[0].text == f"Value '5000' at 'maxItems' {failed} have value less than or equal to 1024"
    found = check("neptunedata", "list_ml_endpoints", {"maxItems": True})
    assert found[0].text == f"Value 'True' at 'maxItems' {failed} be an integer"


def test_items_of_lists_and_maps_name_all_that_they_must_satisfy() -> None:
    text = only({"vpcConfig": {"subnetIds": ["bad!"], "securityGroupIds": ["sg-0123456789abcdef0"]}})
    assert text.startswith(
        "Value '[bad!]' at 'vpcConfig.subnetIds' failed to satisfy constraint: Member must satisfy constraint: "
        "[Member must have length less than or equal to 32, Member must have length greater than or equal to 0, "
        "Member must satisfy regular expression pattern: "
    )
    arn = "arn:aws:cleanrooms-ml:us-east-1:111122223333:training-dataset/12345678-1234-1234-1234-123456789012"
    found = check("cleanroomsml", "tag_resource", {"resourceArn": arn, "tags": {"k" * 200: "v"}})
    assert "at 'tags' failed to satisfy constraint: Map keys must satisfy constraint: [Member must" in found[0].text


def test_all_violations_make_one_sentence() -> None:
    found = check("bedrock", "create_model_customization_job", {"jobName": "a b", "roleArn": "x"})
    assert sentence(found).startswith("6 validation errors detected: Value 'a b' at 'jobName' failed")
    assert sentence(found).count("; Value ") == 5
    assert sentence(found[:1]).startswith("1 validation error detected: Value")
    assert [violation.kind for violation in found].count("required") == 4


def test_thousands_of_violations_are_counted_and_not_all_named() -> None:
    found = check("bedrock", "create_model_customization_job", JOB | {"jobTags": [{}] * 100_000})
    assert len(found) < 2000
    assert len(sentence(found)) < 10_000
    assert sentence(found).endswith(" more")


def test_exactly_one_member_of_a_union() -> None:
    values = JOB | {"customizationConfig": {}}
    assert "at 'customizationConfig' failed to satisfy constraint: Member must have exactly one" in only(values)


def test_echoed_values_are_short_and_safe() -> None:
    assert echo("a\nb\x1b[31m\u202e") == "a\\nb\\x1b[31m\\u202e"
    assert echo("é" * 1000) == "é" * 200 + "..."


def test_secret_values_are_not_repeated() -> None:
    found = check("sagemaker-runtime", "invoke_endpoint", {"EndpointName": "e", "Body": b"", "CustomAttributes": "ä"})
    assert found
    assert all("ä" not in violation.text for violation in found)


def test_values_of_another_type_never_raise() -> None:
    rubbish = (None, True, 0, -1.5, "x", [], [None], [[1]], {}, {"a": {"b": 1}}, b"x")
    for service in SERVICES:
        constraints = Constraints()
        for operation in Model(service).operations.values():
            if operation.input_shape is None:
                continue
            parser = RequestParser(operation)
            for value in rubbish:
                values = dict.fromkeys(operation.input_shape.members, value)
                values |= {m: convert(value) for m, convert in parser._body.values()}
                constraints.check(operation.input_shape, values)


def patterns() -> list[str]:
    found = set()
    for service in SERVICES:
        shapes = Loader().load_service_model(service, "service-2")["shapes"]
        found |= {shape["pattern"] for shape in shapes.values() if "pattern" in shape}
    return sorted(found)


PATTERNS = patterns()


def hostile(pattern: str) -> list[str]:
    """Strings that make backtracking engines slow: long runs that match nearly, and fail at the end."""
    literal = re.split(r"[\[(\\.{*+?|^$]", pattern.lstrip("^(:?"), maxsplit=1)[0]
    bodies = ("a", "a-", "-", "a.", "1.", "aA0", " ", "\n", "a_", "a:", "/", "a/", "ä", "🙂", "\0", "..", "arn:aws:")
    return [literal + body * (20_000 // len(body)) + end for body in bodies for end in ("!", "a", "\n")]


@pytest.mark.parametrize("source", PATTERNS)
def test_no_string_makes_a_pattern_slow(source: str) -> None:
    pattern = Pattern(source)
    pattern.compile()
    slowest = max((fastest(pattern, text), text[:40]) for text in hostile(source))
    assert slowest[0] < 0.010, slowest


def fastest(pattern: Pattern, text: str) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        pattern.matches(text)
        times.append(time.perf_counter() - start)
        if times[-1] < 0.002:
            break
    return min(times)


def in_python(source: str) -> "re.Pattern[str] | None":
    """The pattern in Python's engine, which knows look-aheads; None for what only Java spells so."""
    surrogates = r"\uD800\uDBFF-\uDC00\uDFFF"
    spelled = source.replace(surrogates, "\U00010000-\U0010ffff").replace(r"\z", r"\Z")
    spelled = spelled.replace(r"\p{ASCII}", r"[\x00-\x7f]").replace(r"[\p{Print}]", r"[\x20-\x7e]")
    try:
        return re.compile(spelled, re.ASCII)
    except (re.error, RecursionError):
        return None


@pytest.mark.parametrize("source", [p for p in PATTERNS if in_python(p) is not None])
def test_patterns_mean_what_they_mean_elsewhere(source: str) -> None:
    """Short strings are judged as Python's engine judges them, whole value to whole value."""
    theirs = in_python(source)
    assert theirs is not None
    ours, chance = Pattern(source), random.Random(source)
    literal = re.split(r"[\[(\\.{*+?|^$]", source.lstrip("^(:?"), maxsplit=1)[0]
    for _ in range(60):
        tail = "".join(chance.choices("ab1Z9.-_:/ \t!s3é🙂", k=chance.randint(0, 7)))
        for text in (tail, literal + tail, f"s3://buck{tail}", "1.2.3.4", "a.b.c", "https:x", " " + tail):
            assert ours.matches(text) == (theirs.fullmatch(text) is not None), text
