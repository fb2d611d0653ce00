import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.workloads.cleanroom.training import run

BANK, SHOP = "111111111111", "222222222222"
SECRET = "canary-4711-lovelace"
MIB = 2**20
LOGS = {"containerLogs": [{"allowedAccountIds": [BANK]}]}


@pytest.fixture
def train(
    project: Callable[[str], Path], channel: Callable[..., Path], attempt: Callable[..., Context]
) -> Callable[..., tuple[dict[str, Any], Path]]:
    """Runs a training of a program over a channel of three files; tells the result and the output."""

    def call(program: str, number: int = 1, should_stop: Any = lambda: False, **changes: Any) -> Any:
        if number == 1:
            files = channel(f"a,b\n1,{SECRET}\n", "a,b\n2,x\n", "a,b\n3,y\n"), project(program)
            call.inputs = {"channel-0": files[0], "image": files[1]}
        inputs = call.inputs | changes.pop("inputs", {})
        parameters = {
            "name": "first model",
            "arn": "arn:aws:cleanrooms-ml:us-east-1:111111111111:membership/m/trained-model/t",
            "entrypoint": None,
            "arguments": None,
            "hyperparameters": {"rate": "0.1", "odd name": "x"},
            "environment": {"OWN": "value"},
            "channels": [
                {"name": "train", "distribution": "FullyReplicated", "format": "CSV", "input": "channel-0"},
            ],
            "incremental": [],
            "mode": "File",
            "instances": 1,
            "memory": 512 * MIB,
            "volume": 512 * MIB,
            "seconds": 60,
            "metrics": [],
            "policy": None,
            "loggers": [BANK, SHOP],
            **changes,
        }
        context = attempt(parameters, inputs, number, should_stop=should_stop)
        result = run(context)
        assert not (context.state / "rooms").exists()
        return result, context.output

    return call


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def everything(folder: Path) -> bytes:
    """The bytes of all files, and their names."""
    return b"".join(str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*"))


LEARNS = """
import csv, glob, json, os
paths = sorted(glob.glob(os.environ["SM_CHANNEL_TRAIN"] + "/*.csv"))
rows = [row for path in paths for row in csv.DictReader(open(path))]
open("/opt/ml/model/model.json", "w").write(json.dumps({"mean": sum(int(row["a"]) for row in rows) / len(rows)}))
os.makedirs("/opt/ml/output/data/plots")
open("/opt/ml/output/data/plots/curve.txt", "w").write("curve")
print('"accuracy": 0.75', flush=True)
"""


def test_a_container_learns_from_a_channel_and_leaves_a_model(train: Any, sandbox: str) -> None:
    result, output = train(LEARNS)

    assert "failure" not in result
    assert files(output) == ["model/model.json", "output/plots/curve.txt"]
    assert json.loads((output / "model" / "model.json").read_text()) == {"mean": 2.0}
    assert result["digest"] == f"sha256:{'0' * 64}"
    assert result["isolation"] == sandbox
    assert (result["logs"], result["metrics"]) == ([], None)


TELLS = """
import json, os, sys
def tree(path):
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
told = {"arguments": sys.argv[1:], "environment": dict(os.environ), "files": tree("/opt/ml/input"),
        "config": {name: json.load(open(f"/opt/ml/input/config/{name}.json"))
                   for name in ("hyperparameters", "inputdataconfig", "resourceconfig")}}
json.dump(told, open("/opt/ml/model/told.json", "w"))
"""


def test_a_container_finds_what_sagemaker_gives_it(train: Any) -> None:
    _, output = train(TELLS)
    told = json.loads((output / "model" / "told.json").read_text())

    assert told["arguments"] == ["train"]
    assert told["config"]["hyperparameters"] == {"rate": "0.1", "odd name": "x"}
    assert told["config"]["inputdataconfig"]["train"] == {
        "ContentType": "text/csv",
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    assert told["config"]["resourceconfig"]["current_host"] == "algo-1"
    data = [path for path in told["files"] if "/data/" in path]
    assert data == [f"/opt/ml/input/data/train/part-0000{number}.csv" for number in range(3)]
    expected = {
        "OWN": "value",
        "SM_CHANNEL_TRAIN": "/opt/ml/input/data/train",
        "SM_CHANNELS": '["train"]',
        "SM_MODEL_DIR": "/opt/ml/model",
        "SM_OUTPUT_DIR": "/opt/ml/output",
        "SM_OUTPUT_DATA_DIR": "/opt/ml/output/data",
        "SM_HP_RATE": "0.1",
        "SM_NUM_CPUS": "2",
        "FILE_FORMAT": "csv",
        "TRAINING_JOB_NAME": "first model",
    }
    assert expected.items() <= told["environment"].items()
    assert json.loads(told["environment"]["SM_HPS"]) == {"rate": "0.1", "odd name": "x"}


def test_an_entry_point_is_not_told_to_train(train: Any) -> None:
    _, output = train(TELLS, entrypoint=["python", "main.py", "--fast"])

    assert json.loads((output / "model" / "told.json").read_text())["arguments"] == ["--fast"]


def test_arguments_replace_the_word_train(train: Any) -> None:
    _, output = train(TELLS, arguments=["--epochs", "3"])

    assert json.loads((output / "model" / "told.json").read_text())["arguments"] == ["--epochs", "3"]


def test_hosts_share_the_files_of_a_sharded_channel(train: Any) -> None:
    channels = [{"name": "train", "distribution": "ShardedByS3Key", "format": "CSV", "input": "channel-0"}]
    program = """
import os
host = os.environ["SM_CURRENT_HOST"]
open(f"/opt/ml/model/{host}.txt", "w").write(" ".join(sorted(os.listdir("/opt/ml/input/data/train"))))
open("/opt/ml/model/common.txt", "w").write(host + " of " + os.environ["SM_HOSTS"])
"""
    result, output = train(program, channels=channels, instances=2)

    assert "failure" not in result
    assert (output / "model" / "algo-1.txt").read_text() == "part-00000.csv part-00002.csv"
    assert (output / "model" / "algo-2.txt").read_text() == "part-00001.csv"
    assert (output / "model" / "common.txt").read_text() == 'algo-1 of ["algo-1", "algo-2"]'


def test_a_pipe_is_read_once_for_each_epoch(train: Any) -> None:
    program = """
read = [open(f"/opt/ml/input/data/train_{epoch}").read() for epoch in range(3)]
open("/opt/ml/model/read.txt", "w").write(f"{len(set(read))} {read[0].count(chr(10))}")
"""
    result, output = train(program, mode="Pipe")

    assert "failure" not in result
    assert (output / "model" / "read.txt").read_text() == "1 6"


def test_an_earlier_model_is_there_unpacked_and_packed(train: Any, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier"
    (earlier / "deep").mkdir(parents=True)
    (earlier / "deep" / "weights").write_text("weights")
    program = """
import os, tarfile
folder = os.environ["SM_CHANNEL_BEFORE"]
with tarfile.open(folder + "/model.tar.gz") as tar:
    packed = tar.extractfile("deep/weights").read().decode()
open("/opt/ml/model/read.txt", "w").write(packed + " " + open(folder + "/deep/weights").read())
"""
    inputs = {"incremental-0": earlier}
    result, output = train(program, inputs=inputs, incremental=[{"name": "before", "input": "incremental-0"}])

    assert "failure" not in result
    assert (output / "model" / "read.txt").read_text() == "weights weights"


@pytest.mark.parametrize("name", ["..", "."])
def test_a_channel_cannot_be_named_after_another_folder(name: str, train: Any) -> None:
    channels = [{"name": name, "distribution": "FullyReplicated", "format": "CSV", "input": "channel-0"}]
    with pytest.raises(InputError, match="a channel's name is that of a folder"):
        train(LEARNS, channels=channels)


def test_checkpoints_are_there_for_the_next_attempt(train: Any) -> None:
    program = """
import os
path = "/opt/ml/checkpoints/epoch"
if os.path.exists(path):
    open("/opt/ml/model/from.txt", "w").write(open(path).read())
else:
    open(path, "w").write("7")
    raise SystemExit(1)
"""
    assert train(program)[0]["failure"]["code"] == "CONTAINER_EXITED_NON_ZERO"
    assert (train(program, number=2)[1] / "model" / "from.txt").read_text() == "7"


FAILS = f"""
import sys
print("epoch 1 of 3")
print("row {SECRET}", file=sys.stderr, flush=True)
open("/opt/ml/output/failure", "w").write("no luck with {SECRET}\\n" + "x" * 5000)
raise ValueError("{SECRET}")
"""


def test_a_failure_is_told_without_the_containers_words(train: Any) -> None:
    result, output = train(FAILS)

    assert result["failure"] == {
        "code": "CONTAINER_EXITED_NON_ZERO",
        "message": "The container algo-1 ended with exit status 1.",
        "said": {},
    }
    assert SECRET.encode() not in everything(output) + json.dumps(result).encode()


def test_nobody_but_the_allowed_reads_log_and_failure(train: Any) -> None:
    result, output = train(FAILS, policy=LOGS)

    assert files(output / "logs") == [f"{BANK}.log"]
    log = (output / "logs" / f"{BANK}.log").read_text()
    assert f"algo-1 row {SECRET}" in log
    assert log.splitlines()[-1].endswith("modelyard The container algo-1 ended with exit status 1.")
    said = result["failure"]["said"]
    assert list(said) == [BANK]
    assert said[BANK].startswith(f"no luck with {SECRET}\nxxx")
    assert len(said[BANK]) == 1024


def test_a_log_is_redacted_before_it_is_written(train: Any) -> None:
    redaction = {"entitiesToRedact": ["NUMBERS"]}
    policy = {
        "containerLogs": [
            {"allowedAccountIds": [BANK], "logRedactionConfiguration": redaction, "filterPattern": "row"},
            {"allowedAccountIds": [SHOP], "logType": "ERROR_SUMMARY"},
        ]
    }
    result, output = train(FAILS, policy=policy)
    logs = {path.stem: path.read_text() for path in (output / "logs").iterdir()}

    assert "row canary-***-lovelace" in logs[BANK]
    assert "4711" not in logs[BANK] + json.dumps(result)
    assert "epoch" not in logs[BANK]
    assert SECRET not in logs[SHOP]
    assert "algo-1 ValueError at main.py, line 6, in <module>" in logs[SHOP]


def test_metrics_are_found_as_the_policy_allows(train: Any) -> None:
    metrics = [{"name": "accuracy", "regex": '"accuracy": ([0-9.]+)'}]
    result, output = train(LEARNS, metrics=metrics, policy={"containerMetrics": {"noiseLevel": "NONE"}})

    assert result["metrics"] == 1
    assert (output / "metrics.csv").read_text().splitlines()[1].endswith(",accuracy,0.75")


def test_without_a_policy_there_are_no_metrics(train: Any) -> None:
    result, output = train(LEARNS, metrics=[{"name": "accuracy", "regex": '"accuracy": ([0-9.]+)'}])

    assert result["metrics"] is None
    assert not (output / "metrics.csv").exists()


def test_a_wrong_policy_lets_nothing_run(train: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a regular expression"):
        train(LEARNS, policy={"containerLogs": [{"allowedAccountIds": [BANK], "filterPattern": "("}]})


@pytest.mark.parametrize(("limit", "allowed"), [(110, True), (109, False)])
def test_artifacts_are_limited_to_the_byte(limit: int, allowed: bool, train: Any) -> None:
    program = """
open("/opt/ml/model/m", "wb").write(bytes(99))
open("/opt/ml/output/data/o", "wb").write(bytes(9))
"""
    result, output = train(program, policy={"maxArtifactSize": {"unit": "GB", "value": limit / 10**9}})

    assert ("failure" not in result) == allowed
    assert files(output) == (["model/m", "output/o"] if allowed else [])
    if not allowed:
        assert result["failure"]["code"] == "ARTIFACT_TOO_LARGE"


@pytest.fixture
def slow() -> Iterator[None]:
    """A limit of time on what could hang."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 60


def test_the_time_is_limited(train: Any, slow: None) -> None:
    program = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(0))\nprint('ready')\ntime.sleep(600)"
    result, _ = train(program, seconds=1)

    assert result["failure"]["code"] == "MAX_RUNTIME_EXCEEDED"


def test_a_cancelled_training_stops(train: Any, slow: None) -> None:
    with pytest.raises(Stopped):
        train(
            "import time\nimport signal\nsignal.signal(15, signal.SIG_DFL)\ntime.sleep(600)", should_stop=lambda: True
        )


@pytest.mark.slow
def test_a_container_that_ignores_being_asked_is_killed(train: Any, slow: None) -> None:
    asked = time.monotonic() + 1
    with pytest.raises(Stopped):
        train(
            "import time\nimport signal\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(600)",
            should_stop=lambda: time.monotonic() > asked,
        )
    assert time.monotonic() - asked < 20
