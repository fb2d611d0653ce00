"""The search stage of a custom model: each trial runs the user's training script once, in a sandbox of its own.

Optuna asks and tells here, in memory. What a finished trial found lies in `state/trials/<n>.json`, so that a later
attempt goes on where this one ended. The trial's score is the last value of the objective that its script prints.
"""

import json
import logging
import shutil
import time
from collections import Counter, deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import optuna
from optuna.trial import TrialState

from modelyard import atomic
from modelyard.removal import remove
from modelyard.runner.context import Context, InputError, Stopped
from modelyard.runner.sandbox import artifacts, isolation
from modelyard.workloads.graph.custom import code
from modelyard.workloads.graph.custom.arguments import command, training_arguments, training_environment
from modelyard.workloads.graph.custom.configuration import Objective, read_configuration
from modelyard.workloads.graph.custom.requirements import installed
from modelyard.workloads.graph.custom.script import DISK, Room, Sandbox, Script
from modelyard.workloads.graph.data import Graph, read_graph
from modelyard.workloads.graph.training.suggestions import as_suggested, as_value, distribution
from modelyard.workloads.graph.training.tune import earlier_trials, sampler, seed_of

DETAILS = "tuning_job_details.json"
METRICS = "eval_metrics_info.json"
_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.1
_REPORT_SECONDS = 1.0
_MOST_VALUES = 1000
_STATES = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}
_RESERVED = {"self", "step", "time", "total", "trial", "phase", "state", "best"}


@dataclass
class Trial:
    """One trial: what it was given, and how it ended.

    parameters: the tuned ones, as Optuna knows them. hyperparameters: all. value: the objective's last.
    metrics: the last value of each metric. values: the objective's, as far as they are kept.
    """

    number: int
    parameters: dict[str, Any]
    hyperparameters: dict[str, Any]
    state: str | None = None
    reason: str | None = None
    value: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    values: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """As `trials.json` holds it."""
        kept = ("number", "state", "reason", "hyperparameters", "value", "metrics", "values", "seconds")
        return {name: getattr(self, name) for name in kept}


@dataclass
class Running:
    """A trial whose script runs; `since` is the clock's reading when it began, `reported` when it was last told of."""

    trial: Trial
    asked: optuna.trial.Trial
    script: Script
    stack: ExitStack
    heard: "Heard"
    since: float
    reported: float = 0.0


class Heard:
    """The values that a script has printed so far. It is told of lines in another thread than it is asked in.

    metrics: the last value of each metric. count: how many values of the objective there were.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._values: deque[float] = deque(maxlen=_MOST_VALUES)
        self._lock = Lock()
        self.metrics: dict[str, float] = {}
        self.count = 0

    def take(self, line: str) -> None:
        """Looks for values in a line."""
        for name, value in self._objective.read(line):
            with self._lock:
                self.metrics[name] = value
                if name == self._objective.metric:
                    self._values.append(value)
                    self.count += 1

    def values(self) -> list[float]:
        """The last values of the objective."""
        with self._lock:
            return list(self._values)


def run(context: Context) -> Mapping[str, Any]:
    """The entry point of the search stage.

    inputs: `graph`, the processed graph; `source`, the user's folder; optional `previous`, an earlier search's output.
    parameters: `max_trials`, `max_parallel`, `seed`, `training` and `transform` (names of scripts), `memory` (bytes
    that a run may use, or None), `network` and `gpu` (whether scripts have the machine's). Raises InputError, with the
    first trial's reason, if every trial failed, NoSandbox if nothing can isolate a script, and Stopped.

    Output: `model/` (what the best trial left), `code/`, `custom.json` (names of the scripts), `trials.json`,
    `tuning_job_details.json`, `training_job_details.json`, `eval_metrics_info.json`.
    """
    search = Search(context, read_graph(context.inputs["graph"]))
    search.run()
    return search.finish()


class Search:
    """One attempt at a search."""

    def __init__(self, context: Context, graph: Graph) -> None:
        self._context = context
        self._graph = graph
        parameters = context.parameters
        self._image = code.take(context.inputs["source"], context.state / "code")
        code.check(self._image, parameters["training"], parameters["transform"], code.CONFIGURATION)
        self._configuration = read_configuration(self._image.files / code.CONFIGURATION, graph)
        self._objective = self._configuration.objective
        self._total = int(parameters["max_trials"])
        self._tuned = self._configuration.space.tuned(self._total)
        self._parallel = max(1, min(int(parameters["max_parallel"]), self._total, context.cores))
        self._trials = context.state / "trials"
        self._rooms = context.state / "rooms"
        self._finished: dict[int, Trial] = {}
        self._running: dict[int, Running] = {}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="maximize" if self._objective.sign > 0 else "minimize")

    def run(self) -> None:
        """Goes on until every trial has ended. Raises Stopped when asked to."""
        self._trials.mkdir(parents=True, exist_ok=True)
        remove(self._rooms)
        self._sandbox = self._prepared()
        first = self._learn_from_before()
        for trial in self._recorded():
            self._take(trial)
        waiting = [number for number in range(self._total) if number not in self._finished]
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._parallel:
                    self._start(waiting.pop(0), first)
                next(iter(self._running.values())).script.wait(_POLL_SECONDS)
                for running in list(self._running.values()):
                    self._look(running)
                if self._context.should_stop():
                    raise Stopped
        finally:
            self._end_all()

    def finish(self) -> dict[str, Any]:
        """Writes the output folder around the best model."""
        best = self._best()
        if best is None:
            failed = min(self._finished.values(), key=lambda trial: trial.number)
            raise InputError(f"every trial failed; the first: {failed.reason}")
        output, objective = self._context.output, self._objective
        shutil.copytree(self._trials / str(best.number), output / "model")
        shutil.copytree(self._image.files, output / "code")
        scripts = {name: self._context.parameters[name] for name in ("training", "transform")}
        _write(output / "custom.json", {"model": "custom", **scripts})
        _write(output / "trials.json", [self._finished[number].document() for number in sorted(self._finished)])
        counts = Counter(str(trial.state) for trial in self._finished.values())
        job = {
            "TrainingJobName": f"trial-{best.number}",
            "TrainingJobParameters": training_arguments(self._graph.task, best.hyperparameters),
            "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": objective.metric, "Value": best.value},
        }
        _write(output / "training_job_details.json", {**job, "BestTrainingJob": job})
        _write(output / DETAILS, {"BestTrainingJob": job, "TrainingJobStatusCounters": dict(counts)})
        if (output / "model" / METRICS).is_file():
            shutil.copyfile(output / "model" / METRICS, output / METRICS)
        else:
            _write(output / METRICS, best.metrics)
        return {
            "best_trial": best.number,
            "metric": objective.metric,
            "value": best.value,
            "hyperparameters": best.hyperparameters,
            "trials": dict(counts),
            "isolation": isolation(),
        }

    def _prepared(self) -> Sandbox:
        """What all trials share, with all that `requirements.txt` names."""
        sandbox = Sandbox.of(self._image, self._context, self._parallel)
        _LOG.info(
            "%d trials, %d side by side; each isolated by %s, with %.1f GiB of memory, %d cores, %s and %s",
            *(self._total, self._parallel, isolation(), sandbox.memory / 2**30, sandbox.cores),
            f"{sandbox.gpus} shared GPUs" if sandbox.gpus else "no GPU",
            "the machine's network" if sandbox.network else "no network",
        )
        return installed(sandbox, self._context)

    def _recorded(self) -> list[Trial]:
        """What earlier attempts finished, in the order of the numbers."""
        trials = [Trial(**json.loads(path.read_text())) for path in self._trials.glob("*.json")]
        return sorted(trials, key=lambda trial: trial.number)

    def _learn_from_before(self) -> dict[str, Any] | None:
        """Shows the study an earlier job's trials; what the first trial shall try: its best setting, or the defaults.

        None where neither lies in the search space.
        """
        trials = earlier_trials(self._context)
        earlier = [(found, trial["value"]) for trial in trials if (found := self._suggested(trial)) is not None]
        for found, value in earlier:
            distributions = {one.name: distribution(one) for one in self._tuned}
            self._study.add_trial(optuna.trial.create_trial(params=found, distributions=distributions, value=value))
        defaults = {one.name: as_suggested(one, one.default) for one in self._tuned}
        first = max(earlier, key=lambda pair: self._objective.sign * pair[1])[0] if earlier else defaults
        return first if self._tuned and all(value is not None for value in first.values()) else None

    def _suggested(self, trial: Mapping[str, Any]) -> dict[str, Any] | None:
        """An earlier trial's tuned values, as Optuna would know them; None if the search space has no place for one."""
        found = {one.name: as_suggested(one, trial["hyperparameters"].get(one.name)) for one in self._tuned}
        return found if all(value is not None for value in found.values()) else None

    def _start(self, number: int, first: Mapping[str, Any] | None) -> None:
        """Asks for a setting and runs the script with it."""
        if number == 0 and first is not None:
            self._study.enqueue_trial(dict(first))
        self._study.sampler = sampler(seed_of(int(self._context.parameters.get("seed", 0)), number))
        asked = self._study.ask({one.name: distribution(one) for one in self._tuned})
        tuned = {one.name: as_value(one, asked.params[one.name]) for one in self._tuned}
        hyperparameters = {**self._configuration.space.constant(self._total), **tuned}
        arguments = training_arguments(self._graph.task, hyperparameters)
        room = Room(self._rooms / str(number)).make()
        room.write(arguments)
        heard = Heard(self._objective)
        stack = ExitStack()
        try:
            script = stack.enter_context(
                Script(
                    self._sandbox,
                    room,
                    command(self._context.parameters["training"], arguments),
                    training_environment(f"trial-{number}", arguments),
                    name=f"{self._context.state.parent.name}-{number}",
                    label=f"trial {number}:",
                    heard=heard.take,
                )
            )
        except ValueError as error:
            raise InputError(f"trial {number} cannot start: {error}") from None
        _LOG.info("trial %d begins with %s", number, tuned or "the defaults")
        trial = Trial(number, dict(asked.params), hyperparameters)
        self._running[number] = Running(trial, asked, script, stack, heard, time.monotonic())

    def _look(self, running: Running) -> None:
        """Takes what a trial has said; and, once it has ended, what it has left."""
        trial, heard, now = running.trial, running.heard, time.monotonic()
        ended = running.script.wait(0) is not None
        if heard.count and (ended or now > running.reported + _REPORT_SECONDS):
            running.reported = now
            trial.values = heard.values()
            metric = self._objective.metric
            name = metric if metric not in _RESERVED else "objective"
            self._context.report(heard.count, trial=trial.number, **{name: trial.values[-1]})
        if not ended:
            return
        del self._running[trial.number]
        with running.stack:
            trial.seconds = round(now - running.since, 3)
            trial.reason = running.script.failure() or self._collected(trial, heard)
        trial.state = "failed" if trial.reason else "complete"
        remove(self._rooms / str(trial.number))
        _write(self._trials / f"{trial.number}.json", {**trial.document(), "parameters": trial.parameters})
        self._take(trial, running.asked)

    def _collected(self, trial: Trial, heard: Heard) -> str | None:
        """Takes a trial's score, and takes over its model; why that cannot be, if it cannot."""
        trial.metrics, trial.values = heard.metrics, heard.values()
        if not trial.values:
            return self._objective.never_said()
        trial.value = trial.values[-1]
        room, left = Room(self._rooms / str(trial.number)), DISK
        half, whole = self._rooms / f"{trial.number}-model", self._trials / str(trial.number)
        for folder in (room.checkpoints, room.model):
            try:
                found = artifacts.contents(folder, left)
            except artifacts.TooLarge as error:
                return f"what the script left is too large: {error}"
            artifacts.copy(folder, found, half)
            left -= found.size
        remove(whole)
        half.rename(whole)
        return None

    def _take(self, trial: Trial, asked: optuna.trial.Trial | None = None) -> None:
        """Counts a finished trial, tells the study, and drops the files of all but the best."""
        self._finished[trial.number] = trial
        state = _STATES[trial.state or "failed"]
        if asked is not None:
            self._study.tell(asked, trial.value if trial.state == "complete" else None, state=state)
        elif state is TrialState.COMPLETE:
            distributions = {one.name: distribution(one) for one in self._tuned}
            self._study.add_trial(
                optuna.trial.create_trial(
                    state=state, params=trial.parameters, distributions=distributions, value=trial.value
                )
            )
        best = self._best()
        for one in self._finished.values():
            if one is not best:
                remove(self._trials / str(one.number))
        _LOG.info(
            "trial %d %s after %.1f s%s; best so far: %s",
            *(trial.number, trial.state, trial.seconds, f": {trial.reason}" if trial.reason else ""),
            f"{self._objective.metric} {best.value:.4f} (trial {best.number})" if best else "none",
        )
        self._context.report(
            len(self._finished),
            phase="search",
            total=self._total,
            trial=trial.number,
            state=trial.state,
            best=best.value if best else None,
        )

    def _best(self) -> Trial | None:
        """The complete trial with the best value; of equal ones the first."""
        complete = [(trial.value, trial) for trial in self._finished.values() if trial.value is not None]
        complete = [(value, trial) for value, trial in complete if trial.state == "complete"]
        ranked = sorted(complete, key=lambda pair: (-self._objective.sign * pair[0], pair[1].number))
        return ranked[0][1] if ranked else None

    def _end_all(self) -> None:
        """Ends what still runs."""
        scripts = [running.script for running in self._running.values()]
        with ExitStack() as stack:
            for running in self._running.values():
                stack.enter_context(running.stack)
            stop(scripts)
        self._running.clear()
        remove(self._rooms)


def stop(scripts: list[Script]) -> None:
    """Stops scripts, all at once."""
    if scripts:
        with ThreadPoolExecutor(len(scripts)) as pool:
            list(pool.map(Script.stop, scripts))


def _write(path: Path, document: Any) -> None:
    atomic.write(path, json.dumps(document, indent=1).encode())
