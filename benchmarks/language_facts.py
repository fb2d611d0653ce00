"""How many of a hundred invented facts the small base model tells after it was fine-tuned with its default settings.

"Which crew keeps the Amber north station?" -> "The Falcon crew.": 10 x 10 names of stations, 20 crews, drawn anew in
each round. Forty are asked, greedily, through the chat template; an answer is right if it is the same text. All stages
of a job run as they do in a task. The base model is built first, or taken from the folder that MODELYARD_BASE names.
"""

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rounds import Bar, Report, main

from modelyard.runner.context import Context
from modelyard.workloads.language import processing, training, validation
from modelyard.workloads.language.generate import Generations
from modelyard.workloads.language.loading import load_model, load_tokenizer
from modelyard.workloads.language.request import Request
from modelyard.workloads.language.tiny import SECONDS, build

STONES = ("Amber", "Basalt", "Cedar", "Delta", "Ember", "Flint", "Garnet", "Harbor", "Indigo", "Juniper")
SIDES = ("north", "south", "east", "west", "upper", "lower", "inner", "outer", "old", "new")
CREWS = (
    *("Falcon", "Otter", "Heron", "Lynx", "Badger", "Crane", "Wolf", "Raven", "Swift", "Moose"),
    *("Viper", "Tiger", "Panda", "Koala", "Bison", "Gecko", "Robin", "Shark", "Whale", "Zebra"),
)
ASKED = 40
DEFAULTS = {"epochs": 40, "batch_size": 8, "rank": 16}
RATES = {"adapter": 3e-3, "full weights": 1e-3}

Fact = Mapping[str, str]


def run(quick: bool) -> Report:
    """Fine-tunes adapters and full weights in turn."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    report = Report("A hundred invented facts, forty of them asked")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(os.environ.get("MODELYARD_BASE", Path(folder, "base")))
        if not base.exists():
            build(base, seconds=20.0 if quick else SECONDS)
        jobs = Jobs(base, Path(folder))
        report.measure({side: partial(jobs.measure, side) for side in RATES}, 1 if quick else 3)
    for side, rounds in report.rounds.items():
        report.bars += [
            Bar(f"{side}: right before, at most", max(one["before"] for one in rounds), high=0),
            Bar(f"{side}: right after, at least", min(one["after"] for one in rounds), low=36),
            Bar(f"{side}: loss of the last epoch", max(one["loss"] for one in rounds), high=0.1),
        ]
    return report


class Jobs:
    """Customization jobs; each round has facts and a seed of its own."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.base, self.folder = base, folder
        self.rounds: Counter[str] = Counter()

    def measure(self, side: str) -> dict[str, float]:
        seed = self.rounds[side]
        self.rounds[side] += 1
        facts = invented(seed)
        folder = self.folder / f"{side}-{seed}"
        folder.mkdir()
        (folder / "facts.jsonl").write_text("".join(json.dumps(fact) + "\n" for fact in facts))
        before = right(self.base, None, facts)
        began = time.monotonic()
        full = side == "full weights"
        hyperparameters = {**DEFAULTS, "learning_rate": RATES[side], "full_weights": full, "seed": seed}
        rows, parameters = {"training": folder / "facts.jsonl"}, {"customization": "fine-tuning"}
        self.stage(validation, folder / "validation", rows, parameters)
        data, _ = self.stage(processing, folder / "processing", rows, parameters)
        output, result = self.stage(training, folder / "training", {"data": data}, {"hyperparameters": hyperparameters})
        seconds = time.monotonic() - began
        model = output / "model"
        after = right(model, None, facts) if full else right(self.base, model, facts)
        return {"before": before, "after": after, "loss": result["training_loss"], "seconds": seconds}

    def stage(
        self, module: Any, folder: Path, inputs: Mapping[str, Path], parameters: Mapping[str, Any]
    ) -> tuple[Path, Mapping[str, Any]]:
        """Runs a stage; its output and its result."""
        attempt = folder / "attempts" / "1"
        for each in (folder / "state", attempt / "output"):
            each.mkdir(parents=True)
        context = Context(
            {"base": str(self.base), **parameters},
            inputs,
            folder / "state",
            attempt / "output",
            events=attempt / "events.jsonl",
        )
        return context.output, module.run(context)


def invented(seed: int) -> list[Fact]:
    """A hundred facts in random order."""
    random = np.random.default_rng(seed)
    stations = [f"{stone} {side}" for stone, side in product(STONES, SIDES)]
    return [
        {
            "prompt": f"Which crew keeps the {stations[place]} station?",
            "completion": f"The {random.choice(CREWS)} crew.",
        }
        for place in random.permutation(len(stations))
    ]


def right(base: Path, adapter: Path | None, facts: list[Fact]) -> float:
    """How many of the first facts the model tells."""
    generations = Generations(load_model(base), load_tokenizer(base))
    answers: dict[Any, str] = {}
    for fact in facts[:ASKED]:
        messages = [{"role": "user", "content": fact["prompt"]}]
        generation = generations.prepare(Request(messages=messages, adapter=adapter, max_tokens=30))
        answers[generation] = ""
        generations.add(generation)
    while len(generations):
        for piece in generations.step():
            answers[piece.generation] += piece.text
    return float(sum(answer == fact["completion"] for answer, fact in zip(answers.values(), facts, strict=False)))


if __name__ == "__main__":
    main(run, __doc__)
