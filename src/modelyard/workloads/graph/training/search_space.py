"""The search space of a training job: `model-hpo-configuration.json`, as Neptune ML describes it.

Source: Amazon Neptune User Guide, "Customizing model hyperparameter configurations in Neptune ML". Names and tiers
are AWS's. A file is read when training starts, since users edit it between processing and training.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import TRAIN, Graph
from modelyard.workloads.graph.models import registry
from modelyard.workloads.graph.training.entries import FIXED, TIERS
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters

FILE_NAMES = ("model-hpo-configuration.json", "model-HPO-configuration.json")
"""Both spellings that AWS's pages have; the first is what its toolkit reads, and wins."""

TEMPLATES = "hpo-configuration-templates"
"""The folder of the search spaces of all models that a graph's task can have, `<model>.json` each."""

_TASKS = {
    "node_class": ("node_class",),
    "node_regression": ("node_regression",),
    "edge_class": ("edge_class",),
    "edge_regression": ("edge_regression",),
    "link_predict": ("link_predict", "link_prediction"),
}
_OF_CLASSES = ("acc", "acc_topk", "F1", "precision", "recall", "roc_auc")
_METRICS = {
    "node_class": _OF_CLASSES,
    "node_regression": ("mse",),
    "edge_class": _OF_CLASSES,
    "edge_regression": ("mse",),
    "link_predict": ("mrr",),
}
LOWER_IS_BETTER = frozenset({"mse"})
_FREQUENCIES = ("evaluate_every_epoch", "evaluate_every_batch", "evaluate_every_pct")
_IMBALANCE = 10
_UNITS = {"perM": 1_000_000, "per10M": 10_000_000, "per100M": 100_000_000}


@dataclass(frozen=True)
class Options:
    """A choice from a list."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """A choice between two numbers, both included. `log` draws evenly over the logarithm; `step` as in `inc_val`."""

    low: float
    high: float
    integer: bool
    log: bool = False
    step: float | None = None


Choice = Options | Range


@dataclass(frozen=True)
class Parameter:
    """One entry of the file. `choice` is None in `fixed-param`; `default` None where the entry has none."""

    name: str
    tier: str
    default: Any = None
    choice: Choice | None = None


@dataclass(frozen=True)
class SearchSpace:
    """One model of a checked file.

    `evaluation` holds `metric`, `topk`, `every`, `value`, as `train.Evaluation` takes them.
    """

    model: str
    evaluation: Mapping[str, Any]
    parameters: tuple[Parameter, ...]

    def tuned(self, num_trials: int) -> tuple[Parameter, ...]:
        """What a search with so many trials tunes: tier 1; from 11 trials tier 2 too; from 51 all three.

        The page leaves exactly 10 and exactly 50 open; they count as "not more than".
        """
        tiers = TIERS[: 1 + (num_trials > 10) + (num_trials > 50)]
        return tuple(one for one in self.parameters if one.tier in tiers and one.choice is not None)

    def constant(self, num_trials: int) -> dict[str, Any]:
        """The values that such a search does not tune: their defaults."""
        tuned = {parameter.name for parameter in self.tuned(num_trials)}
        return {parameter.name: parameter.default for parameter in self.parameters if parameter.name not in tuned}


def read_search_spaces(folder: Path, graph: Graph, model_name: str | None = None) -> tuple[SearchSpace, ...]:
    """Reads and checks the file beside a processed graph; InputError names what is wrong and where.

    A file of several models gives a search over all of them, or over the one that `model_name`, the request's, names.
    Otherwise `model` in the file wins over `model_name`, if somebody has edited the file; the one that processing
    wrote gives way to the named model's own.
    """
    path = next((folder / name for name in FILE_NAMES if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"{FILE_NAMES[0]} is missing beside the processed graph; run data processing again")
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} is not JSON: {error}") from None
    reader = Reader(path.name, graph)
    if model_name and document == default_configuration(graph):
        reader.check_model(model_name)
        document = default_configuration(graph, model_name)
    return reader.spaces(document, model_name)


class Reader:
    """Checks one file. `place` is what messages call it."""

    def __init__(self, place: str, graph: Graph) -> None:
        self.place = place
        self._graph = graph

    def spaces(self, document: Any, model_name: str | None) -> tuple[SearchSpace, ...]:
        """The search spaces of a whole file."""
        spaces = [self._space(model, model_name) for model in self._models(document)]
        names = [space.model for space in spaces]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise self.error(f"'models' has {repeated!r} {names.count(repeated)} times; keep one")
        if any(space.evaluation != spaces[0].evaluation for space in spaces):
            raise self.error("eval_metric and eval_frequency must be the same for all 'models': they are compared")
        return tuple(space for space in spaces if space.model == model_name) or tuple(spaces)

    def _space(self, model: Mapping[str, Any], model_name: str | None) -> SearchSpace:
        name = model.get("model", model_name or next(registry.fitting(self._graph)))
        self.check_model(name)
        return SearchSpace(name, self._evaluation(model), self.parameters(name, model))

    def model(self, document: Any) -> Mapping[str, Any]:
        """The one model that a file describes, for the task of the graph."""
        models = self._models(document)
        if len(models) != 1:
            raise self.error(f"'models' must be a list of exactly one object, not {len(models)} entries")
        return models[0]

    def _models(self, document: Any) -> list[Mapping[str, Any]]:
        models = document.get("models") if isinstance(document, dict) else None
        if not isinstance(models, list) or not models or not all(isinstance(model, dict) for model in models):
            raise self.error(f"'models' must be a list of one object or more, not {json.dumps(models)}")
        task = self._graph.task.type
        for model in models:
            if model.get("task_type", task) not in _TASKS[task]:
                raise self.error(
                    f"task_type {model['task_type']!r} does not fit the processed graph, whose task is {task!r}"
                )
        return models

    def check_model(self, name: str) -> None:
        """InputError if there is no such model, or if it cannot learn from the graph."""
        if name not in registry.NAMES:
            raise self.error(f"model {name!r} is not known; there are {', '.join(registry.NAMES)}")
        if reason := registry.model_class(name).fits(self._graph):
            raise self.error(f"model {name!r} {reason}; use one of {', '.join(registry.fitting(self._graph))}")

    def _evaluation(self, model: Mapping[str, Any]) -> dict[str, Any]:
        described = model.get("eval_metric", {"metric": default_metric(self._graph)})
        metric = described.get("metric") if isinstance(described, dict) else described
        allowed = _METRICS[self._graph.task.type]
        if metric not in allowed:
            raise self.error(f"eval_metric {metric!r} does not fit the task; use one of {', '.join(allowed)}")
        topk = described.get("topk", 1)
        if not isinstance(topk, int) or isinstance(topk, bool) or topk < 1:
            raise self.error(f"eval_metric: topk must be an integer of at least 1, not {topk!r}")
        frequency = model.get("eval_frequency", {"type": _FREQUENCIES[0], "value": 1})
        every, value = frequency, None
        if isinstance(frequency, dict):
            every, value = frequency.get("type"), frequency.get("value")
        if every not in _FREQUENCIES:
            raise self.error(f"eval_frequency: type must be one of {', '.join(_FREQUENCIES)}, not {every!r}")
        if value is None or not _number(value) or value <= 0 or (every == _FREQUENCIES[2] and value > 1):
            bounds = "above 0 and at most 1" if every == _FREQUENCIES[2] else "above 0"
            raise self.error(f"eval_frequency: value must be a number {bounds}, not {value!r}")
        return {"metric": metric, "topk": topk, "every": every, "value": value}

    def parameters(self, model_name: str, model: Mapping[str, Any]) -> tuple[Parameter, ...]:
        """The entries of all tiers."""
        parameters: dict[str, Parameter] = {}
        for tier in (*TIERS, FIXED):
            entries = model.get(tier)
            if not isinstance(entries, list):
                raise self.error(f"{tier!r} must be a list (it may be empty), not {entries!r}")
            for entry in entries:
                parameter = self._parameter(model_name, entry, tier)
                if parameter.name in parameters:
                    first = parameters[parameter.name].tier
                    raise self.error(f"{parameter.name!r} stands in {first!r} and again in {tier!r}; keep one")
                parameters[parameter.name] = parameter
        return tuple(parameters.values())

    def _parameter(self, model: str, entry: Any, tier: str) -> Parameter:
        name = entry.get("param") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise self.error(f"an entry of {tier!r} must be an object with 'param', not {json.dumps(entry)}")
        default = entry.get("default")
        choice = None if tier == FIXED else self._choice(name, entry, tier)
        if default is None and tier != TIERS[0]:
            raise self.error(f"{name!r} in {tier!r} needs a 'default', which holds whenever it is not tuned")
        if choice is None and default is None:
            raise self.error(f"{name!r} in {tier!r} needs a 'range', 'options' or 'default'")
        for value in [*_ends(choice), *([default] if default is not None else [])]:
            self.check_value(model, name, value, tier)
        return Parameter(name, tier, default, choice)

    def _choice(self, name: str, entry: Mapping[str, Any], tier: str) -> Choice | None:
        kind = entry.get("type")
        if kind not in ("bool", "int", "float"):
            raise self.error(f"{name!r} in {tier!r}: 'type' must be bool, int or float, not {kind!r}")
        if "options" in entry:
            options = entry["options"]
            if not isinstance(options, list) or not options:
                raise self.error(
                    f"{name!r} in {tier!r}: 'options' must be a list with something in it, not {options!r}"
                )
            return Options(tuple({json.dumps(option): option for option in options}.values()))
        if "range" in entry:
            return self._range(name, entry, tier)
        return Options((True, False)) if kind == "bool" else None

    def _range(self, name: str, entry: Mapping[str, Any], tier: str) -> Choice:
        ends, how = entry["range"], entry.get("inc_strategy", "linear")
        where = f"{name!r} in {tier!r}"
        if not isinstance(ends, list) or len(ends) != 2 or not all(map(_number, ends)) or ends[0] > ends[1]:
            raise self.error(f"{where}: 'range' must be [lowest, highest], not {json.dumps(ends)}")
        if how not in ("log", "linear", "power2"):
            raise self.error(f"{where}: 'inc_strategy' must be log, linear or power2, not {how!r}")
        if how != "linear" and ends[0] <= 0:
            raise self.error(f"{where}: inc_strategy {how!r} needs a range above 0, not {json.dumps(ends)}")
        integer = entry["type"] == "int"
        if integer and any(end != int(end) for end in ends):
            raise self.error(f"{where}: the range of an int must be integers, not {json.dumps(ends)}")
        factor = self._factor(entry, where)
        low, high = ends[0] * factor, ends[1] * factor
        if how == "power2":
            first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
            if first > last:
                raise self.error(f"{where}: no power of 2 lies in the range {json.dumps(ends)}")
            return Options(tuple(2**power if power >= 0 else 2.0**power for power in range(first, last + 1)))
        step = entry.get("inc_val")
        if step is not None and (not _number(step) or step <= 0 or (integer and step != int(step))):
            raise self.error(f"{where}: 'inc_val' must be a number above 0 (an integer for an int), not {step!r}")
        if how == "log":
            return Range(low, high, integer, log=True)
        if step is not None:
            high = low + math.floor((high - low) / step + 1e-9) * step
        return Range(low, high, integer, step=step or (1 if integer else None))

    def _factor(self, entry: Mapping[str, Any], where: str) -> int:
        """How many whole units of nodes or edges the graph has, at least one: by that the range grows."""
        factor = 1
        counts = {
            "node_strategy": sum(node_type.num_nodes for node_type in self._graph.node_types),
            "edge_strategy": sum(edge_type.num_edges for edge_type in self._graph.edge_types),
        }
        for key, count in counts.items():
            if key in entry:
                if entry[key] not in _UNITS:
                    raise self.error(f"{where}: {key!r} must be one of {', '.join(_UNITS)}, not {entry[key]!r}")
                factor *= max(1, count // _UNITS[entry[key]])
        return factor

    def check_value(self, model: str, name: str, value: Any, tier: str) -> None:
        """InputError if the model takes no hyperparameter of the name, or not with this value."""
        try:
            Hyperparameters.from_names({name: value}, model)
        except InputError as error:
            raise self.error(f"{tier!r}: {error}") from None

    def error(self, message: str) -> InputError:
        """An error that names the file."""
        return InputError(f"{self.place}: {message}")


def _ends(choice: Choice | None) -> Sequence[Any]:
    if choice is None:
        return ()
    return choice.values if isinstance(choice, Options) else (choice.low, choice.high)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def default_metric(graph: Graph) -> str:
    """AWS's default metric of a task: `acc`, or `F1` where one class has far more training labels than another."""
    if graph.task.type == "link_predict":
        return "mrr"
    if graph.task.is_regression():
        return "mse"
    if graph.task.multilabel:
        return "roc_auc"
    arrays = graph.labels()
    counts = np.bincount(arrays["labels"][arrays["split"] == TRAIN], minlength=len(graph.task.classes))
    return "F1" if counts.max() > _IMBALANCE * max(1, counts.min()) else "acc"


def default_configuration(graph: Graph, model: str | None = None) -> dict[str, Any]:
    """The `model-hpo-configuration.json` that processing writes: AWS's names and tiers, our ranges and defaults.

    Every tuned entry has a default, and the first trial tries those. model: the one that suits the graph best unless
    given.
    """
    name = model or next(registry.fitting(graph))
    described = {
        "model": name,
        "task_type": graph.task.type,
        "eval_metric": {"metric": default_metric(graph)},
        "eval_frequency": {"type": "evaluate_every_epoch", "value": 1},
        **registry.model_class(name).search_space(graph),
    }
    return {"models": [described]}
