"""One run of a user's script, in a sandbox, with the folders and variables of SageMaker's training containers."""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelyard.runner.context import Context
from modelyard.runner.sandbox import Bind, Container, Limits, OpenedImage, gpu
from modelyard.workloads.graph.custom.readable import readable
from modelyard.workloads.lines import Lines

ROOT = "/opt/ml"
GRAPH = f"{ROOT}/input/data/train"
PACKAGES = f"{ROOT}/packages"
HOST = "algo-1"
GIB = 2**30
DISK = 16 * GIB
"""Bytes that one run may leave, and hold meanwhile."""
MOST_LOGGED = 8 * 2**20
"""Bytes of one run's output that go into the job's log."""
STOP_SECONDS = 8.0
"""What a script has to end itself when its job is stopped: less than the supervisor gives the task."""
_SHARE = 0.5
"""Of this machine's memory, for all runs of a job together, unless the operator says how much one may use."""
_LAST_WORDS = 300
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Room:
    """The folders of one run: what it reads is written here, what it leaves is found here. `folder` is this task's."""

    folder: Path

    def make(self) -> Self:
        """Makes the folders, where they are not there yet."""
        for name in ("input/config", "input/data/train", "model", "output/data", "checkpoints"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        return self

    @property
    def model(self) -> Path:
        """`SM_MODEL_DIR`."""
        return self.folder / "model"

    @property
    def checkpoints(self) -> Path:
        """`/opt/ml/checkpoints`."""
        return self.folder / "checkpoints"

    @property
    def output(self) -> Path:
        """`SM_OUTPUT_DIR`."""
        return self.folder / "output"

    def write(self, hyperparameters: Mapping[str, Any]) -> None:
        """Writes `/opt/ml/input/config/hyperparameters.json`, whose values are texts."""
        texts = {name: text(value) for name, value in hyperparameters.items()}
        (self.folder / "input" / "config" / "hyperparameters.json").write_text(json.dumps(texts))

    def binds(self, graph: Path) -> list[Bind]:
        """What a run sees of all this, and the graph."""
        writable = [Bind(self.folder / name, f"{ROOT}/{name}", True) for name in ("model", "output", "checkpoints")]
        return [Bind(self.folder / "input", f"{ROOT}/input"), Bind(graph, GRAPH), *writable]


@dataclass(frozen=True)
class Sandbox:
    """What all runs of a job share. memory: bytes for each. packages: what was installed for them, if anything was.

    network, gpu: whether they have the machine's.
    """

    code: OpenedImage
    graph: Path
    memory: int
    cores: int
    network: bool = False
    gpu: bool = False
    packages: Path | None = None

    @classmethod
    def of(cls, code: OpenedImage, context: Context, runs: int = 1) -> Self:
        """As a task's parameters have it (see `search.run`), for so many runs side by side."""
        parameters = context.parameters
        return cls(
            code=code,
            graph=readable(context.inputs["graph"], context.state / "graph"),
            memory=_memory(parameters["memory"], runs),
            cores=max(1, context.cores // runs),
            network=parameters["network"],
            gpu=parameters.get("gpu", False),
        )

    @property
    def gpus(self) -> int:
        """How many a run may use."""
        return gpu.count() if self.gpu else 0

    @property
    def limits(self) -> Limits:
        """What one run may use."""
        return Limits(memory=self.memory, cores=self.cores, disk=DISK)


class Script:
    """A run, for a `with` statement; leaving it kills whatever still runs.

    arguments: the script and what follows. name: unlike that of any other container that runs. label: what its lines
    in the log begin with. heard: called with each line that it says. NoSandbox if nothing can isolate it.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        room: Room,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        name: str,
        label: str,
        heard: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._script = arguments[0]
        self._sandbox = sandbox
        self._words = _Words(label, heard)
        self._lines = Lines(self._words.take)
        packages = [Bind(sandbox.packages, PACKAGES)] if sandbox.packages else []
        paths = {"PYTHONPATH": f"/opt/program:{PACKAGES}"} if packages else {}
        self._container = Container(
            sandbox.code,
            arguments=arguments,
            environment={**_shared(sandbox), **environment, **paths},
            binds=[*room.binds(sandbox.graph), *packages],
            limits=sandbox.limits,
            name=name,
            output=self._lines.add,
            entrypoint=["python3"],
            hostname=HOST,
            network=sandbox.network,
            gpu=sandbox.gpu,
        )

    def __enter__(self) -> Self:
        self._container.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.__exit__(kind, error, trace)
        self._lines.end()

    def wait(self, seconds: float) -> int | None:
        """Waits for the end, for so many seconds at most: the exit status; None if it still runs."""
        return self._container.wait(seconds)

    def stop(self) -> None:
        """Asks it to end, and kills it if it does not."""
        self._container.stop(STOP_SECONDS)

    def failure(self) -> str | None:
        """Why the run was none, once it has ended; with the last that it said. None if it ended well."""
        status = self._container.poll()
        assert status is not None
        self._lines.end()
        limits = self._sandbox.limits
        if self._container.memory_exceeded:
            return (
                f"{self._script} needed more than the {limits.memory / GIB:.1f} GiB of memory that a run may use here; "
                "fewer runs side by side may use more each, and modelyard serve --custom-model-memory says how much"
            )
        if self._container.disk_exceeded:
            return f"{self._script} wrote more than the {limits.disk / GIB:.0f} GiB that a run may leave"
        if status == 0:
            return None
        ended = f"was ended by signal {status - 128}" if status > 128 else f"ended with exit status {status}"
        return f"{self._script} {ended}" + (f": {self._words.last}" if self._words.last else "")


def _memory(given: int | None, runs: int) -> int:
    """Bytes that each of some runs side by side may use: what the operator says, else a part of this machine's."""
    return given or int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _SHARE) // runs


def text(value: Any) -> str:
    """A hyperparameter as an argument."""
    return value if isinstance(value, str) else str(value) if isinstance(value, bool) else json.dumps(value)


def _shared(sandbox: Sandbox) -> dict[str, str]:
    """The variables that every run has."""
    cores = str(sandbox.cores)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if sandbox.gpu else None
    return {
        "SM_MODEL_DIR": f"{ROOT}/model",
        "SM_OUTPUT_DIR": f"{ROOT}/output",
        "SM_OUTPUT_DATA_DIR": f"{ROOT}/output/data",
        "SM_INPUT_DIR": f"{ROOT}/input",
        "SM_INPUT_CONFIG_DIR": f"{ROOT}/input/config",
        "SM_NUM_GPUS": str(sandbox.gpus),
        "SM_NUM_CPUS": cores,
        "SM_CURRENT_HOST": HOST,
        "SM_HOSTS": json.dumps([HOST]),
        "SM_LOG_LEVEL": "20",
        **({"CUDA_VISIBLE_DEVICES": visible} if visible is not None else {}),
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), cores),
    }


class _Words:
    """What a script says: handed on line by line, and into the job's log as long as that has room for it."""

    def __init__(self, label: str, heard: Callable[[str], None]) -> None:
        self.last = ""
        self._label = label
        self._heard = heard
        self._left = MOST_LOGGED

    def take(self, line: bytes) -> None:
        text = _CONTROL.sub("", line.decode(errors="replace"))
        if not text.strip():
            return
        self.last = text.strip()[:_LAST_WORDS]
        self._heard(text)
        if self._left < 0:
            return
        self._left -= len(line)
        shown = text if self._left >= 0 else f"[the rest is left out: it said more than {MOST_LOGGED:,} bytes]"
        sys.stderr.write(f"{self._label} {shown}\n")
