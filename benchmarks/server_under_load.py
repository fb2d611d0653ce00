"""What a server's answers lose while real trainings fill every core.

Modelyard, started as a user starts it, with a slot for each core. Idle and loaded rounds alternate: for a loaded round
a training job of many trials on Cora is started through the API (as many in parallel as there are cores) and is in its
epochs when wrk begins; after the round it is cancelled, and its processes are gone before the next idle one.
What is asked for is GetMLModelTrainingJob of a completed job: wrk, one thread, 16 connections.
"busy" is how many cores the trainings' processes kept busy meanwhile; they leave what the server and wrk use.
"""

import os
import time
from itertools import count

import psutil
from rounds import Bar, Report, main
from servers import CORA, Modelyard, wait_for
from wrk import load

JOB = "trained"
PATH = f"/ml/modeltraining/{JOB}"
TRIALS = 10_000
"""More than any round has time for."""


def run(quick: bool) -> Report:
    """Measures idle and loaded rounds."""
    report = Report("Get of a job while trainings fill every core: wrk -t1 -c16")
    seconds, rounds = (2.0, 3) if quick else (10.0, 5)
    cores = os.cpu_count() or 1
    numbers = count()
    with Modelyard("--slots", str(cores)) as server:
        server.process_small_graph("graph")
        server.train(JOB, "graph")
        server.process_graph("cora", CORA)
        client = server.client("neptunedata")

        def measure() -> dict[str, float]:
            return load(server, PATH, "neptune-db", seconds)

        def measure_loaded() -> dict[str, float]:
            job = f"load-{next(numbers)}"
            server.start_training(job, "cora", TRIALS, cores)
            wait_for(lambda: server.events(job))
            before, began = used(server), time.monotonic()
            found = measure()
            found["busy"] = (used(server) - before) / (time.monotonic() - began)
            client.cancel_ml_model_training_job(id=job)
            wait_for(lambda: client.get_ml_model_training_job(id=job)["status"] == "Stopped")
            wait_for(lambda: not server.workers())
            return found

        report.measure({"idle": measure, "loaded": measure_loaded}, rounds)
    report.bars += [
        Bar("requests/s, loaded over idle", report.ratio("requests/s", "loaded", "idle"), low=0.85),
        Bar("p99, loaded over idle", report.ratio("p99 ms", "loaded", "idle"), high=2.0),
    ]
    return report


def used(server: Modelyard) -> float:
    """Seconds of processor time that the processes of the server's jobs have used, those that ended included."""
    total = 0.0
    for process in server.tasks():
        try:
            total += sum(process.cpu_times()[:4])  # its own and its children's that ended, user and system
        except psutil.NoSuchProcess:
            continue
    return total


if __name__ == "__main__":
    main(run, __doc__)
