"""Customization jobs as boto3 meets them, up to where their work begins."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.boto import Clients
from tests.services.bedrock.conftest import BASE, Server, customization

from modelyard.jobs.model import Owner, Stage

US = Owner("111122223333", "us-east-1")
ARN = re.compile(rf"arn:aws:bedrock:us-east-1:111122223333:model-customization-job/{BASE}/[a-z0-9]{{12}}")


def refused(bedrock: Any, **changes: Any) -> str:
    """The sentence that a job is refused with, which leaves nothing behind."""
    with pytest.raises(bedrock.exceptions.ValidationException) as error:
        bedrock.create_model_customization_job(**customization(**changes))
    assert bedrock.list_model_customization_jobs()["modelCustomizationJobSummaries"] == []
    return str(error.value.response["Error"]["Message"])


class TestCreate:
    def test_answers_an_arn_and_the_job_is_there(self, bedrock: Any) -> None:
        request = customization(
            clientRequestToken="token",
            customizationType="CONTINUED_PRE_TRAINING",
            customModelKmsKeyId="arn:aws:kms:us-east-1:111122223333:key/12345678-1234-1234-1234-123456789012",
            vpcConfig={"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]},
        )
        arn = bedrock.create_model_customization_job(**request)["jobArn"]
        assert ARN.fullmatch(arn)
        for identifier in (arn, "job"):
            job = bedrock.get_model_customization_job(jobIdentifier=identifier)
            assert (job["jobArn"], job["jobName"], job["status"]) == (arn, "job", "InProgress")
        assert job["outputModelName"] == "model"
        assert job["baseModelArn"] == f"arn:aws:bedrock:us-east-1::foundation-model/{BASE}"
        assert job["outputModelKmsKeyArn"] == request["customModelKmsKeyId"]
        assert job["validationDataConfig"] == {"validators": []}
        for member in ("roleArn", "vpcConfig", "trainingDataConfig", "clientRequestToken", "customizationType"):
            assert job[member] == request[member]
        assert {detail["status"] for detail in job["statusDetails"].values()} == {"NotStarted"}
        assert not {"outputModelArn", "endTime", "trainingMetrics", "failureMessage"} & job.keys()

    def test_twice_with_one_token_makes_one_job(self, bedrock: Any) -> None:
        request = customization(clientRequestToken="token")
        first = bedrock.create_model_customization_job(**request)["jobArn"]
        assert bedrock.create_model_customization_job(**request)["jobArn"] == first
        with pytest.raises(bedrock.exceptions.ConflictException, match="token"):
            bedrock.create_model_customization_job(**{**request, "jobName": "other"})
        assert len(bedrock.list_model_customization_jobs()["modelCustomizationJobSummaries"]) == 1

    @pytest.mark.parametrize(
        ("name", "model", "word"), [("job", "other", "job name is currently in use"), ("other", "model", "model name")]
    )
    def test_refuses_names_that_are_in_use(self, bedrock: Any, name: str, model: str, word: str) -> None:
        bedrock.create_model_customization_job(**customization())
        with pytest.raises(bedrock.exceptions.ValidationException, match=word):
            bedrock.create_model_customization_job(**customization(jobName=name, customModelName=model))

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"baseModelIdentifier": "nobody.made-v1"}, "provided model identifier is invalid.*nobody.made-v1"),
            ({"customizationType": "REINFORCEMENT_FINE_TUNING"}, "REINFORCEMENT_FINE_TUNING is not served"),
            ({"customizationType": "IMPORTED"}, "IMPORTED is not served"),
            ({"customizationType": "DISTILLATION"}, "distillationConfig"),
            ({"roleArn": "me"}, "roleArn"),
            ({"customModelKmsKeyId": "a key"}, "customModelKmsKeyId"),
            ({"trainingDataConfig": {"s3Uri": "s3://data/none.jsonl"}}, "GetObject.*data at key none.jsonl"),
            ({"trainingDataConfig": {"s3Uri": "s3://nobody/train.jsonl"}}, "GetObject.*nobody"),
            ({"trainingDataConfig": {"s3Uri": "s3://data"}}, "Uri should be a file, not a directory"),
            ({"trainingDataConfig": {"s3Uri": "s3://data/../keys.json"}}, r"\.\."),
            ({"trainingDataConfig": {"s3Uri": "modelyard://models/x"}}, "s3Uri"),
            ({"trainingDataConfig": {}}, "s3Uri"),
            (
                {
                    "trainingDataConfig": {
                        "s3Uri": "s3://data/train.jsonl",
                        "invocationLogsConfig": {"invocationLogSource": {"s3Uri": "s3://data/train.jsonl"}},
                    }
                },
                "invocation logs are not served",
            ),
            ({"validationDataConfig": {"validators": [{"s3Uri": "s3://data/none"}]}}, r"validators\.0"),
            ({"outputDataConfig": {"s3Uri": "s3://data/train.jsonl/out"}}, "PutObject.*train.jsonl is an object"),
            ({"hyperParameters": {"epochs": "2"}}, "'epochs'.*epochCount"),
            ({"hyperParameters": {"epochCount": "0"}}, "epochCount is '0'.*from 1 to"),
            ({"jobTags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}, "occurs twice"),
        ],
    )
    def test_refuses_at_once_what_cannot_work(self, bedrock: Any, changes: dict[str, Any], word: str) -> None:
        assert re.search(word, refused(bedrock, **changes))

    def test_refuses_a_customization_that_the_model_does_not_take(self, server: Server, bedrock: Any) -> None:
        folder = server.add_model("meta.other-v1")
        server.run(server.application.base_models.add("meta.other-v1", folder, customizations=["fine-tuning"]))
        changes = {"baseModelIdentifier": "meta.other-v1", "customizationType": "CONTINUED_PRE_TRAINING"}
        assert "takes FINE_TUNING" in refused(bedrock, **changes)

    def test_refuses_buckets_of_other_accounts(self, server: Server, bedrock: Any) -> None:
        server.put("s3://private/train.jsonl", "{}")
        server.run(server.application.buckets.own("private", "999999999999"))
        reading = {"trainingDataConfig": {"s3Uri": "s3://private/train.jsonl"}}
        assert "belongs to another account" in refused(bedrock, **reading)
        writing = {"outputDataConfig": {"s3Uri": "s3://private/out"}}
        assert "belongs to another account" in refused(bedrock, **writing)

    def test_makes_the_output_bucket_the_callers(self, server: Server, bedrock: Any) -> None:
        bedrock.create_model_customization_job(**customization(outputDataConfig={"s3Uri": "s3://fresh/out"}))
        assert server.application.buckets.owner("fresh") == "111122223333"

    def test_plans_a_teacher(self, server: Server, bedrock: Any) -> None:
        server.add_model("meta.teacher-v1")
        config = {
            "teacherModelConfig": {"teacherModelIdentifier": "meta.teacher-v1", "maxResponseLengthForInference": 99}
        }
        request = customization(
            customizationType="DISTILLATION",
            customizationConfig={"distillationConfig": config},
            trainingDataConfig={"s3Uri": "s3://data"},
        )
        bedrock.create_model_customization_job(**request)
        job = bedrock.get_model_customization_job(jobIdentifier="job")
        assert job["customizationConfig"] == request["customizationConfig"]
        parameters = stages(server)[1].spec.parameters
        assert parameters["teacher"] == server.application.base_models.get("meta.teacher-v1").path
        assert (parameters["max_response_tokens"], parameters["engine"]) == (99, "auto")


class TestTheBaseModel:
    def test_is_needed_while_a_job_runs(self, server: Server, bedrock: Any) -> None:
        bedrock.create_model_customization_job(**customization())
        (needing,) = server.application.base_models.resting_on(BASE)
        assert (needing.kind, needing.name) == ("custom model", "model")


class TestManyAtOnce:
    """Clients that do not wait for each other."""

    def together(self, *calls: Callable[[], Any]) -> list[str]:
        """What comes of calls at the same moment: an ARN, or the code of the refusal."""

        def outcome(call: Callable[[], Any]) -> str:
            try:
                return str(call()["jobArn"])
            except ClientError as error:
                return str(error.response["Error"]["Code"])

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(outcome, calls))

    def test_that_take_one_name_make_one_job(self, bedrock: Any) -> None:
        def create(n: int) -> Any:
            return bedrock.create_model_customization_job(**customization(customModelName=f"model-{n}"))

        outcomes = self.together(*(partial(create, n) for n in range(8)))
        assert sorted(outcomes)[:-1] == ["ValidationException"] * 7
        assert len(bedrock.list_model_customization_jobs()["modelCustomizationJobSummaries"]) == 1

    def test_that_take_one_models_name_make_one_job(self, bedrock: Any) -> None:
        def create(n: int) -> Any:
            return bedrock.create_model_customization_job(**customization(jobName=f"job-{n}"))

        outcomes = self.together(*(partial(create, n) for n in range(8)))
        assert sorted(outcomes)[:-1] == ["ValidationException"] * 7

    def test_that_repeat_one_request_get_one_job(self, bedrock: Any) -> None:
        request = customization(clientRequestToken="token")
        calls = [partial(bedrock.create_model_customization_job, **request)] * 8
        assert len(set(self.together(*calls))) == 1


class TestGet:
    def test_of_what_is_not_there(self, bedrock: Any) -> None:
        arn = bedrock.create_model_customization_job(**customization())["jobArn"]
        for identifier in ("nobody", arn[:-12] + "abcdefghijkl", arn.replace("us-east-1", "eu-west-1")):
            with pytest.raises(bedrock.exceptions.ResourceNotFoundException) as error:
                bedrock.get_model_customization_job(jobIdentifier=identifier)
            assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404

    def test_reaches_nobody_elses(self, server: Server, bedrock: Any, client_for: Clients) -> None:
        arn = bedrock.create_model_customization_job(**customization())["jobArn"]
        stranger = client_for(server.application.endpoint, "bedrock", account="999999999999")
        for call in (stranger.get_model_customization_job, stranger.stop_model_customization_job):
            for identifier in (arn, "job"):
                with pytest.raises(stranger.exceptions.ResourceNotFoundException):
                    call(jobIdentifier=identifier)
        assert stranger.list_model_customization_jobs()["modelCustomizationJobSummaries"] == []


class TestList:
    def test_filters_sorts_and_pages(self, bedrock: Any) -> None:
        for n in range(5):
            bedrock.create_model_customization_job(**customization(jobName=f"job-{n}", customModelName=f"model-{n}"))
        bedrock.stop_model_customization_job(jobIdentifier="job-3")

        def names(**query: Any) -> list[str]:
            pages = bedrock.get_paginator("list_model_customization_jobs").paginate(**query)
            return [job["jobName"] for page in pages for job in page["modelCustomizationJobSummaries"]]

        assert names() == names(maxResults=2) == [f"job-{n}" for n in (4, 3, 2, 1, 0)]
        assert names(sortBy="CreationTime", sortOrder="Ascending", maxResults=1) == [f"job-{n}" for n in range(5)]
        assert names(statusEquals="InProgress", maxResults=2) == ["job-4", "job-2", "job-1", "job-0"]
        assert names(statusEquals="Stopping") == ["job-3"]
        assert names(statusEquals="Completed") == []
        assert names(nameContains="b-1") == ["job-1"]
        middle = bedrock.get_model_customization_job(jobIdentifier="job-2")["creationTime"]
        assert not set(names(creationTimeAfter=middle)) & {"job-0", "job-1", "job-2"}
        assert not set(names(creationTimeBefore=middle)) & {"job-2", "job-3", "job-4"}

    @pytest.mark.parametrize("token", ["x", "-1", "f" * 20, "é"])
    def test_refuses_tokens_that_are_not_ours(self, bedrock: Any, token: str) -> None:
        with pytest.raises(bedrock.exceptions.ValidationException, match="nextToken"):
            bedrock.list_model_customization_jobs(nextToken=token)

    def test_refuses_what_the_model_refuses(self, bedrock: Any) -> None:
        for query in ({"maxResults": 5000}, {"statusEquals": "Done"}, {"nameContains": "-"}):
            with pytest.raises(bedrock.exceptions.ValidationException):
                bedrock.list_model_customization_jobs(**query)


class TestStop:
    def test_is_stopping_at_once_and_may_be_said_again(self, bedrock: Any) -> None:
        arn = bedrock.create_model_customization_job(**customization())["jobArn"]
        for identifier in (arn, "job"):
            bedrock.stop_model_customization_job(jobIdentifier=identifier)
            assert bedrock.get_model_customization_job(jobIdentifier=arn)["status"] == "Stopping"


class TestHyperparameters:
    def test_of_a_small_model_are_those_that_it_needs(self, server: Server, bedrock: Any) -> None:
        bedrock.create_model_customization_job(**customization())
        values = stages(server)[2].spec.parameters["hyperparameters"]
        assert (values["epochs"], values["batch_size"], values["learning_rate"]) == (40, 8, 3e-3)
        assert (values["rank"], values["full_weights"], values["seed"]) == (16, False, 0)
        job = bedrock.get_model_customization_job(jobIdentifier="job")
        assert job["hyperParameters"] == {"epochCount": "40", "batchSize": "8", "learningRate": "0.003"}

    def test_of_a_small_model_do_with_fewer_epochs_of_many_rows(self, server: Server, bedrock: Any) -> None:
        server.put("s3://data/many.jsonl", "{}\n" * 1000)
        bedrock.create_model_customization_job(**customization(trainingDataConfig={"s3Uri": "s3://data/many.jsonl"}))
        assert stages(server)[2].spec.parameters["hyperparameters"]["epochs"] == 5

    def test_are_the_users_where_they_are_given(self, server: Server, bedrock: Any) -> None:
        given = {"epochCount": "3", "modelyardFullWeights": "true", "modelyardSeed": "7", "modelyardRank": "4"}
        bedrock.create_model_customization_job(**customization(hyperParameters=given))
        values = stages(server)[2].spec.parameters["hyperparameters"]
        assert (values["epochs"], values["full_weights"], values["seed"], values["rank"]) == (3, True, 7, 4)
        assert values["learning_rate"] == 1e-3
        job = bedrock.get_model_customization_job(jobIdentifier="job")
        assert given.items() <= job["hyperParameters"].items()


def stages(server: Server) -> list[Stage]:
    """The plan of the one job."""
    (job,) = server.application.store.newest(US, 10)
    return [record.stage for record in job.stages]
