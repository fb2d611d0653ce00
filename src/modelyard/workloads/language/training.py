"""A customization job's training: from tokenized rows to an adapter, or to new weights."""

import json
import logging
import math
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.workloads.language.chat import Example
from modelyard.workloads.language.checkpoints import LONGEST_PAUSE, Checkpoint, Checkpoints
from modelyard.workloads.language.dataset import Dataset, Split
from modelyard.workloads.language.history import EarlyStopping, History
from modelyard.workloads.language.loading import load_tokenizer
from modelyard.workloads.language.packing import pack
from modelyard.workloads.language.precision import autocast
from modelyard.workloads.language.trainable import Origin, Trainable, load_trainable

ROW_TOKENS = {"cpu": 128, "cuda": 1024}
"""Attention costs the square of it; a row that is much shorter leaves an accelerator idle."""
EVALUATED_AT_ONCE = 64


@dataclass(frozen=True)
class Hyperparameters:
    """How to train. batch_size: examples of a step, of plain text: rows of the data's row length.

    warmup_steps: steps until the rate is reached, from which it falls to nothing in a straight line; None for 5 %.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    warmup_steps: int | None = None
    rank: int = 16
    full_weights: bool = False
    seed: int = 0
    early_stopping: EarlyStopping | None = None

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Reads what a job's plan says."""
        known = {one.name: document[one.name] for one in fields(cls) if one.name in document}
        if known.get("early_stopping") is not None:
            known["early_stopping"] = EarlyStopping(**known["early_stopping"])
        return cls(**known)

    def rate(self, step: int, total: int) -> float:
        """The learning rate of a step, which counts from 0."""
        warmup = min(total - 1, round(0.05 * total) if self.warmup_steps is None else self.warmup_steps)
        if step < warmup:
            return self.learning_rate * (step + 1) / (warmup + 1)
        return self.learning_rate * (total - step) / (total - warmup)


class Plan:
    """Which examples each step takes: every example once in an epoch, in an order that seed and epoch tell.

    row_tokens: None for as many examples in a step as `batch_size` says; else as many as fill that many rows.
    """

    def __init__(self, split: Split, hyperparameters: Hyperparameters, row_tokens: int | None) -> None:
        self._split, self._seed = split, hyperparameters.seed
        self._by_tokens = row_tokens is not None
        sizes = split.lengths if self._by_tokens else np.ones(len(split), np.int64)
        self._sizes, self._a_step = sizes, hyperparameters.batch_size * (row_tokens or 1)
        self.steps_an_epoch = max(1, -(-int(sizes.sum()) // self._a_step))
        self.total = self.steps_an_epoch * hyperparameters.epochs

    def epoch(self, epoch: int) -> list[np.ndarray]:
        """The places of the examples of each step of an epoch."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._split))
        if not self._by_tokens:
            return np.split(order, range(self._a_step, len(order), self._a_step))
        ends = np.cumsum(self._sizes[order])
        share = ends[-1] / self.steps_an_epoch
        return np.split(order, np.searchsorted(ends, share * np.arange(1, self.steps_an_epoch), side="right"))


def run(context: Context) -> Mapping[str, Any]:
    """Trains on `data` (see `dataset.py`); `output` gets `model/` and `metrics/`.

    Parameters: `base` and `adapter` (folders; `adapter` may be None), `base_name`, `hyperparameters`, and
    `checkpoint_seconds`. The result tells `training_loss` (mean of the last epoch), `validation_losses` (after it),
    `steps` and `tokens`. Raises InputError if the loss stops being a number, and Stopped.
    """
    base, adapter = Path(context.parameters["base"]), context.parameters.get("adapter")
    hyperparameters = Hyperparameters.from_document(context.parameters["hyperparameters"])
    data = Dataset(context.inputs["data"])
    torch.manual_seed(hyperparameters.seed)
    model = load_trainable(base, Path(adapter) if adapter else None, hyperparameters.rank, hyperparameters.full_weights)
    history = train(context, model, data, hyperparameters)
    kind: Literal["adapter", "full"] = "full" if hyperparameters.full_weights else "adapter"
    origin = Origin(str(base), kind, data.document["prompts"])
    name = context.parameters.get("base_name", base.name)
    model.save(load_tokenizer(base), origin, name, context.output / "model")
    history.write(context.output / "metrics")
    return {
        "training_loss": history.training_loss,
        "validation_losses": list(history.validation[-1].values()) if history.validation else [],
        "steps": len(history.losses),
        "tokens": history.tokens,
    }


def train(context: Context, model: Trainable, data: Dataset, hyperparameters: Hyperparameters) -> History:
    """Trains the weights of `model` that learn, from the newest checkpoint on if there is one."""
    plan = Plan(data.training, hyperparameters, data.document.get("row_tokens"))
    optimizer = torch.optim.AdamW(model.weights.values(), weight_decay=0.0, fused=True)
    checkpoints = Checkpoints(
        context.state / "checkpoints", context.parameters.get("checkpoint_seconds", LONGEST_PAUSE)
    )
    saved = checkpoints.newest()
    history = restore(saved, model.weights, optimizer) if saved else History(plan.steps_an_epoch)
    report = Reporter(context, plan.total, history.tokens)
    history.before = history.before or judge(context, model, data)
    steps: list[np.ndarray] = []
    while len(history.losses) < plan.total and not history.stops(hyperparameters.early_stopping):
        epoch, place = divmod(len(history.losses), plan.steps_an_epoch)
        if not steps or place == 0:
            steps = plan.epoch(epoch)
        for group in optimizer.param_groups:
            group["lr"] = hyperparameters.rate(len(history.losses), plan.total)
        examples = [data.training[int(one)] for one in steps[place]]
        loss = train_step(context, model, optimizer, examples)
        if not math.isfinite(loss):
            raise InputError(
                f"the training loss became {loss} in step {len(history.losses) + 1}; a smaller learning rate may help"
            )
        history.losses.append(loss)
        history.tokens += sum(len(example.tokens) for example in examples)
        report.step(history, epoch)
        if place + 1 == plan.steps_an_epoch:
            history.validation.append(judge(context, model, data))
        if checkpoints.due:
            checkpoints.write(capture(history, model.weights, optimizer))
    return history


def train_step(
    context: Context, model: Trainable, optimizer: torch.optim.Optimizer, examples: Sequence[Example]
) -> float:
    """One optimizer step; the mean loss, in nats, of the tokens that the examples learn."""
    batches = list(pack(examples, ROW_TOKENS[model.device.type], model.batch_tokens(context.cores)))
    learned = max(1, sum(len(batch.targets) for batch in batches))
    if not model.model.training:  # asks every module
        model.model.train()
    total = 0.0
    for batch in batches:
        if context.should_stop():
            raise Stopped
        with autocast(model.device.type):
            loss = model.loss_sum(batch.to(model.device)) / learned
        loss.backward()
        total += float(loss.detach())
    torch.nn.utils.clip_grad_norm_(model.weights.values(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return total


def judge(context: Context, model: Trainable, data: Dataset) -> dict[str, float]:
    """The loss of each validation set."""
    return {name: evaluate(context, model, split) for name, split in data.validation.items()}


def evaluate(context: Context, model: Trainable, split: Split) -> float:
    """The mean loss, in nats, of the tokens that a split's examples learn."""
    model.model.eval()
    total, learned = 0.0, 0
    for first in range(0, len(split), EVALUATED_AT_ONCE):
        if context.should_stop():
            raise Stopped
        examples = [split[place] for place in range(first, min(first + EVALUATED_AT_ONCE, len(split)))]
        for batch in pack(examples, ROW_TOKENS[model.device.type], model.batch_tokens(context.cores)):
            with torch.no_grad(), autocast(model.device.type):
                total += float(model.loss_sum(batch.to(model.device)))
            learned += len(batch.targets)
    return total / max(1, learned)


def capture(history: History, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> Checkpoint:
    """All that the next step depends on, and all that was measured."""
    tensors = {f"weights.{name}": weight.detach() for name, weight in weights.items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    return Checkpoint(len(history.losses), tensors, history.document())


def restore(saved: Checkpoint, weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> History:
    """Puts everything back to where it was captured."""
    state: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in saved.tensors.items():
        kind, _, name = key.partition(".")
        if kind == "weights":
            weights[name].data.copy_(tensor)
        elif kind == "optimizer":
            number, _, name = name.partition(".")
            state[int(number)][name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(saved.tensors["random.cpu"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state(saved.tensors["random.cuda"])
    logging.info("going on after step %d", saved.step)
    return History.from_document(saved.document)


class Reporter:
    """Tells each step once, also if an attempt that was killed had told it before."""

    def __init__(self, context: Context, total: int, tokens: int) -> None:
        self._context, self._total = context, total
        self._told = _told_before(context)
        self._recent: deque[tuple[float, int]] = deque([(time.monotonic(), tokens)], maxlen=20)

    def step(self, history: History, epoch: int) -> None:
        """Tells the step that has just ended."""
        (then, tokens), now = self._recent[0], time.monotonic()
        self._recent.append((now, history.tokens))
        step = len(history.losses)
        if step > self._told:
            self._context.report(
                step,
                phase="training",
                total=self._total,
                epoch=epoch,
                loss=history.losses[-1],
                tokens_per_second=round((history.tokens - tokens) / max(now - then, 1e-9)),
            )


def _told_before(context: Context) -> int:
    """The last step of training that an earlier attempt has told."""
    told = 0
    for events in context.events.parent.parent.glob("*/events.jsonl") if context.events else ():
        *whole, _ = events.read_bytes().split(b"\n")
        told = max([told, *(event["step"] for event in map(json.loads, whole) if event.get("phase") == "training")])
    return told
