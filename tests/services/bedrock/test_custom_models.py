"""Custom models that were brought along, and their deployments, capacity, copies and tags."""

import re
from typing import Any

import pytest
from tests.boto import Clients
from tests.model_folders import write_adapter, write_model
from tests.services.bedrock.conftest import BASE, Server, bring_model, ended

FOUNDATION = f"arn:aws:bedrock:us-east-1::foundation-model/{BASE}"


def source(uri: str) -> dict[str, Any]:
    return {"s3DataSource": {"s3Uri": uri}}


class TestCreate:
    def test_takes_in_what_a_job_wrote(self, working: Server, client: Any) -> None:
        arn = bring_model(working, client, modelTags=[{"key": "team", "value": "a"}])
        assert re.fullmatch(r"arn:aws:bedrock:us-east-1:111122223333:custom-model/imported/[a-z0-9]{12}", arn)
        model = client.get_custom_model(modelIdentifier="brought")
        assert model["modelArn"] == arn
        assert (model["customizationType"], model["baseModelArn"]) == ("IMPORTED", FOUNDATION)
        assert "jobArn" not in model
        assert client.list_tags_for_resource(resourceARN=arn)["tags"] == [{"key": "team", "value": "a"}]
        (served,) = (working.folder / "models" / "custom").iterdir()
        assert (served / "model" / "adapter_model.safetensors").is_file()

    def test_again_with_one_token_makes_one(self, working: Server, client: Any) -> None:
        first = bring_model(working, client, clientRequestToken="token")
        assert bring_model(working, client, clientRequestToken="token") == first
        with pytest.raises(client.exceptions.ConflictException, match="token"):
            client.create_custom_model(modelName="x", modelSourceConfig=source("s3://data"), clientRequestToken="token")

    def test_refuses_what_no_job_wrote(self, working: Server, client: Any) -> None:
        write_model(working.object("s3://data/model"))
        with pytest.raises(client.exceptions.ValidationException, match=r"adapter_config\.json.*CreateModelImportJob"):
            client.create_custom_model(modelName="x", modelSourceConfig=source("s3://data/model"))
        write_adapter(working.object("s3://data/strange"), "meta.nobody-knows-v1")
        with pytest.raises(client.exceptions.ValidationException, match="not registered"):
            client.create_custom_model(modelName="x", modelSourceConfig=source("s3://data/strange"))
        with pytest.raises(client.exceptions.ValidationException, match="GetObject"):
            client.create_custom_model(modelName="x", modelSourceConfig=source("s3://data/nothing"))
        assert client.list_custom_models()["modelSummaries"] == []

    def test_tells_why_a_model_failed(self, working: Server, client: Any) -> None:
        (write_adapter(working.object("s3://data/adapter"), BASE) / "adapter_model.safetensors").write_bytes(b"torn")
        client.create_custom_model(modelName="torn", modelSourceConfig=source("s3://data/adapter"))
        model = ended(lambda: client.get_custom_model(modelIdentifier="torn"), "modelStatus")
        assert model["modelStatus"] == "Failed"
        assert "adapter_model.safetensors" in model["failureMessage"]
        with pytest.raises(client.exceptions.ValidationException, match="Failed, not Active"):
            client.create_custom_model_deployment(modelDeploymentName="d", modelArn=model["modelArn"])
        client.delete_custom_model(modelIdentifier="torn")

    def test_copies_no_link_out_of_the_folder(self, working: Server, client: Any) -> None:
        folder = write_adapter(working.object("s3://data/adapter"), BASE)
        (folder / "secret.txt").symlink_to(working.folder / "modelyard.db")
        client.create_custom_model(modelName="linked", modelSourceConfig=source("s3://data/adapter"))
        model = ended(lambda: client.get_custom_model(modelIdentifier="linked"), "modelStatus")
        assert (model["modelStatus"], "secret.txt" in model["failureMessage"]) == ("Failed", True)


class TestList:
    def test_filters(self, working: Server, client: Any) -> None:
        arn = bring_model(working, client)

        def names(**query: Any) -> list[str]:
            return [model["modelName"] for model in client.list_custom_models(**query)["modelSummaries"]]

        assert names() == names(baseModelArnEquals=FOUNDATION) == names(foundationModelArnEquals=FOUNDATION)
        assert names(nameContains="rough", modelStatus="Active", isOwned=True) == ["brought"]
        assert names(isOwned=False) == names(modelStatus="Failed") == names(baseModelArnEquals=arn) == []
        (summary,) = client.list_custom_models()["modelSummaries"]
        assert (summary["baseModelName"], summary["ownerAccountId"]) == (BASE.partition(":")[0], "111122223333")


class TestDelete:
    def test_takes_the_weights_along_and_frees_the_name(self, working: Server, client: Any) -> None:
        bring_model(working, client)
        client.delete_custom_model(modelIdentifier="brought")
        assert list((working.folder / "models" / "custom").iterdir()) == []
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.get_custom_model(modelIdentifier="brought")
        bring_model(working, client)

    def test_is_refused_while_something_stands_for_it(self, working: Server, client: Any) -> None:
        arn = bring_model(working, client)
        client.create_custom_model_deployment(modelDeploymentName="front", modelArn=arn)
        with pytest.raises(client.exceptions.ConflictException, match="custom model deployment front"):
            client.delete_custom_model(modelIdentifier=arn)
        client.delete_custom_model_deployment(customModelDeploymentIdentifier="front")
        client.delete_custom_model(modelIdentifier=arn)

    def test_of_a_name_reaches_nobody_elses(self, working: Server, client: Any, client_for: Clients) -> None:
        arn = bring_model(working, client)
        stranger = client_for(working.application.endpoint, "bedrock", account="999999999999")
        for identifier in (arn, "brought"):
            with pytest.raises(stranger.exceptions.ResourceNotFoundException):
                stranger.delete_custom_model(modelIdentifier=identifier)
            with pytest.raises(stranger.exceptions.ResourceNotFoundException):
                stranger.get_custom_model(modelIdentifier=identifier)


class TestDeployments:
    def test_stand_for_a_model_and_then_for_another(self, working: Server, client: Any) -> None:
        first, second = bring_model(working, client), bring_model(working, client, "second")
        arn = client.create_custom_model_deployment(
            modelDeploymentName="front", modelArn=first, description="the first", tags=[{"key": "a", "value": ""}]
        )["customModelDeploymentArn"]
        for identifier in (arn, "front"):
            shown = client.get_custom_model_deployment(customModelDeploymentIdentifier=identifier)
            assert (shown["modelArn"], shown["status"], shown["description"]) == (first, "Active", "the first")
            assert "updateDetails" not in shown
        resolved = working.application.resolver.resolve("111122223333", "us-east-1", arn)
        assert (resolved.arn, first.rpartition("/")[2] in str(resolved.adapter)) == (arn, True)
        answer = client.update_custom_model_deployment(modelArn=second, customModelDeploymentIdentifier="front")
        assert answer["customModelDeploymentArn"] == arn
        shown = client.get_custom_model_deployment(customModelDeploymentIdentifier=arn)
        assert shown["updateDetails"] == {"modelArn": second, "updateStatus": "UpdateCompleted"}
        assert shown["modelArn"] == second
        (listed,) = client.list_custom_model_deployments(modelArnEquals=second)["modelDeploymentSummaries"]
        assert listed["customModelDeploymentName"] == "front"
        assert client.list_custom_model_deployments(modelArnEquals=first)["modelDeploymentSummaries"] == []
        assert client.list_custom_model_deployments(statusEquals="Failed")["modelDeploymentSummaries"] == []
        assert client.list_tags_for_resource(resourceARN=arn)["tags"] == [{"key": "a", "value": ""}]

    def test_have_names_of_their_own_and_models_that_are_there(self, working: Server, client: Any) -> None:
        arn = bring_model(working, client)
        request = {"modelDeploymentName": "front", "modelArn": arn, "clientRequestToken": "token"}
        first = client.create_custom_model_deployment(**request)
        assert (
            client.create_custom_model_deployment(**request)["customModelDeploymentArn"]
            == first["customModelDeploymentArn"]
        )
        with pytest.raises(client.exceptions.ConflictException):
            client.create_custom_model_deployment(**{**request, "modelDeploymentName": "other"})
        with pytest.raises(client.exceptions.ValidationException, match="front is in use"):
            client.create_custom_model_deployment(**{**request, "clientRequestToken": "another"})
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.create_custom_model_deployment(modelDeploymentName="x", modelArn=arn[:-12] + "abcdefghijkl")
        for call in (client.get_custom_model_deployment, client.delete_custom_model_deployment):
            with pytest.raises(client.exceptions.ResourceNotFoundException):
                call(customModelDeploymentIdentifier="nobody")


class TestProvisionedThroughput:
    def test_keeps_a_model_and_may_get_another_of_its_base(self, working: Server, client: Any) -> None:
        working.add_model("meta.other-v1")
        custom = bring_model(working, client)
        arn = client.create_provisioned_model_throughput(
            modelUnits=2, provisionedModelName="kept", modelId=custom, commitmentDuration="OneMonth"
        )["provisionedModelArn"]
        shown = client.get_provisioned_model_throughput(provisionedModelId="kept")
        assert (shown["status"], shown["modelArn"], shown["desiredModelArn"]) == ("InService", custom, custom)
        assert (shown["modelUnits"], shown["foundationModelArn"]) == (2, FOUNDATION)
        assert (shown["commitmentExpirationTime"] - shown["creationTime"]).days == 30
        resolver = working.application.resolver
        base = resolver.resolve("111122223333", "us-east-1", BASE).base
        assert resolver.kept(str(base))
        with pytest.raises(client.exceptions.ValidationException, match="only models of"):
            client.update_provisioned_model_throughput(provisionedModelId=arn, desiredModelId="meta.other-v1")
        client.update_provisioned_model_throughput(
            provisionedModelId=arn, desiredModelId=BASE, desiredProvisionedModelName="renamed"
        )
        shown = client.get_provisioned_model_throughput(provisionedModelId="renamed")
        assert shown["modelArn"] == FOUNDATION
        (listed,) = client.list_provisioned_model_throughputs(modelArnEquals=FOUNDATION)["provisionedModelSummaries"]
        assert listed["provisionedModelName"] == "renamed"
        client.delete_provisioned_model_throughput(provisionedModelId=arn)
        assert client.list_provisioned_model_throughputs()["provisionedModelSummaries"] == []
        assert not resolver.kept(str(base))

    def test_have_names_of_their_own(self, bedrock: Any) -> None:
        for name in ("a", "b"):
            bedrock.create_provisioned_model_throughput(modelUnits=1, provisionedModelName=name, modelId=BASE)
        with pytest.raises(bedrock.exceptions.ValidationException, match="a is in use"):
            bedrock.create_provisioned_model_throughput(modelUnits=1, provisionedModelName="a", modelId=FOUNDATION)
        with pytest.raises(bedrock.exceptions.ValidationException, match="a is in use"):
            bedrock.update_provisioned_model_throughput(provisionedModelId="b", desiredProvisionedModelName="a")
        with pytest.raises(bedrock.exceptions.ResourceNotFoundException):
            bedrock.create_provisioned_model_throughput(modelUnits=1, provisionedModelName="c", modelId="nobody")


class TestCopyJobs:
    def test_copy_to_another_region(self, working: Server, client: Any, client_for: Clients) -> None:
        arn = bring_model(working, client)
        there = client_for(working.application.endpoint, "bedrock", region="eu-west-1")
        request = {
            "sourceModelArn": arn,
            "targetModelName": "copy",
            "targetModelTags": [{"key": "a", "value": "1"}],
            "clientRequestToken": "token",
        }
        job_arn = there.create_model_copy_job(**request)["jobArn"]
        assert there.create_model_copy_job(**request)["jobArn"] == job_arn
        job = ended(lambda: there.get_model_copy_job(jobArn=job_arn))
        assert (job["status"], job["sourceModelName"], job["targetModelName"]) == ("Completed", "brought", "copy")
        model = there.get_custom_model(modelIdentifier=job["targetModelArn"])
        assert model["modelArn"].startswith("arn:aws:bedrock:eu-west-1:111122223333:custom-model/imported/")
        tagged = there.list_tags_for_resource(resourceARN=model["modelArn"])["tags"]
        assert tagged == job["targetModelTags"] == request["targetModelTags"]
        client.delete_custom_model(modelIdentifier=arn)
        resolved = working.application.resolver.resolve("111122223333", "eu-west-1", model["modelArn"])
        assert (resolved.adapter / "adapter_model.safetensors").is_file()

    def test_list_filters(self, working: Server, client: Any) -> None:
        arn = bring_model(working, client)
        for n in range(3):
            client.create_model_copy_job(sourceModelArn=arn, targetModelName=f"copy-{n}")

        def names(**query: Any) -> list[str]:
            pages = client.get_paginator("list_model_copy_jobs").paginate(**query)
            return [job["targetModelName"] for page in pages for job in page["modelCopyJobSummaries"]]

        assert names() == names(PaginationConfig={"PageSize": 1}) == ["copy-2", "copy-1", "copy-0"]
        assert names(targetModelNameContains="py-1") == ["copy-1"]
        assert names(sourceModelArnEquals=arn, sourceAccountEquals="111122223333", sortOrder="Ascending")[0] == "copy-0"
        assert names(sourceAccountEquals="999999999999") == []

    def test_refuse_what_is_not_the_callers_and_names_in_use(
        self, working: Server, client: Any, client_for: Clients
    ) -> None:
        arn = bring_model(working, client)
        stranger = client_for(working.application.endpoint, "bedrock", account="999999999999")
        with pytest.raises(stranger.exceptions.ResourceNotFoundException):
            stranger.create_model_copy_job(sourceModelArn=arn, targetModelName="mine")
        with pytest.raises(client.exceptions.ValidationException, match="in use: brought"):
            client.create_model_copy_job(sourceModelArn=arn, targetModelName="brought")
        with pytest.raises(client.exceptions.ValidationException, match="only custom models"):
            client.create_model_copy_job(sourceModelArn=FOUNDATION, targetModelName="x")


class TestTags:
    def test_merge_and_go(self, working: Server, client: Any) -> None:
        arn = bring_model(working, client)
        client.tag_resource(resourceARN=arn, tags=[{"key": "a", "value": "1"}, {"key": "b", "value": "2"}])
        client.tag_resource(resourceARN=arn, tags=[{"key": "a", "value": "3"}])
        client.untag_resource(resourceARN=arn, tagKeys=["b", "never"])
        assert client.list_tags_for_resource(resourceARN=arn)["tags"] == [{"key": "a", "value": "3"}]

    @pytest.mark.parametrize(("keys", "why"), [(("a", "a"), "'a' occurs twice"), (("AWS:a",), "begins with aws:")])
    def test_keys_occur_once_and_are_none_of_awss(
        self, working: Server, client: Any, keys: tuple[str, ...], why: str
    ) -> None:
        arn = bring_model(working, client)
        with pytest.raises(client.exceptions.ValidationException, match=why):
            client.tag_resource(resourceARN=arn, tags=[{"key": key, "value": "1"} for key in keys])
        assert client.list_tags_for_resource(resourceARN=arn)["tags"] == []

    def test_too_many_name_the_resource(self, working: Server, client: Any) -> None:
        arn = bring_model(working, client)
        client.tag_resource(resourceARN=arn, tags=[{"key": str(n), "value": ""} for n in range(200)])
        with pytest.raises(client.exceptions.TooManyTagsException) as error:
            client.tag_resource(resourceARN=arn, tags=[{"key": "more", "value": ""}])
        assert error.value.response["resourceName"] == arn

    def test_belong_to_what_is_there_and_the_callers(self, working: Server, client: Any, client_for: Clients) -> None:
        arn = bring_model(working, client)
        stranger = client_for(working.application.endpoint, "bedrock", account="999999999999")
        for caller, resource in ((stranger, arn), (client, arn[:-12] + "abcdefghijkl")):
            with pytest.raises(caller.exceptions.ResourceNotFoundException):
                caller.list_tags_for_resource(resourceARN=resource)
            with pytest.raises(caller.exceptions.ResourceNotFoundException):
                caller.tag_resource(resourceARN=resource, tags=[{"key": "a", "value": "1"}])
