"""Paths of the six services, as boto3 and sloppier clients write them."""

import pytest

from modelyard.wire.models import SERVICES, Model
from modelyard.wire.routing import Route, Router, UnknownPath, WrongMethod


@pytest.fixture(scope="module")
def router() -> Router[str]:
    router: Router[str] = Router()
    for model in map(Model, SERVICES):
        for method, operation in model.operations.items():
            http = operation.http
            router.add(Route(model.signing_name, http["method"], http["requestUri"], f"{model.name}.{method}"))
    return router


@pytest.mark.parametrize("service", SERVICES)
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
