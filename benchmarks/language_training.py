"""How many tokens a second a LoRA job trains on, beside what a user would write with TRL or with a plain Trainer.

All train the same adapter (rank 16) of the same model, of the shape of the tiny base model, on the same passages in
each step, so that their losses are to be the same.
modelyard: the training stage itself, with its reports and checkpoints.
SFTTrainer: TRL with packing, eight rows of 256 tokens a step; ours beside it has the examples of those rows.
Trainer: transformers' own, eight passages at once, padded to the longest, eight such batches a step.
The first two steps do not count. Tokens are those of the passages, without padding.
"""

import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import datasets
import numpy as np
import torch
from rounds import Bar, Report, main
from transformers import (
    DataCollatorForLanguageModeling,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer, pack_dataset

from modelyard.runner.context import Context
from modelyard.workloads.language import training
from modelyard.workloads.language.chat import Encoder, Example
from modelyard.workloads.language.corpus import read_services
from modelyard.workloads.language.dataset import SplitWriter, write_document
from modelyard.workloads.language.loading import load_tokenizer
from modelyard.workloads.language.precision import has_bfloat16
from modelyard.workloads.language.rows import Text
from modelyard.workloads.language.tiny import Recipe, train_tokenizer, write
from modelyard.workloads.language.trainable import load_trainable

SERVICES = ("dynamodb", "iam", "lambda", "s3", "sns", "sqs")
ROW_TOKENS, ROWS, PASSAGES = 256, 8, 64
RATE, RANK, WARMING = 1e-3, 16, 2

Steps = Sequence[Sequence[Example]]
"""The examples of each step."""


def run(quick: bool) -> Report:
    """Trains in turn."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    datasets.disable_progress_bars()
    report = Report("LoRA on a model of 2.6 million parameters")
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(Path(folder), 6 if quick else 14)
        names = ("modelyard, as SFTTrainer", "SFTTrainer", "modelyard, as Trainer", "Trainer")
        measures = (partial(sides.ours, True), sides.sft_trainer, partial(sides.ours, False), sides.trainer)
        report.measure(dict(zip(names, measures, strict=True)), 1 if quick else 4)
    for peer, low in (("SFTTrainer", 2.0), ("Trainer", 3.0)):
        ours = f"modelyard, as {peer}"
        ratio = report.round_ratio("tokens/s", ours, peer)
        report.bars.append(Bar(f"tokens/s over {peer} with {'packing' if low == 2 else 'padding'}", ratio, low=low))
        report.bars.append(Bar(f"largest part by which a loss differs, {peer}", sides.difference(peer), high=5e-4))
    return report


class Sides:
    """The sides; each takes the same steps."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.numbers = folder, count()
        texts = list(read_services(SERVICES))
        recipe = Recipe()
        tokenizer = train_tokenizer(texts, recipe)
        self.base = folder / "base"
        torch.manual_seed(0)
        write(LlamaForCausalLM(recipe.config(tokenizer)), tokenizer, self.base)
        self.tokenizer = load_tokenizer(self.base)
        passages = [passage for service in texts for passage in service.passages]
        np.random.default_rng(0).shuffle(passages)
        encoder = Encoder(self.tokenizer)
        self.examples = [one for text in passages for one in islice(encoder.examples(Text(text), ROW_TOKENS), 1)]
        self.packed = packed(self.examples, steps * ROWS)
        rows = [examples_of(row) for row in self.packed]
        self.steps: dict[str, Steps] = {
            "SFTTrainer": [list(chain(*rows[at : at + ROWS])) for at in range(0, steps * ROWS, ROWS)],
            "Trainer": [self.examples[at : at + PASSAGES] for at in range(0, steps * PASSAGES, PASSAGES)],
        }
        self.losses: dict[str, list[float]] = {}

    def ours(self, as_sft_trainer: bool) -> dict[str, float]:
        """The training stage."""
        peer = "SFTTrainer" if as_sft_trainer else "Trainer"
        folder = self.folder / f"ours-{next(self.numbers)}"
        steps = self.steps[peer]
        return self._measured(f"modelyard, as {peer}", steps, trained(folder, self.base, steps))

    def sft_trainer(self) -> dict[str, float]:
        """TRL, with packing."""
        arguments = SFTConfig(**self._arguments(ROWS), packing=True, max_length=ROW_TOKENS, shuffle_dataset=False)
        data = datasets.Dataset.from_dict({"input_ids": [one.tokens.tolist() for one in self.examples]})
        told = Told()
        trainer = SFTTrainer(
            self._model(), arguments, train_dataset=data, processing_class=self.tokenizer, callbacks=[told]
        )
        assert [row["input_ids"] for row in islice(trainer.train_dataset, ROWS)] == [
            row["input_ids"] for row in self.packed[:ROWS]
        ]
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return self._measured("SFTTrainer", self.steps["SFTTrainer"], told.steps)

    def trainer(self) -> dict[str, float]:
        """transformers' Trainer, which pads."""
        arguments = TrainingArguments(**self._arguments(8), gradient_accumulation_steps=PASSAGES // 8)
        data = datasets.Dataset.from_dict({"input_ids": [one.tokens.tolist() for one in self.examples]})
        told = Told()
        trainer = Trainer(self._model(), arguments, PadToken(self.tokenizer), train_dataset=data, callbacks=[told])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        return self._measured("Trainer", self.steps["Trainer"], told.steps)

    def difference(self, peer: str) -> float:
        """The largest part by which a step's loss differs between ours and a peer's."""
        pairs = zip(self.losses[f"modelyard, as {peer}"], self.losses[peer], strict=True)
        return max(abs(one - other) / other for one, other in pairs)

    def _model(self) -> Any:
        torch.manual_seed(0)
        return load_trainable(self.base, None, RANK, full_weights=False).model

    def _arguments(self, batch: int) -> dict[str, Any]:
        return {
            "output_dir": str(self.folder / "peer"),
            "per_device_train_batch_size": batch,
            "max_steps": len(self.steps["Trainer"]),
            "learning_rate": RATE,
            "bf16": has_bfloat16("cuda" if torch.cuda.is_available() else "cpu"),
            "train_sampling_strategy": "sequential",
            "logging_steps": 1,
            "logging_nan_inf_filter": False,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
            "gradient_checkpointing": False,
            "dataloader_pin_memory": False,
            "warmup_steps": 0,
            "weight_decay": 0.0,
        }

    def _measured(self, side: str, steps: Steps, told: Sequence[tuple[float, float]]) -> dict[str, float]:
        """Tokens a second after the first steps, and the losses' mean."""
        self.losses[side] = [loss for _, loss in told]
        tokens = sum(len(example.tokens) for step in steps[WARMING:] for example in step)
        seconds = told[-1][0] - told[WARMING - 1][0]
        return {"tokens/s": tokens / seconds, "mean loss": float(np.mean(self.losses[side]))}


def trained(folder: Path, base: Path, steps: Steps) -> list[tuple[float, float]]:
    """Runs the training stage in a folder of its own; when each step ended, and its loss."""
    data = folder / "data"
    data.mkdir(parents=True)
    with SplitWriter(data / "training") as writer:
        for example in chain(*steps):
            writer.add(example)
    write_document(data, {"training": writer.counts()}, row_tokens=None, prompts="text")
    attempt = folder / "attempts" / "1"
    for each in (folder / "state", attempt / "output"):
        each.mkdir(parents=True)
    hyperparameters = {"epochs": 1, "batch_size": 1, "learning_rate": RATE, "warmup_steps": 0, "rank": RANK}
    parameters = {"base": str(base), "hyperparameters": hyperparameters}
    events = attempt / "events.jsonl"
    with given_plan(steps):
        training.run(Context(parameters, {"data": data}, folder / "state", attempt / "output", events=events))
    told = [json.loads(line) for line in events.read_text().splitlines()]
    return [(one["time"], one["loss"]) for one in told]


def packed(examples: Sequence[Example], rows: int) -> list[Mapping[str, Any]]:
    """The first rows that TRL packs."""
    data = datasets.Dataset.from_dict({"input_ids": [one.tokens.tolist() for one in examples]})
    return list(islice(pack_dataset(data, ROW_TOKENS, "bfd"), rows))


def examples_of(row: Mapping[str, Any]) -> list[Example]:
    """The examples in one of TRL's rows."""
    parts = np.split(np.asarray(row["input_ids"], np.int32), np.cumsum(row["seq_lengths"])[:-1])
    return [Example(part, np.ones(len(part), bool)) for part in parts]


@contextmanager
def given_plan(steps: Steps) -> Iterator[None]:
    """Has the training stage take its examples, which lie in the data set in this order, in these steps."""

    class Given(training.Plan):
        def __init__(self, *_: object) -> None:
            self.steps_an_epoch = self.total = len(steps)

        def epoch(self, epoch: int) -> list[np.ndarray]:
            ends = np.cumsum([len(step) for step in steps])
            return np.split(np.arange(ends[-1]), ends[:-1])

    with patch.object(training, "Plan", Given):
        yield


class PadToken(DataCollatorForLanguageModeling):
    """The usual collator; it takes every padding token for padding, so that ends of text have to be put back."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__(tokenizer, mlm=False)

    def torch_call(self, examples: list[Any]) -> dict[str, Any]:
        batch = super().torch_call(examples)
        batch["labels"] = torch.where(batch["attention_mask"].bool(), batch["input_ids"], -100)
        return batch


class Told(TrainerCallback):
    """Notes when each step ended, and its loss."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float]] = []

    def on_log(self, arguments: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
        if "loss" in logs:
            assert math.isfinite(logs["loss"])
            self.steps.append((time.time(), logs["loss"]))


if __name__ == "__main__":
    main(run, __doc__)
