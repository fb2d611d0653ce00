"""The search space of a custom model: the `model-hpo-configuration.json` beside the user's scripts.

Tiers and entries are those of every such file; names are the user's own. `eval_metric` says which of the values that a
script prints is to be made as large, or as small, as possible:
`{"tuning_objective": {"MetricName", "Type"}, "metric_definitions": [{"Name", "Regex"}]}`.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.training.search_space import Reader, SearchSpace
from modelyard.workloads.patterns import compiled

MODEL = "custom"
_MOST_METRICS = 40
"""As SageMaker has it."""
_LARGEST = 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}")
_SIGNS = {"maximize": 1, "minimize": -1}


@dataclass(frozen=True)
class Objective:
    """What trials are compared by. sign: -1 if lower is better. patterns: of each metric, compiled."""

    metric: str
    sign: int
    patterns: Mapping[str, Any]

    def read(self, line: str) -> Iterator[tuple[str, float]]:
        """The metrics in a line, and their values: what the first group matched, if that is a finite number."""
        for name, pattern in self.patterns.items():
            if (found := pattern.search(line)) and (value := _number(found.group(1))) is not None:
                yield name, value

    def never_said(self) -> str:
        """Why a trial that printed no value cannot be compared."""
        pattern = self.patterns[self.metric].pattern
        return f"the script printed no line in which {pattern!r} finds a number, hence no {self.metric}"


@dataclass(frozen=True)
class Configuration:
    """A checked file."""

    objective: Objective
    space: SearchSpace


def read_configuration(path: Path, graph: Graph) -> Configuration:
    """Reads and checks the file; InputError names what is wrong and where."""
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path.name}: more than {_LARGEST:,} bytes are too many for this file")
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is not JSON: {error}") from None
    return _Reader(path.name, graph).configuration(document)


class _Reader(Reader):
    """Checks one file; names of parameters are free."""

    def configuration(self, document: Any) -> Configuration:
        model = self.model(document)
        if (name := model.get("model", MODEL)) != MODEL:
            raise self.error(f"'model' must be 'custom', not {name!r}")
        objective = self._objective(model.get("eval_metric"))
        space = SearchSpace(MODEL, {"metric": objective.metric}, self.parameters(MODEL, model))
        return Configuration(objective, space)

    def check_value(self, model: str, name: str, value: Any, tier: str) -> None:
        """Any value of any name that can be an argument of a program."""
        if not _NAME.fullmatch(name):
            raise self.error(f"{name!r} in {tier!r} cannot be the name of an argument: letters, digits, '.', '_', '-'")

    def _objective(self, metric: Any) -> Objective:
        wanted = metric.get("tuning_objective") if isinstance(metric, dict) else None
        definitions = metric.get("metric_definitions") if isinstance(metric, dict) else None
        if not isinstance(wanted, dict) or not isinstance(definitions, list) or len(definitions) > _MOST_METRICS:
            form = '{"tuning_objective": {"MetricName", "Type"}, "metric_definitions": [{"Name", "Regex"}, …]}'
            raise self.error(f"'eval_metric' of a custom model must be {form}, with at most {_MOST_METRICS} metrics")
        sign = _SIGNS.get(str(wanted.get("Type")).lower())
        if sign is None:
            raise self.error(f"tuning_objective: Type must be Maximize or Minimize, not {wanted.get('Type')!r}")
        patterns = dict(map(self._pattern, definitions))
        if (name := wanted.get("MetricName")) not in patterns:
            raise self.error(
                f"tuning_objective: no metric_definitions has the Name {name!r}; no best model can be told"
            )
        return Objective(name, sign, patterns)

    def _pattern(self, definition: Any) -> tuple[str, Any]:
        name, regex = (
            (definition.get("Name"), definition.get("Regex")) if isinstance(definition, dict) else (None, None)
        )
        if not isinstance(name, str) or not isinstance(regex, str):
            raise self.error(f"metric_definitions: {json.dumps(definition)[:200]} has no Name, or no Regex")
        pattern = compiled(regex, f"{self.place}: metric_definitions: the Regex of {name!r},")
        if pattern.groups < 1:
            raise self.error(f"metric_definitions: the Regex of {name!r} has no group (…) around the value: {regex!r}")
        return name, pattern


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
