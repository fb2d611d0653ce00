"""How long a training job on Cora takes to its first epoch, and how soon one trial follows another.

What is trained is a GCN of few epochs, whichever model is the default: its training is not what is measured. Every time
is from just before boto3's StartMLModelTrainingJob to the `time` of the first epoch that the job reports.
cold: no resident parent of the graph family runs, so that the libraries are imported first; it ends before each round.
warm: the round's second job, which finds the parent of the first.
import: `python -c 'import torch_geometric'`, next to the cold start.
next trial: from the end of one trial to the first epoch of the next, of a job that runs four one after the other.
"""

import json
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from rounds import Bar, Report, main
from servers import CORA, Modelyard, completed

TRIALS = 4
MODEL, EPOCHS = "gcn", 20


def run(quick: bool) -> Report:
    """Measures cold and warm starts in turn."""
    report = Report("From StartMLModelTrainingJob to the first epoch, Cora")
    numbers = count()
    with Modelyard() as server:
        server.process_graph("cora", CORA)
        (processed,) = server.bucket.glob("processed/*/preloading-output")
        configure(processed)
        client = server.client("neptunedata")

        def to_first_epoch(trials: int) -> tuple[str, float]:
            """A new job, completed, and its seconds to the first epoch."""
            job, began = f"job-{next(numbers)}", time.time()
            server.start_training(job, "cora", trials, parallel=1)
            completed(lambda: client.get_ml_model_training_job(id=job))
            return job, server.events(job)[0]["time"] - began

        def measure_cold() -> dict[str, float]:
            server.end_residents()
            return {"first epoch s": to_first_epoch(1)[1]}

        def measure_warm() -> dict[str, float]:
            job, seconds = to_first_epoch(TRIALS)
            return {"first epoch s": seconds, "next trial s": median(gaps(server.events(job)))}

        def measure_import() -> dict[str, float]:
            began = time.monotonic()
            subprocess.run([sys.executable, "-c", "import torch_geometric"], check=True)
            return {"first epoch s": time.monotonic() - began}

        sides = {"import torch_geometric": measure_import, "cold": measure_cold, "warm": measure_warm}
        report.measure(sides, 1 if quick else 3)
    warm = report.medians["warm"]
    cold = report.ratio("first epoch s", "cold", "import torch_geometric")
    report.bars += [
        Bar("cold, over the import", cold, high=1.5),
        Bar("warm, s", warm["first epoch s"], high=1.0),
        Bar("next trial, s", warm["next trial s"], high=0.3),
    ]
    return report


def configure(processed: Path) -> None:
    """Has a processed graph's search train the one model, briefly."""
    document = json.loads((processed / "hpo-configuration-templates" / f"{MODEL}.json").read_text())
    for tier in document["models"][0].values():
        for entry in tier if isinstance(tier, list) else ():
            if entry["param"] == "num-epochs":
                entry.update(range=[EPOCHS, EPOCHS], default=EPOCHS)
    (processed / "model-hpo-configuration.json").write_text(json.dumps(document))


def gaps(events: list[dict[str, Any]]) -> list[float]:
    """Seconds from each trial's end to the first epoch of the one that follows it."""
    ended = [event["time"] for event in events if "state" in event]
    first: dict[int, float] = {}
    for event in events:
        if "phase" not in event:
            first.setdefault(event["trial"], event["time"])
    return [begun - end for end, begun in zip(ended, list(first.values())[1:], strict=False)]


if __name__ == "__main__":
    main(run, __doc__)
