"""How many Gets a second one server process answers, beside moto_server.

Modelyard answers GetMLModelTrainingJob of a job that was really processed and trained, with its read of SQLite.
moto_server (in memory, the emulator that Python's users of AWS reach for) answers GetModelCustomizationJob of a job
made through boto3. Both requests carry signed headers of the same form, and every answer must be a success.
wrk: one thread, 16 connections; "cpu us" is the server's processor time for one of its answers. boto3: one client, one
request after the other.
Sides alternate; what counts is the ratio of the medians.
"""

import time
from collections.abc import Callable
from typing import Any

from rounds import Bar, Report, main, percentile
from servers import Modelyard, Moto, running
from wrk import load

JOB = "trained"
PATH = f"/ml/modeltraining/{JOB}"
MOTO_PATH = f"/model-customization-jobs/{Moto.JOB}"


def run(quick: bool) -> Report:
    """Measures both servers."""
    report = Report("Get of a job: one server process; wrk -t1 -c16, and one boto3 client")
    seconds, calls, rounds = (1.0, 100, 3) if quick else (5.0, 500, 5)
    with running(modelyard := Modelyard(), moto := Moto()):
        modelyard.process_small_graph("graph")
        modelyard.train(JOB, "graph")
        moto.make_job()
        ours, theirs = modelyard.client("neptunedata"), moto.client("bedrock")

        def measure_modelyard() -> dict[str, float]:
            found = load(modelyard, PATH, "neptune-db", seconds)
            return found | latency(lambda: ours.get_ml_model_training_job(id=JOB), calls)

        def measure_moto() -> dict[str, float]:
            found = load(moto, MOTO_PATH, "bedrock", seconds)
            return found | latency(lambda: theirs.get_model_customization_job(jobIdentifier=Moto.JOB), calls)

        report.measure({"modelyard": measure_modelyard, "moto_server": measure_moto}, rounds)
    report.bars += [
        Bar("requests/s, over moto's", report.ratio("requests/s", "modelyard", "moto_server"), low=30),
        Bar("boto3 p50, over moto's", report.ratio("boto3 p50 ms", "modelyard", "moto_server"), high=0.30),
    ]
    return report


def latency(call: Callable[[], Any], calls: int) -> dict[str, float]:
    """What one client waits for an answer, milliseconds."""
    call()
    waited = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        waited.append((time.perf_counter() - began) * 1e3)
    return {"boto3 p50 ms": percentile(waited, 0.5)}


if __name__ == "__main__":
    main(run, __doc__)
