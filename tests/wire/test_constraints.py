"""What the models refuse, in AWS's words."""

from typing import Any

from modelyard.wire.constraints import Constraints
from modelyard.wire.models import SERVICES, Model
from modelyard.wire.rest_json import RequestParser
from modelyard.wire.violations import Violation, sentence

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
