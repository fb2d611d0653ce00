"""Hyperparameters of customization jobs: strings, with the names, ranges and defaults of each family of models.

https://docs.aws.amazon.com/bedrock/latest/userguide/custom-models-hp.html, and the families' own pages beside it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelyard.jobs.base_models import BaseModel
from modelyard.wire.errors import Fault

FEW_ROWS = 1000
"""Below so many rows a small model needs more epochs to learn them."""


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter: its least and most value, and its default; None where the training knows better."""

    name: str
    type: type[int] | type[float]
    least: float
    most: float
    default: float | None

    def read(self, text: str) -> int | float:
        """The value of a string; ValueError, with the range, if it is none."""
        pattern = r"[+-]?\d{1,18}" if self.type is int else r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?"
        if len(text) > 40 or not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(self.range)
        if not self.least <= (value := self.type(text)) <= self.most:
            raise ValueError(self.range)
        return value

    @property
    def range(self) -> str:
        """What may stand there, in words."""
        number = "a whole number" if self.type is int else "a number"
        return f"{number} from {self.least:g} to {self.most:g}"


EPOCHS = Parameter("epochCount", int, 1, 10, 5)
BATCH = Parameter("batchSize", int, 1, 1, 1)
RATE = Parameter("learningRate", float, 5e-6, 0.1, 1e-4)
WARMUP = Parameter("learningRateWarmupSteps", int, 0, 250, 5)

LLAMA = (EPOCHS, BATCH, RATE)
TITAN = (
    EPOCHS,
    replace(BATCH, most=64),
    replace(RATE, least=0.0, most=1.0, default=1e-5),
    WARMUP,
)
TITAN_PREMIER = (
    replace(EPOCHS, most=5, default=2),
    BATCH,
    replace(RATE, least=1e-7, most=1e-5, default=1e-6),
    replace(WARMUP, most=20),
)
NOVA = (
    replace(EPOCHS, most=5, default=2),
    BATCH,
    replace(RATE, least=1e-6, most=1e-4, default=1e-5),
    replace(WARMUP, most=100, default=10),
)
CLAUDE = (
    replace(EPOCHS, default=2),
    replace(BATCH, least=4, most=256, default=32),
    Parameter("learningRateMultiplier", float, 0.1, 2.0, 1.0),
    Parameter("earlyStoppingThreshold", float, 0.0, 0.1, 0.001),
    Parameter("earlyStoppingPatience", int, 1, 10, 2),
)
FAMILY_TABLES: Mapping[str, Sequence[Parameter]] = {"titan": TITAN, "nova": NOVA, "claude": CLAUDE}
"""The tables of the families that have one; the others use llama's."""

SMALL = {
    "epochCount": replace(EPOCHS, most=200, default=40),
    "batchSize": replace(BATCH, most=256, default=8),
    "learningRate": replace(RATE, least=1e-7, most=1.0, default=3e-3),
    "learningRateWarmupSteps": replace(WARMUP, most=10_000, default=None),
}
"""What a model of a few million parameters needs instead: with these it learns 40 of 40 facts, with half the epochs, or
another rate, down to 7 (measured; full weights need the epochs less). It has these beside its family's others."""
SMALL_EPOCHS_OF_MANY_ROWS = 5
SMALL_RATE_OF_FULL_WEIGHTS = 1e-3

RANK = Parameter("modelyardRank", int, 1, 256, 16)
SEED = Parameter("modelyardSeed", int, 0, 2**31 - 1, 0)
FULL_WEIGHTS = "modelyardFullWeights"

_BASE_RATE = 1e-4
"""What Claude's multiplier multiplies; Bedrock does not tell its own."""
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class Hyperparameters:
    """`texts`: what applies, as strings, for people. `values`: the same for the training, under its own names."""

    texts: Mapping[str, str]
    values: Mapping[str, Any]


def table(model: BaseModel) -> dict[str, Parameter]:
    """The hyperparameters of a model by name, without our own."""
    own = FAMILY_TABLES.get(model.family, LLAMA)
    if model.family == "titan" and "premier" in model.id:
        own = TITAN_PREMIER
    found = {parameter.name: parameter for parameter in own}
    return {**found, **SMALL} if model.small else found


def read(model: BaseModel, given: Mapping[str, str], rows: int | None) -> Hyperparameters:
    """The hyperparameters of a job; a Fault that names the value and its range if one is unknown or wrong.

    `rows` is the number of rows to train on, None where that is not known.
    """
    known = table(model)
    ours = {RANK.name: RANK, SEED.name: SEED}
    if unknown := sorted(given.keys() - known.keys() - ours.keys() - {FULL_WEIGHTS}):
        names = ", ".join([*known, *ours, FULL_WEIGHTS])
        reason = f"hyperParameters: {unknown[0][:80]!r} is none of {model.id}'s, which are {names}"
        raise Fault("ValidationException", reason)
    full = _truth(given)
    values = _defaults({**known, **ours}, model.small, full, rows)
    for name in given.keys() - {FULL_WEIGHTS}:
        try:
            values[name] = {**known, **ours}[name].read(given[name])
        except ValueError as error:
            reason = f"hyperParameters: {name} is {given[name][:80]!r}, and must be {error} for {model.id}"
            raise Fault("ValidationException", reason) from None
    shown = {name: _text(values[name]) for name in known if values[name] is not None}
    return Hyperparameters({**shown, **given}, _for_training(values, full))


def _defaults(
    known: Mapping[str, Parameter], small: bool, full: bool, rows: int | None
) -> dict[str, int | float | None]:
    values: dict[str, int | float | None] = {
        name: None if one.default is None else one.type(one.default) for name, one in known.items()
    }
    if small and rows is not None and rows >= FEW_ROWS:
        values["epochCount"] = SMALL_EPOCHS_OF_MANY_ROWS
    if small and full:
        values["learningRate"] = SMALL_RATE_OF_FULL_WEIGHTS
    return values


def _for_training(values: Mapping[str, int | float | None], full: bool) -> dict[str, Any]:
    """The values as the training's parameters; warm-up steps are None where the training is to choose them."""
    rate, multiplier = values.get("learningRate", _BASE_RATE), values.get("learningRateMultiplier", 1.0)
    assert rate is not None
    assert multiplier is not None
    stopping = None
    if "earlyStoppingPatience" in values:
        stopping = {"threshold": values["earlyStoppingThreshold"], "patience": values["earlyStoppingPatience"]}
    return {
        "epochs": values["epochCount"],
        "batch_size": values["batchSize"],
        "learning_rate": rate * multiplier,
        "warmup_steps": values.get("learningRateWarmupSteps"),
        "rank": values[RANK.name],
        "full_weights": full,
        "seed": values[SEED.name],
        "early_stopping": stopping,
    }


def _truth(given: Mapping[str, str]) -> bool:
    text = given.get(FULL_WEIGHTS, "false")
    if text.lower() not in _TRUTH:
        raise Fault(
            "ValidationException", f"hyperParameters: {FULL_WEIGHTS} is {text[:80]!r}, and must be true or false"
        )
    return _TRUTH[text.lower()]


def _text(value: int | float | None) -> str:
    """A value as a string that people write: 0.00001 rather than 1e-05."""
    return f"{value:.10f}".rstrip("0") if isinstance(value, float) and 0 < value < 1 else str(value)
