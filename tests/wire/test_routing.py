"""Paths of the services, as boto3 and sloppier clients write them."""

import pytest
from tests.wire.shapes import JSON_SERVICES

from modelyard.wire.models import Model
from modelyard.wire.routing import Route, Router, UnknownPath, WrongMethod


@pytest.fixture(scope="module")
def router() -> Router[str]:
    router: Router[str] = Router()
    for model in map(Model, JSON_SERVICES):
        for method, operation in model.operations.items():
            router.add(Route.of(model.signing_name, operation, f"{model.name}.{method}"))
    return router


@pytest.mark.parametrize("service", JSON_SERVICES)
def test_every_operation_is_found_by_its_own_path(router: Router[str], service: str) -> None:
    model = Model(service)
    for method, operation in model.operations.items():
        path = operation.http["requestUri"].replace("{", "").replace("}", "")
        target, labels = router.match(model.signing_name, operation.http["method"], path)
        assert target == f"{service}.{method}"
        assert all(name == value for name, value in labels.items())


def test_labels_are_decoded_after_the_split(router: Router[str]) -> None:
    arn = "arn%3Aaws%3Abedrock%3Aus-east-1%3A111122223333%3Acustom-model%2Fbase.x%2Fabcdefghijkl"
    target, labels = router.match("bedrock", "GET", f"/custom-models/{arn}")
    assert target == "bedrock.get_custom_model"
    assert labels == {"modelIdentifier": "arn:aws:bedrock:us-east-1:111122223333:custom-model/base.x/abcdefghijkl"}
    assert router.match(None, "GET", "/ml/endpoints/a%2520b")[1] == {"id": "a%20b"}


def test_an_arn_need_not_be_escaped(router: Router[str]) -> None:
    arn = "arn:aws:bedrock:us-east-1:111122223333:custom-model/base.x/abcdefghijkl"
    for path, target, label in (
        (f"/custom-models/{arn}", "bedrock.get_custom_model", "modelIdentifier"),
        (f"/model/{arn}/converse-stream", "bedrock-runtime.converse_stream", "modelId"),
    ):
        method = "GET" if target.startswith("bedrock.") else "POST"
        assert router.match("bedrock", method, path) == (target, {label: arn})
    with pytest.raises(UnknownPath):
        router.match("bedrock", "POST", f"/model/{arn}/x/invoke")
    with pytest.raises(UnknownPath):
        router.match("bedrock", "POST", "/model/a/b/invoke")


def test_a_trailing_slash_is_tolerated(router: Router[str]) -> None:
    assert router.match(None, "GET", "/ml/endpoints/")[0] == "neptunedata.list_ml_endpoints"
    assert router.match(None, "GET", "/ml/endpoints/x/")[1] == {"id": "x"}


def test_services_with_one_signing_name_share_their_paths(router: Router[str]) -> None:
    assert router.match("bedrock", "POST", "/model/m/invoke")[0] == "bedrock-runtime.invoke_model"
    assert router.match("bedrock", "GET", "/custom-models")[0] == "bedrock.list_custom_models"


@pytest.mark.parametrize(
    ("signing_name", "arn", "service"),
    [
        (None, "arn:aws:cleanrooms-ml:us-east-1:1:x%2Fy", "cleanroomsml"),
        (None, "arn:aws:cleanrooms:us-east-1:1:x%2Fy", "cleanrooms"),
        ("cleanrooms-ml", "arn:aws:cleanrooms:us-east-1:1:x", "cleanroomsml"),
        ("cleanrooms", "x", "cleanrooms"),
    ],
)
def test_tags_go_by_the_scope_or_by_the_arn(router: Router[str], signing_name: str, arn: str, service: str) -> None:
    assert router.match(signing_name, "GET", f"/tags/{arn}")[0] == f"{service}.list_tags_for_resource"


@pytest.mark.parametrize("path", ["", "/", "//", "/ml", "/ml/endpoints//", "/ml/endpoints/a/b", "/ml//endpoints", "x"])
def test_unknown_paths(router: Router[str], path: str) -> None:
    with pytest.raises(UnknownPath):
        router.match(None, "GET", path)


def test_one_services_path_is_unknown_under_anothers_signing_name(router: Router[str]) -> None:
    with pytest.raises(UnknownPath):
        router.match("cleanrooms", "GET", "/ml/endpoints")
    assert router.match("s3", "GET", "/ml/endpoints")[0] == "neptunedata.list_ml_endpoints"


def test_a_wrong_method_names_the_right_ones(router: Router[str]) -> None:
    with pytest.raises(WrongMethod) as caught:
        router.match("neptune-db", "PUT", "/ml/endpoints/x")
    assert caught.value.allowed == ["DELETE", "GET"]


def test_a_literal_that_leads_nowhere_gives_way_to_a_label() -> None:
    router: Router[str] = Router()
    router.add(Route("s", "GET", "/a/b/c", "literal"))
    router.add(Route("s", "GET", "/a/{x}/d", "label"))
    router.add(Route("s", "GET", "/a/{rest+}", "greedy"))
    assert router.match("s", "GET", "/a/b/c") == ("literal", {})
    assert router.match("s", "GET", "/a/b/d") == ("label", {"x": "b"})
    assert router.match("s", "GET", "/a/b%2F/e") == ("greedy", {"rest": "b//e"})


@pytest.fixture(scope="module")
def s3() -> Router[str]:
    router: Router[str] = Router(last="s3")
    for model in map(Model, ("neptunedata", "s3")):
        for operation in model.operations.values():
            router.add(Route.of(model.signing_name, operation, operation.name), signed_only=model.name == "s3")
    return router


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "operation"),
    [
        ("GET", "/", "", (), "ListBuckets"),
        ("GET", "/bucket", "", (), "ListObjects"),
        ("GET", "/bucket/", "prefix=uploads&location=", (), "GetBucketLocation"),
        ("GET", "/bucket", "list-type=2&prefix=a", (), "ListObjectsV2"),
        ("GET", "/bucket", "list-type=1", (), "ListObjects"),
        ("GET", "/bucket", "uploads", (), "ListMultipartUploads"),
        ("GET", "/bucket", "analytics", (), "ListBucketAnalyticsConfigurations"),
        ("GET", "/bucket", "analytics&id=x", (), "GetBucketAnalyticsConfiguration"),
        ("GET", "/bucket", "lifecycle", (), "GetBucketLifecycleConfiguration"),
        ("HEAD", "/bucket", "", (), "HeadBucket"),
        ("PUT", "/bucket/", "", (), "CreateBucket"),
        ("POST", "/bucket", "delete", (), "DeleteObjects"),
        ("POST", "/bucket/", "delete=", (), "DeleteObjects"),
        ("GET", "/bucket/key", "", (), "GetObject"),
        ("GET", "/bucket/key", "partNumber=2", (), "GetObject"),
        ("GET", "/bucket/key", "uploadId=x", (), "ListParts"),
        ("GET", "/bucket/key", "attributes", ("x-amz-object-attributes",), "GetObjectAttributes"),
        ("GET", "/bucket/key", "attributes", (), "GetObjectAttributes"),
        ("HEAD", "/bucket/key", "x-id=HeadObject", (), "HeadObject"),
        ("PUT", "/bucket/key", "", (), "PutObject"),
        ("PUT", "/bucket/key", "", ("x-amz-copy-source",), "CopyObject"),
        ("PUT", "/bucket/key", "partNumber=1&uploadId=x", (), "UploadPart"),
        ("PUT", "/bucket/key", "partNumber=1&uploadId=x", ("x-amz-copy-source",), "UploadPartCopy"),
        ("PUT", "/bucket/key", "partNumber=1", (), "UploadPart"),
        ("PUT", "/bucket/key", "uploadId=x", (), "UploadPart"),
        ("PUT", "/bucket/key", "tagging", (), "PutObjectTagging"),
        ("POST", "/bucket/key", "uploads", (), "CreateMultipartUpload"),
        ("POST", "/bucket/key", "uploadId=x", (), "CompleteMultipartUpload"),
        ("DELETE", "/bucket/key", "uploadId=x", (), "AbortMultipartUpload"),
        ("DELETE", "/bucket/key", "versionId=x", (), "DeleteObject"),
        ("POST", "/bucket/key", "select&select-type=2", (), "SelectObjectContent"),
    ],
)
def test_the_operations_of_s3_are_told_apart_by_query_and_headers(
    s3: Router[str], method: str, path: str, query: str, headers: tuple[str, ...], operation: str
) -> None:
    fields = [(name.encode(), b"x") for name in ("host", *headers)]
    assert s3.match("s3", method, path, query.encode(), fields)[0] == operation
    if path != "/":
        assert s3.match(None, method, path, query.encode(), fields)[0] == operation


@pytest.mark.parametrize(
    ("method", "path", "query", "allowed"),
    [
        ("POST", "/bucket", "", ["DELETE", "GET", "HEAD", "PUT"]),
        ("GET", "/bucket", "delete", ["POST"]),
        ("PUT", "/bucket/key", "uploads", ["POST"]),
        ("DELETE", "/bucket/key", "acl", ["GET", "PUT"]),
        ("GET", "/bucket/key", "acl&tagging", ["DELETE", "GET", "PUT"]),
        ("PATCH", "/bucket/key", "", ["DELETE", "GET", "HEAD", "POST", "PUT"]),
    ],
)
def test_a_part_of_the_query_is_never_left_aside(
    s3: Router[str], method: str, path: str, query: str, allowed: list[str]
) -> None:
    with pytest.raises(WrongMethod) as caught:
        s3.match("s3", method, path, query.encode())
    assert (caught.value.allowed, caught.value.signing_name) == (allowed, "s3")


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("a%2Fb%20c+d", "a/b c+d"),
        ("a/b/", "a/b/"),
        ("/", "/"),
        ("a//b", "a//b"),
        ("../a/./..", "../a/./.."),
        ("%2e%2e%2f", "../"),
        ("a%2520b%253F", "a%20b%3F"),
        ("%C3%A4%F0%9F%99%82", "ä🙂"),
        ("arn:aws:s3:::x", "arn:aws:s3:::x"),
        ("ml/endpoints", "ml/endpoints"),
    ],
)
def test_keys_arrive_as_they_were_sent(s3: Router[str], raw: str, key: str) -> None:
    for signing_name in ("s3", None):
        assert s3.match(signing_name, "GET", f"/bucket/{raw}") == ("GetObject", {"Bucket": "bucket", "Key": key})


def test_what_is_not_signed_goes_to_the_other_services_first(s3: Router[str]) -> None:
    assert s3.match(None, "GET", "/ml/endpoints")[0] == "ListMLEndpoints"
    assert s3.match(None, "HEAD", "/ml/endpoints")[0] == "ListMLEndpoints"
    assert s3.match("s3", "GET", "/ml/endpoints") == ("GetObject", {"Bucket": "ml", "Key": "endpoints"})
    assert s3.match("s3express", "GET", "/ml/x/y")[0] == "GetObject"
    with pytest.raises(UnknownPath):
        s3.match("lambda", "GET", "/ml/x/y")
    with pytest.raises(WrongMethod):
        s3.match(None, "PUT", "/ml/endpoints")


@pytest.mark.parametrize("path", ["//key", "/%ff", "/bucket/%ff"])
def test_paths_that_name_nothing_are_refused_by_their_service(s3: Router[str], path: str) -> None:
    for signing_name in ("s3", None):
        with pytest.raises(UnknownPath) as caught:
            s3.match(signing_name, "GET", path)
        assert caught.value.signing_name == "s3"
