"""Edge classification as a user of boto3 meets it, with features of edges in message passing."""

import json
from typing import Any

import numpy as np
import pytest
from tests.services.test_neptune_ml import OUT, Server, neptune, objects, runtime, server, wait
from tests.workloads.graph.inference.test_edges import VERDICT, pairs_of, rated, table

__all__ = ["neptune", "runtime", "server"]  # fixtures


@pytest.mark.slow
def test_edge_labels_from_the_export_to_the_endpoints_answer(server: Server, neptune: Any, runtime: Any) -> None:
    rated(objects(server, "s3://bucket/films"), VERDICT)
    neptune.start_ml_data_processing_job(id="e", inputDataS3Location="s3://bucket/films", processedDataS3Location=OUT)
    processed = wait(neptune.get_ml_data_processing_job, "e")
    assert processed["status"] == "Completed", processed
    file = objects(server, processed["processingJob"]["outputLocation"]) / "model-hpo-configuration.json"
    document = json.loads(file.read_text())
    model = document["models"][0]
    assert (model["model"], model["task_type"], model["eval_metric"]) == ("rgcn", "edge_class", {"metric": "acc"})
    entries = {entry["param"]: entry for name in ("1-tier-param", "2-tier-param") for entry in model[name]}
    entries["use-edge-features"]["default"] = True
    entries["num-hidden"]["range"] = [32, 32]
    entries["num-epochs"]["range"] = [80, 80]
    file.write_text(json.dumps(document))
    neptune.start_ml_model_training_job(
        id="e", dataProcessingJobId="e", trainModelS3Location=OUT, maxHPONumberOfTrainingJobs=1
    )
    trained = wait(neptune.get_ml_model_training_job, "e", seconds=300)
    assert trained["status"] == "Completed", trained
    output = objects(server, trained["processingJob"]["outputLocation"])
    report = json.loads((output / "test_metrics_info.json").read_text())
    assert report["accuracy"] >= 0.9
    neptune.create_ml_endpoint(id="e", mlModelTrainingJobId="e")
    assert wait(neptune.get_ml_endpoint, "e", "InService", "Failed")["status"] == "InService"
    alone = [rows[0] for rows in pairs_of(table(output)).values() if len(rows) == 1 and rows[0]["split"] == "test"]
    items = [{"headNodeId": row["head"], "tailNodeId": row["tail"]} for row in alone]
    parameters = {"topk": 1, "edgeType": "rated", "property": "verdict"}  # as the toolkit's client asks
    body = json.dumps({"version": "v1", "data": {"globalParameters": parameters, "edges": items}})
    answers = json.loads(runtime.invoke_endpoint(EndpointName="e", Body=body)["Body"].read())["output"]
    said = [answer["predictions"][0]["value"] for answer in answers]
    assert said == [row["prediction"] for row in alone]
    assert np.mean([value == row["label"] for value, row in zip(said, alone, strict=True)]) >= 0.85
    neptune.delete_ml_endpoint(id="e")
