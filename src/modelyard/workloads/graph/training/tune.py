"""The search stage of a training job: proposes settings, has workers try them, keeps the best model.

Optuna asks and tells here, in memory; trials train in processes of their own, one thread each. What a finished trial
found lies in `state/trials/<n>.json`, so a later attempt goes on where this one ended.
"""

import json
import logging
import math
import selectors
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from modelyard import atomic
from modelyard.runner.context import Context, InputError, Stopped, Worker
from modelyard.workloads.graph.data import Graph, read_graph
from modelyard.workloads.graph.models.gnn import GNN
from modelyard.workloads.graph.models.registry import model_class
from modelyard.workloads.graph.training.adjacency import adjacency_path, build_adjacency
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.proposals import Proposals
from modelyard.workloads.graph.training.search_space import LOWER_IS_BETTER, SearchSpace, read_search_spaces

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.25
_SEEDS = 100_003
_SEED_LIMIT = 1 << 32  # numpy takes no larger ones
_STARTUP_TRIALS = 8
_STARTUP_PRUNED = 4
_WARMUP_EVALUATIONS = 30
_SECOND_CHANCES = 1
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}

State = Literal["complete", "pruned", "failed"]


@dataclass
class Trial:
    """One trial: what it was given, how it ended, and its evaluations (as `train.Score`).

    model: its name. parameters: the tuned ones, as Optuna knows them. hyperparameters: all, by AWS's names.
    """

    number: int
    model: str
    parameters: dict[str, Any]
    hyperparameters: dict[str, Any]
    seed: int
    state: State | None = None
    reason: str | None = None
    wrong_input: bool = False
    scores: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def best(self, sign: int) -> dict[str, Any]:
        """The best evaluation; of equal ones that with the lowest validation loss. `sign` is -1 if lower is better."""
        return max(self.scores, key=lambda score: (sign * score["value"], -score["valid_loss"]))

    def document(self, sign: int) -> dict[str, Any]:
        """As `trials.json` holds it: `value` and `epoch` are the best evaluation's, None without any."""
        best = self.best(sign) if self.scores else {"value": None, "epoch": None}
        kept = ("number", "model", "state", "reason", "hyperparameters", "seed", "seconds")
        found = {"value": best["value"], "epoch": best["epoch"], "scores": self.scores}
        return {name: getattr(self, name) for name in kept} | found


def run(context: Context) -> Mapping[str, Any]:
    """The entry point of the search stage.

    inputs: `graph`, the processed graph with the search space beside it; optional `previous`, an earlier search's
    output. parameters: `max_trials`, `max_parallel`, `model_name` (or None), `seed`. Raises InputError or
    RuntimeError, with the first trial's reason, if every trial failed, and Stopped.
    """
    graph = read_graph(context.inputs["graph"])
    spaces = read_search_spaces(graph.folder, graph, context.parameters.get("model_name"))
    search = Search(context, graph, spaces)
    search.run()
    return search.finish()


class Search:
    """One attempt at a search, over one model's search space or several, all judged by the same metric."""

    def __init__(self, context: Context, graph: Graph, spaces: Sequence[SearchSpace]) -> None:
        self._context = context
        self._graph = graph
        self._evaluation = spaces[0].evaluation
        self._total = int(context.parameters["max_trials"])
        self._seed = int(context.parameters.get("seed", 0))
        self._proposals = Proposals(spaces, self._total)
        self._sign = -1 if self._evaluation["metric"] in LOWER_IS_BETTER else 1
        self._trials = context.state / "trials"
        self._finished: dict[int, Trial] = {}
        self._running: dict[int, Running] = {}
        self._lost: Counter[int] = Counter()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            direction="maximize" if self._sign > 0 else "minimize", pruner=pruner(len(spaces))
        )

    def run(self) -> None:
        """Goes on until every trial has ended. Raises Stopped when asked to."""
        self._trials.mkdir(parents=True, exist_ok=True)
        first = self._learn_from_before()
        for trial in self._recorded():
            self._take(trial)
        for model, constant in self._proposals.constant.items():
            _LOG.info("%d trials of %s; not tuned: %s", self._total, model, constant)
        waiting = [number for number in range(self._total) if number not in self._finished]
        parallel = max(1, min(int(self._context.parameters["max_parallel"]), self._context.cores))
        with selectors.DefaultSelector() as selector:
            while waiting or self._running:
                while waiting and len(self._running) < parallel:
                    self._start(waiting.pop(0), first, selector)
                for key, _ in selector.select(_POLL_SECONDS):
                    if (lost := self._listen(key.data, selector)) is not None:
                        waiting.insert(0, lost)
                if self._context.should_stop():
                    raise Stopped

    def finish(self) -> dict[str, Any]:
        """Writes the output folder around the best model, and has that tested."""
        complete = [trial for trial in self._finished.values() if trial.state == "complete"]
        if not complete:
            failed = min(self._finished.values(), key=lambda trial: trial.number)
            error = InputError if failed.wrong_input else RuntimeError
            raise error(f"every trial failed; the first: {failed.reason}")
        best = self._best(complete)
        output = self._context.output
        for path in sorted((self._trials / str(best.number)).iterdir()):
            shutil.copyfile(path, output / path.name)
        counts = Counter(str(trial.state) for trial in self._finished.values())
        ordered = [self._finished[number] for number in sorted(self._finished)]
        atomic.write(output / "trials.json", _a_line_each([trial.document(self._sign) for trial in ordered]))
        job = {
            "TrainingJobName": f"trial-{best.number}",
            "TrainingJobParameters": {name: json.dumps(value) for name, value in best.hyperparameters.items()},
            "FinalHyperParameterTuningJobObjectiveMetric": {
                "MetricName": self._evaluation["metric"],
                "Value": best.best(self._sign)["value"],
            },
        }
        _write(output / "training_job_details.json", {**job, "BestTrainingJob": job})
        counters = {"BestTrainingJob": job, "TrainingJobStatusCounters": dict(counts)}
        _write(output / "tuning_job_details.json", counters)
        self._assess(output)
        return {
            "best_trial": best.number,
            "model": best.model,
            "metric": self._evaluation["metric"],
            "value": best.best(self._sign)["value"],
            "hyperparameters": best.hyperparameters,
            "trials": dict(counts),
        }

    def _recorded(self) -> list[Trial]:
        """What earlier attempts finished, in the order of the numbers."""
        trials = [Trial(**json.loads(path.read_text())) for path in self._trials.glob("*.json")]
        return sorted(trials, key=lambda trial: trial.number)

    def _learn_from_before(self) -> list[dict[str, Any]]:
        """Shows the study an earlier job's finished trials; returns what the first trials shall try.

        That is the earlier job's best setting, then the defaults of every model that it did not try.
        """
        earlier = [{"model": "rgcn", **trial} for trial in earlier_trials(self._context)]
        drawn = [(trial, self._proposals.drawn(trial["model"], trial["hyperparameters"])) for trial in earlier]
        known = [(trial, parameters) for trial, parameters in drawn if parameters is not None]
        for trial, parameters in known:
            distributions = self._proposals.distributions(trial["model"])
            self._study.add_trial(
                optuna.trial.create_trial(params=parameters, distributions=distributions, value=trial["value"])
            )
        first = [max(known, key=lambda one: self._rank_before(one[0]))[1]] if known else []
        tried = {trial["model"] for trial, _ in known}
        return first + [self._proposals.defaults(model) for model in self._proposals.models if model not in tried]

    def _rank_before(self, trial: Mapping[str, Any]) -> tuple[float, float]:
        """By which an earlier job chose its best trial: the metric, then the validation loss."""
        losses = [one["valid_loss"] for one in trial.get("scores", ()) if one["value"] == trial["value"]]
        return self._sign * trial["value"], -min(losses, default=math.inf)

    def _start(self, number: int, first: Sequence[Mapping[str, Any]], selector: selectors.BaseSelector) -> None:
        """Asks for a setting and has a worker try it.

        The sampler's seed comes from the trial's number, so that a search that was interrupted proposes what it would
        have proposed without.
        """
        if number < len(first):
            self._study.enqueue_trial(dict(first[number]))
        seed = seed_of(self._seed, number)
        self._study.sampler = sampler(seed, len(self._proposals.models))
        asked = self._study.ask()
        model, tuned = self._proposals.draw(asked)
        hyperparameters = Hyperparameters.from_names({**self._proposals.constant[model], **tuned}, model)
        trial = Trial(number, model, dict(asked.params), hyperparameters.names(model), seed)
        self._prepare(trial.model, hyperparameters.use_self_loop)
        worker = self._context.fork(
            "modelyard.workloads.graph.training.train:trial",
            {
                "graph": str(self._graph.folder),
                "state": str(self._context.state),
                "number": number,
                "model": trial.model,
                "hyperparameters": trial.hyperparameters,
                "evaluation": dict(self._evaluation),
                "seed": seed,
            },
        )
        _LOG.info("trial %d begins: %s with %s", number, model, tuned or "the defaults")
        self._running[number] = Running(trial, asked, worker, time.monotonic())
        selector.register(worker.channel, selectors.EVENT_READ, number)

    def _prepare(self, name: str, use_self_loop: bool) -> None:
        """The adjacency is worked out once, by the first trial of a model that needs it."""
        path, model = adjacency_path(self._context.state, name, use_self_loop), model_class(name)
        if not path.exists() and issubclass(model, GNN):
            self._context.report(0, phase="preparing the graph")
            build_adjacency(self._graph, model.relations(self._graph, use_self_loop), use_self_loop).write(path)

    def _listen(self, number: int, selector: selectors.BaseSelector) -> int | None:
        """Takes what a worker has said. Returns the trial's number if the worker was lost and shall be replaced."""
        running = self._running[number]
        trial = running.trial
        while message := running.worker.channel.poll():
            if scores := message.get("scores"):
                self._take_scores(running, scores)
            if "result" in message:
                trial.state = message["result"]
                trial.reason = message.get("reason")
                trial.wrong_input = message.get("wrong_input", False)
        if not running.worker.channel.ended:
            return None
        selector.unregister(running.worker.channel)
        running.worker.channel.close()
        del self._running[number]
        trial.seconds = round(time.monotonic() - running.since, 3)
        if trial.state is None:
            self._lost[number] += 1
            trial.state, trial.reason = "failed", "the trial's process ended without a result (was it out of memory?)"
            if self._lost[number] <= _SECOND_CHANCES:
                _LOG.warning("trial %d: its process ended without a result; it begins again", number)
                self._study.tell(running.asked, state=TrialState.FAIL)
                return number
        atomic.write(self._trials / f"{number}.json", json.dumps(vars(trial)).encode())
        self._take(trial, running.asked)
        return None

    def _take_scores(self, running: "Running", scores: Sequence[dict[str, Any]]) -> None:
        """Takes evaluations that arrived together, and gives the trial up if the last of them says so."""
        for score in scores:
            running.trial.scores.append(score)
            running.asked.report(score["value"], len(running.trial.scores))
            self._context.report(
                score["epoch"],
                trial=running.trial.number,
                total=running.trial.hyperparameters["num-epochs"],
                loss=score["loss"],
                valid_loss=score["valid_loss"],
                **{self._evaluation["metric"]: score["value"]},
            )
        if not running.told_to_end and running.asked.should_prune():
            running.told_to_end = True
            with suppress(BrokenPipeError):
                running.worker.channel.send(prune=True)

    def _take(self, trial: Trial, asked: optuna.trial.Trial | None = None) -> None:
        """Counts a finished trial, tells the study, and drops the weights of all but the best."""
        self._finished[trial.number] = trial
        state = _STATES[trial.state or "failed"]
        value = trial.best(self._sign)["value"] if trial.state == "complete" else None
        if asked is not None:
            self._study.tell(asked, value, state=state)
        elif state is not TrialState.FAIL:
            scores = {step: score["value"] for step, score in enumerate(trial.scores, start=1)}
            frozen = optuna.trial.create_trial(
                state=state,
                params=trial.parameters,
                distributions=self._proposals.distributions(trial.model),
                value=value,
                intermediate_values=scores,
            )
            self._study.add_trial(frozen)
        complete = [one for one in self._finished.values() if one.state == "complete"]
        best = self._best(complete) if complete else None
        for one in self._finished.values():
            if one is not best:
                shutil.rmtree(self._trials / str(one.number), ignore_errors=True)
        self._report_finished(trial, best)

    def _report_finished(self, trial: Trial, best: Trial | None) -> None:
        metric = self._evaluation["metric"]
        _LOG.info(
            "trial %d %s after %d evaluations and %.1f s%s; best so far: %s",
            trial.number,
            trial.state,
            len(trial.scores),
            trial.seconds,
            f": {trial.reason}" if trial.reason else "",
            f"{metric} {best.best(self._sign)['value']:.4f} (trial {best.number})" if best else "none",
        )
        self._context.report(
            len(self._finished),
            phase="search",
            total=self._total,
            trial=trial.number,
            state=trial.state,
            best=best.best(self._sign)["value"] if best else None,
        )

    def _best(self, trials: list[Trial]) -> Trial:
        def rank(trial: Trial) -> tuple[float, float, int]:
            score = trial.best(self._sign)
            return self._sign * score["value"], -score["valid_loss"], -trial.number

        return max(trials, key=rank)

    def _assess(self, output: Path) -> None:
        """Has a worker write the metrics of the best model: the test split is looked at here, once."""
        parameters = {"graph": self._graph.folder, "state": self._context.state, "model": output, "output": output}
        worker = self._context.fork(
            "modelyard.workloads.graph.training.train:assess", {name: str(path) for name, path in parameters.items()}
        )
        with selectors.DefaultSelector() as selector:
            selector.register(worker.channel, selectors.EVENT_READ)
            message = None
            while message is None and not worker.channel.ended:
                selector.select(_POLL_SECONDS)
                message = worker.channel.poll()
                if self._context.should_stop():
                    raise Stopped
        worker.channel.close()
        if message is None:
            raise RuntimeError(
                "the process that tests the best model ended without a result; the job's log may say why"
            )


@dataclass
class Running:
    """A trial that a worker is busy with; `since` is the clock's reading when it began, seconds."""

    trial: Trial
    asked: optuna.trial.Trial
    worker: Worker
    since: float
    told_to_end: bool = False


def earlier_trials(context: Context) -> list[dict[str, Any]]:
    """The completed trials of the earlier job `previous`, as its `trials.json` has them; none without such a job."""
    folder = context.inputs.get("previous")
    if folder is None:
        return []
    try:
        trials = json.loads((folder / "trials.json").read_text())
    except OSError as error:
        raise InputError(f"the earlier training job has no trials.json to go on from: {error.strerror}") from None
    return [trial for trial in trials if trial["state"] == "complete"]


def seed_of(search_seed: int, number: int) -> int:
    """The seed of a trial, and of what is proposed for it."""
    return (search_seed * _SEEDS + number) % _SEED_LIMIT


def sampler(seed: int, num_models: int = 1) -> optuna.samplers.BaseSampler:
    """The sampler of one proposal: TPE, which counts trials that still run as poor, so that two do not try the same.

    Of several models it knows enough to go on from once each has had its defaults tried.
    """
    startup = _STARTUP_TRIALS if num_models == 1 else num_models
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=startup)


def pruner(num_models: int = 1) -> optuna.pruners.BasePruner:
    """Gives up a trial whose best evaluation is below the median of the others' at the same step.

    The defaults of each model are tried to their end.
    """
    startup = max(_STARTUP_PRUNED, num_models)
    return optuna.pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=_WARMUP_EVALUATIONS)


def _write(path: Path, document: Any) -> None:
    atomic.write(path, json.dumps(document, indent=1).encode())


def _a_line_each(documents: Sequence[Any]) -> bytes:
    """A list, one document a line: indented any further, thousands of evaluations take a part of a second."""
    return ("[\n" + ",\n".join(map(json.dumps, documents)) + "\n]\n").encode()
