import json
import re
from typing import Any

import pytest
from tests.boto import Clients
from tests.model_folders import write_model
from tests.services.bedrock.conftest import ROLE, Server, ended


def request(**changes: Any) -> dict[str, Any]:
    source = {"s3DataSource": {"s3Uri": "s3://data/model/"}}
    asked = {"jobName": "job", "importedModelName": "mine", "roleArn": ROLE, "modelDataSource": source}
    return {**asked, **changes}


class TestImport:
    def test_makes_a_model_of_a_folder(self, working: Server, client: Any) -> None:
        folder = write_model(working.object("s3://data/model"))
        (folder / "README.md").write_text("stays where it is")
        (folder / "original").mkdir()
        tags = [{"key": "a", "value": "1"}]
        arn = client.create_model_import_job(**request(importedModelTags=tags, jobTags=tags))["jobArn"]
        job = ended(lambda: client.get_model_import_job(jobIdentifier="job"))
        assert (job["status"], job["jobArn"], job["roleArn"]) == ("Completed", arn, ROLE)
        assert re.fullmatch(
            r"arn:aws:bedrock:us-east-1:111122223333:imported-model/[a-z0-9]{12}", job["importedModelArn"]
        )
        for identifier in (job["importedModelArn"], "mine"):
            model = client.get_imported_model(modelIdentifier=identifier)
            assert (model["modelName"], model["jobArn"], model["instructSupported"]) == ("mine", arn, True)
            assert model["modelArchitecture"] == "LlamaForCausalLM"
        (listed,) = client.list_imported_models(nameContains="min")["modelSummaries"]
        assert listed["modelArn"] == job["importedModelArn"]
        for resource in (arn, listed["modelArn"]):
            assert client.list_tags_for_resource(resourceARN=resource)["tags"] == tags
        served = working.application.resolver.resolve("111122223333", "us-east-1", listed["modelArn"])
        assert sorted(path.name for path in served.base.iterdir()) == [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
        client.delete_imported_model(modelIdentifier="mine")
        assert not served.base.exists()
        assert client.list_imported_models()["modelSummaries"] == []
        (summary,) = client.list_model_import_jobs(statusEquals="Completed")["modelImportJobSummaries"]
        assert summary["importedModelName"] == "mine"

    @pytest.mark.parametrize(
        ("spoil", "word"),
        [
            ("pytorch_model.bin", "s3://data/model/pytorch_model.bin: pickles"),
            ("config.json", "s3://data/model/config.json: it is no JSON"),
        ],
    )
    def test_refuses_folders_that_are_no_models_at_once(
        self, server: Server, bedrock: Any, spoil: str, word: str
    ) -> None:
        (write_model(server.object("s3://data/model")) / spoil).write_bytes(b"")
        with pytest.raises(bedrock.exceptions.ValidationException, match=word):
            bedrock.create_model_import_job(**request())
        assert bedrock.list_model_import_jobs()["modelImportJobSummaries"] == []

    def test_refuses_what_is_not_there_and_code_of_the_models_own(self, server: Server, bedrock: Any) -> None:
        with pytest.raises(bedrock.exceptions.ValidationException, match="GetObject"):
            bedrock.create_model_import_job(**request())
        folder = write_model(server.object("s3://data/model"))
        (folder / "config.json").write_text(json.dumps({"auto_map": {}, "architectures": ["XForCausalLM"]}))
        with pytest.raises(bedrock.exceptions.ValidationException, match="auto_map"):
            bedrock.create_model_import_job(**request())

    def test_of_a_folder_that_spoils_meanwhile_fails_and_leaves_the_name(self, working: Server, client: Any) -> None:
        folder = write_model(working.object("s3://data/model"))
        (folder / "extra.json").symlink_to("/etc/hostname")
        client.create_model_import_job(**request())
        job = ended(lambda: client.get_model_import_job(jobIdentifier="job"))
        assert (job["status"], "extra.json" in job["failureMessage"]) == ("Failed", True)
        assert "importedModelArn" not in job
        assert list((working.folder / "models").glob("imported/*")) == []
        (folder / "extra.json").unlink()
        client.create_model_import_job(**request(jobName="again"))
        assert ended(lambda: client.get_model_import_job(jobIdentifier="again"))["status"] == "Completed"

    def test_names_and_tokens_are_taken_once(self, server: Server, bedrock: Any) -> None:
        write_model(server.object("s3://data/model"))
        first = bedrock.create_model_import_job(**request(clientRequestToken="token"))["jobArn"]
        assert bedrock.create_model_import_job(**request(clientRequestToken="token"))["jobArn"] == first
        with pytest.raises(bedrock.exceptions.ConflictException):
            bedrock.create_model_import_job(**request(clientRequestToken="token", jobName="other"))
        with pytest.raises(bedrock.exceptions.ValidationException, match="job name is currently in use"):
            bedrock.create_model_import_job(**request(importedModelName="other"))
        with pytest.raises(bedrock.exceptions.ValidationException, match="model name is currently in use"):
            bedrock.create_model_import_job(**request(jobName="other"))

    def test_reaches_nobody_elses(self, server: Server, bedrock: Any, client_for: Clients) -> None:
        write_model(server.object("s3://data/model"))
        arn = bedrock.create_model_import_job(**request())["jobArn"]
        stranger = client_for(server.application.endpoint, "bedrock", account="999999999999")
        for identifier in (arn, "job"):
            with pytest.raises(stranger.exceptions.ResourceNotFoundException):
                stranger.get_model_import_job(jobIdentifier=identifier)
