"""Customization jobs that really train a very small model, watched by boto3 from their creation to an answer."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.boto import Clients, Loop
from tests.conftest import wait_for
from tests.services.bedrock.conftest import BASE, ROWS, Server, checked, customization, ended
from tests.workloads.language.models import build_model

from modelyard.jobs.model import Owner

pytestmark = pytest.mark.slow
US = Owner("111122223333", "us-east-1")


@pytest.fixture(scope="module")
def working(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("bedrock")
    build_model(folder / "base")
    server = Server(loop, folder / "data", supervised=True, slots=1)
    server.run(server.application.base_models.add(BASE, folder / "base"))
    server.put("s3://data/validation.jsonl", ROWS)
    yield server
    server.close()


@pytest.fixture
def bedrock(working: Server, client_for: Clients) -> Any:
    return checked(client_for(working.application.endpoint, "bedrock"))


def asking(name: str, **changes: Any) -> dict[str, Any]:
    """A request for a short job of that name, and a model that is called alike."""
    settings = {"customModelName": name.replace(".", "-"), "hyperParameters": {"epochCount": "2"}, **changes}
    return customization(jobName=name, **settings)


def done(bedrock: Any, name: str) -> dict[str, Any]:
    return ended(lambda: bedrock.get_model_customization_job(jobIdentifier=name), seconds=180)


@pytest.fixture
def trained(bedrock: Any) -> dict[str, Any]:
    """A completed job; done once, since the same token gets the first answer."""
    asked = asking("trained", clientRequestToken="trained", customModelTags=[{"key": "team", "value": "a"}])
    validators = [{"s3Uri": "s3://data/validation.jsonl"}]
    bedrock.create_model_customization_job(**asked, validationDataConfig={"validators": validators})
    return done(bedrock, "trained")


class TestACompletedJob:
    def test_tells_its_stages_times_and_metrics(self, bedrock: Any, trained: dict[str, Any]) -> None:
        assert trained["status"] == "Completed", trained
        details = [trained["statusDetails"][f"{part}Details"] for part in ("validation", "dataProcessing", "training")]
        assert {detail["status"] for detail in details} == {"Completed"}
        times = [time for detail in details for time in (detail["creationTime"], detail["lastModifiedTime"])]
        assert times == sorted(times)
        assert trained["creationTime"] <= times[0]
        assert times[-1] <= trained["endTime"]
        assert trained["trainingMetrics"]["trainingLoss"] > 0
        assert len(trained["validationMetrics"]) == 1
        (listed,) = bedrock.list_model_customization_jobs(nameContains="trained")["modelCustomizationJobSummaries"]
        assert listed["customModelArn"] == trained["outputModelArn"]

    def test_leaves_a_model(self, bedrock: Any, trained: dict[str, Any]) -> None:
        for identifier in (trained["outputModelArn"], "trained"):
            model = bedrock.get_custom_model(modelIdentifier=identifier)
            assert (model["jobArn"], model["modelStatus"]) == (trained["jobArn"], "Active")
            for member in ("hyperParameters", "trainingMetrics", "validationMetrics", "trainingDataConfig"):
                assert model[member] == trained[member]
        tags = bedrock.list_tags_for_resource(resourceARN=trained["outputModelArn"])["tags"]
        assert tags == [{"key": "team", "value": "a"}]

    def test_writes_where_the_user_asked(self, working: Server, trained: dict[str, Any]) -> None:
        output = working.object(f"s3://data/out/model-customization-job-{trained['jobArn'].rpartition('/')[2]}")
        with (output / "training_artifacts" / "step_wise_training_metrics.csv").open() as file:
            steps = list(csv.DictReader(file))
        assert list(steps[0]) == ["step_number", "epoch_number", "training_loss", "perplexity"]
        for place in ("post_fine_tuning_validation/validation", "post_fine_tuning_validation", "."):
            with (output / "validation_artifacts" / place / "validation_metrics.csv").open() as file:
                assert "validation_loss" in next(csv.reader(file))
        assert (output / "model" / "adapter_model.safetensors").is_file()

    def test_leaves_no_working_files(self, working: Server, trained: dict[str, Any]) -> None:
        wait_for(lambda: not list((working.folder / "models").glob("work/*/data")))

    def test_may_be_the_base_of_another(self, working: Server, bedrock: Any, trained: dict[str, Any]) -> None:
        bedrock.create_model_customization_job(**asking("further", baseModelIdentifier=trained["outputModelArn"]))
        further = done(bedrock, "further")
        assert further["status"] == "Completed", further
        assert further["baseModelArn"].endswith(f"foundation-model/{BASE}")
        assert bedrock.get_custom_model(modelIdentifier="further")["baseModelArn"] == trained["outputModelArn"]
        (listed,) = bedrock.list_custom_models(baseModelArnEquals=trained["outputModelArn"])["modelSummaries"]
        assert listed["modelName"] == "further"

    def test_answers_once_it_is_deployed(
        self, working: Server, bedrock: Any, trained: dict[str, Any], client_for: Clients
    ) -> None:
        bedrock.create_custom_model_deployment(modelDeploymentName="front", modelArn=trained["outputModelArn"])
        arn = bedrock.get_custom_model_deployment(customModelDeploymentIdentifier="front")["customModelDeploymentArn"]
        runtime = client_for(working.application.endpoint, "bedrock-runtime")
        message = {"role": "user", "content": [{"text": "Who keeps station 3?"}]}
        answer = runtime.converse(modelId=arn, messages=[message], inferenceConfig={"maxTokens": 4})
        assert answer["usage"]["outputTokens"] > 0


class TestFullWeights:
    def test_stand_alone_and_carry_adapters(self, working: Server, bedrock: Any, client_for: Clients) -> None:
        full = {"hyperParameters": {"epochCount": "1", "modelyardFullWeights": "true"}}
        bedrock.create_model_customization_job(**asking("full", **full))
        assert done(bedrock, "full")["status"] == "Completed"
        bedrock.create_model_customization_job(**asking("on-full", baseModelIdentifier="full"))
        assert done(bedrock, "on-full")["status"] == "Completed"
        resolve = working.application.resolver.resolve
        base, adapter = (resolve("111122223333", "us-east-1", name) for name in ("full", "on-full"))
        assert (base.adapter, adapter.base) == (None, base.base)
        with pytest.raises(bedrock.exceptions.ConflictException, match="custom model on-full"):
            bedrock.delete_custom_model(modelIdentifier="full")
        bedrock.delete_custom_model(modelIdentifier="on-full")
        bedrock.delete_custom_model(modelIdentifier="full")
        assert not base.base.exists()


class TestOtherCustomizations:
    def test_continue_pre_training(self, working: Server, bedrock: Any) -> None:
        working.put("s3://data/text.jsonl", '{"input": "The crew of the north station keeps the light."}\n' * 20)
        text = {"customizationType": "CONTINUED_PRE_TRAINING", "trainingDataConfig": {"s3Uri": "s3://data/text.jsonl"}}
        bedrock.create_model_customization_job(**asking("continued", **text))
        job = done(bedrock, "continued")
        assert (job["status"], job["customizationType"]) == ("Completed", "CONTINUED_PRE_TRAINING"), job

    def test_distil_from_a_teacher(self, working: Server, bedrock: Any) -> None:
        rows = (
            '{"schemaVersion": "bedrock-conversation-2024", "messages": '
            f'[{{"role": "user", "content": [{{"text": "Who keeps station {n}?"}}]}}]}}\n'
            for n in range(100)
        )
        working.put("s3://data/prompts/a.jsonl", "".join(rows))
        teacher = {"teacherModelIdentifier": BASE, "maxResponseLengthForInference": 8}
        asked = {
            "customizationType": "DISTILLATION",
            "customizationConfig": {"distillationConfig": {"teacherModelConfig": teacher}},
            "trainingDataConfig": {"s3Uri": "s3://data/prompts"},
        }
        bedrock.create_model_customization_job(**asking("distilled", **asked))
        job = done(bedrock, "distilled")
        assert (job["status"], job["customizationType"]) == ("Completed", "DISTILLATION"), job


class TestAFailedJob:
    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("bad.empty", "", ["train"]),
            ("bad.json", "{\n", ["line 1"]),
            ("bad.member", ROWS + '{"prompt": "x"}\n', ["line 13", "completion"]),
            ("bad.length", '{"prompt": "Who?", "completion": "' + "crew " * 2000 + '"}\n', ["line 1", "tokens"]),
        ],
    )
    def test_names_the_bad_line_and_leaves_nothing(
        self, working: Server, bedrock: Any, name: str, content: str, words: list[str]
    ) -> None:
        working.put(f"s3://bad/{name}/train.jsonl", content)
        data = {"trainingDataConfig": {"s3Uri": f"s3://bad/{name}/train.jsonl"}}
        bedrock.create_model_customization_job(**asking(name, **data))
        job = done(bedrock, name)
        assert job["status"] == "Failed"
        assert all(word in job["failureMessage"] for word in words), job["failureMessage"]
        assert job["statusDetails"]["validationDetails"]["status"] == "Failed"
        assert job["statusDetails"]["trainingDetails"] == {"status": "NotStarted"}
        assert not {"outputModelArn", "trainingMetrics"} & job.keys()
        with pytest.raises(bedrock.exceptions.ResourceNotFoundException):
            bedrock.get_custom_model(modelIdentifier=name.replace(".", "-"))
        with pytest.raises(bedrock.exceptions.ValidationException, match="can be stopped"):
            bedrock.stop_model_customization_job(jobIdentifier=name)


class TestStop:
    @pytest.mark.parametrize("stage", ["validation", "data processing", "training", "output"])
    def test_at_any_time_leaves_no_model(self, working: Server, bedrock: Any, stage: str) -> None:
        name = f"stopped.{stage.replace(' ', '-')}"
        many = {"epochCount": "200"} if stage == "training" else {"epochCount": "1"}
        arn = bedrock.create_model_customization_job(**asking(name, hyperParameters=many))["jobArn"]
        id = arn.rpartition("/")[2]

        def begun() -> bool:
            job = working.application.store.get(US, "model customization", id)
            return job.status.final or job.stage(stage).attempt > 0

        wait_for(lambda: working.run(_soon(begun)), 180)
        bedrock.stop_model_customization_job(jobIdentifier=arn)
        assert bedrock.get_model_customization_job(jobIdentifier=arn)["status"] in ("Stopping", "Stopped")
        job = done(bedrock, arn)
        assert job["status"] == "Stopped", job
        assert "outputModelArn" not in job
        with pytest.raises(bedrock.exceptions.ResourceNotFoundException):
            bedrock.get_custom_model(modelIdentifier=name.replace(".", "-"))
        wait_for(lambda: not _left(working, id))
        bedrock.stop_model_customization_job(jobIdentifier=arn)

    def test_frees_the_models_name_but_not_the_jobs(self, working: Server, bedrock: Any) -> None:
        bedrock.create_model_customization_job(**asking("given-up"))
        bedrock.stop_model_customization_job(jobIdentifier="given-up")
        assert done(bedrock, "given-up")["status"] == "Stopped"
        with pytest.raises(bedrock.exceptions.ValidationException, match="job name is currently in use"):
            bedrock.create_model_customization_job(**asking("given-up", customModelName="other"))
        bedrock.create_model_customization_job(**asking("tried-again", customModelName="given-up"))
        bedrock.stop_model_customization_job(jobIdentifier="tried-again")
        assert done(bedrock, "tried-again")["status"] == "Stopped"


async def _soon(condition: Any) -> Any:
    return condition()


def _left(server: Server, id: str) -> list[Path]:
    """What a job left of its outputs."""
    folder = server.folder
    return [*folder.glob(f"models/work/{id}/data"), *folder.glob(f"objects/*/out/*{id}*")]
