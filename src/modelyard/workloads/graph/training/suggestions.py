"""Hyperparameters as Optuna knows them, and back."""

import json
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from modelyard.workloads.graph.training.search_space import Options, Parameter


def distribution(parameter: Parameter) -> BaseDistribution:
    """Optuna's form of a choice. Options are numbered, since they may be lists."""
    choice = parameter.choice
    if isinstance(choice, Options):
        if _ordered(choice):
            return IntDistribution(0, len(choice.values) - 1)
        return CategoricalDistribution(range(len(choice.values)))
    assert choice is not None
    if choice.integer:
        return IntDistribution(int(choice.low), int(choice.high), log=choice.log, step=int(choice.step or 1))
    return FloatDistribution(choice.low, choice.high, log=choice.log, step=choice.step)


def _ordered(options: Options) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in options.values)


def as_value(parameter: Parameter, suggested: Any) -> Any:
    """The hyperparameter's value for what Optuna suggested."""
    return parameter.choice.values[suggested] if isinstance(parameter.choice, Options) else suggested


def as_suggested(parameter: Parameter, value: Any) -> Any:
    """What Optuna would have to suggest for a value; None if it never would."""
    if value is None or parameter.choice is None:
        return None
    if isinstance(parameter.choice, Options):
        values = [json.dumps(one) for one in parameter.choice.values]
        return values.index(json.dumps(value)) if json.dumps(value) in values else None
    if not isinstance(value, int | float):
        return None
    low, high, step = parameter.choice.low, parameter.choice.high, parameter.choice.step
    on_step = step is None or abs((value - low) / step - round((value - low) / step)) < 1e-9
    return value if low <= value <= high and on_step else None
