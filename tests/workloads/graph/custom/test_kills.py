"""A search whose process is killed while scripts run."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.conftest import processes_of, wait_for
from tests.workloads.graph.custom.conftest import TRAINING

from modelyard.runner.context import Context
from modelyard.workloads.graph.custom import search as stage

ATTEMPT = """
import json, sys
from pathlib import Path
from modelyard.runner.context import Context
from modelyard.workloads.graph.custom import search
told = json.loads(sys.argv[1])
paths = {name: Path(told[name]) for name in ("state", "output")}
inputs = {name: Path(path) for name, path in told["inputs"].items()}
search.run(Context(told["parameters"], inputs, cores=2, **paths))
"""


@pytest.mark.slow
def test_its_scripts_die_with_it_and_what_has_ended_is_not_done_again(
    two_communities: Any, source: Callable[..., Path], search: Callable[..., Context], tmp_path: Path
) -> None:
    mark = uuid4().hex
    waits = f"""
import subprocess
if os.environ["TRAINING_JOB_NAME"] == "trial-1":
    subprocess.run(["sh", "-c", "sleep 600; : {mark}"])
"""
    graph = two_communities(people=50).write(tmp_path / "graph").folder
    context = search(graph, source({"training.py": TRAINING + waits}), max_trials=3, max_parallel=1)
    told = asdict(context) | {"fork": None, "should_stop": None}
    process = subprocess.Popen([sys.executable, "-c", ATTEMPT, json.dumps(told, default=str)])
    wait_for(lambda: process.poll() is not None or processes_of(Path(mark)), seconds=300)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not processes_of(Path(mark)))
    ended = context.state / "trials" / "0.json"
    before = ended.stat().st_mtime_ns
    (context.state / "code" / "project" / "training.py").write_text(TRAINING)
    stage.run(context)

    trials = json.loads((context.output / "trials.json").read_text())
    assert [trial["state"] for trial in trials] == ["complete"] * 3
    assert ended.stat().st_mtime_ns == before
