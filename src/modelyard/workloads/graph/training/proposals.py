"""What a search may propose: a model, where the file has several, and that model's hyperparameters.

Optuna draws them one after the other, those of a model only once it is chosen. It knows a hyperparameter as
`<model>.<name>`, since two models may have different ranges for one name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from modelyard.workloads.graph.training.search_space import SearchSpace
from modelyard.workloads.graph.training.suggestions import as_suggested, as_value, distribution

_MODEL = "model"


class Proposals:
    """The search spaces of one or several models, for a search of `num_trials` trials."""

    def __init__(self, spaces: Sequence[SearchSpace], num_trials: int) -> None:
        self.models = tuple(space.model for space in spaces)
        self._tuned = {space.model: space.tuned(num_trials) for space in spaces}
        self.constant = {space.model: space.constant(num_trials) for space in spaces}

    def draw(self, trial: optuna.trial.Trial) -> tuple[str, dict[str, Any]]:
        """The model that a trial shall train, and the values of what is tuned."""
        model = _suggest(trial, _MODEL, self._choice) if len(self.models) > 1 else self.models[0]
        return model, {
            one.name: as_value(one, _suggest(trial, f"{model}.{one.name}", distribution(one)))
            for one in self._tuned[model]
        }

    def distributions(self, model: str) -> dict[str, BaseDistribution]:
        """What Optuna draws from for a model."""
        chosen: dict[str, BaseDistribution] = {_MODEL: self._choice} if len(self.models) > 1 else {}
        return chosen | {f"{model}.{one.name}": distribution(one) for one in self._tuned[model]}

    def defaults(self, model: str) -> dict[str, Any]:
        """What Optuna would draw for a model's defaults; what has none in its range is left to be drawn."""
        return self._given(model, {one.name: one.default for one in self._tuned[model]})

    def drawn(self, model: str, hyperparameters: Mapping[str, Any]) -> dict[str, Any] | None:
        """What Optuna would have to draw for a setting; None if the search space has no place for it."""
        if model not in self._tuned:
            return None
        given = self._given(model, hyperparameters)
        return given if given.keys() == self.distributions(model).keys() else None

    def _given(self, model: str, values: Mapping[str, Any]) -> dict[str, Any]:
        found = {f"{model}.{one.name}": as_suggested(one, values.get(one.name)) for one in self._tuned[model]}
        chosen = {_MODEL: model} if len(self.models) > 1 else {}
        return chosen | {name: value for name, value in found.items() if value is not None}

    @property
    def _choice(self) -> CategoricalDistribution:
        return CategoricalDistribution(self.models)


def _suggest(trial: optuna.trial.Trial, name: str, of: BaseDistribution) -> Any:
    if isinstance(of, IntDistribution):
        return trial.suggest_int(name, of.low, of.high, step=of.step, log=of.log)
    if isinstance(of, FloatDistribution):
        return trial.suggest_float(name, of.low, of.high, step=of.step, log=of.log)
    assert isinstance(of, CategoricalDistribution)
    return trial.suggest_categorical(name, of.choices)
