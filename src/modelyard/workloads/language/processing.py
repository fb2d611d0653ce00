"""A customization job's second stage: rows become tokens on disk; for distillation a teacher answers before."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from modelyard.runner.context import Context, InputError
from modelyard.workloads.language.chat import learns_chat
from modelyard.workloads.language.dataset import SplitWriter, write_document
from modelyard.workloads.language.rows import Problems
from modelyard.workloads.language.sources import Sources, splits
from modelyard.workloads.language.teacher import teach

HELD_OUT = "validation-0"


def run(context: Context) -> Mapping[str, Any]:
    """Writes a data set (`dataset.py`) of the inputs `training`, `validation-0` and so on.

    Parameters: see `Sources.of`; for distillation those of `teach`; `evaluation_percentage`, the share of the training
    rows that becomes validation data where none is given, and `seed`. The result counts examples and tokens by split.
    """
    distillation = context.parameters["customization"] == "distillation"
    sources = Sources.of(context, teach(context) if distillation else None)
    problems = Problems()
    counts = _split_training(context, sources, problems)
    for split in splits(context)[1:]:
        with SplitWriter(context.output / split) as writer:
            for found in sources.read(context, split, problems):
                for example in found.examples:
                    writer.add(example)
        counts[split] = writer.counts()
    problems.check()
    plain_text = sources.customization == "continued-pre-training"
    write_document(
        context.output,
        counts,
        customization=sources.customization,
        row_tokens=sources.length if plain_text else None,
        prompts="text" if plain_text or not learns_chat(sources.encoder.tokenizer) else "chat",
    )
    return counts


def _split_training(context: Context, sources: Sources, problems: Problems) -> dict[str, dict[str, int]]:
    """Writes the training split, and what is held out of it."""
    share = 0.0 if HELD_OUT in context.inputs else context.parameters.get("evaluation_percentage") or 0.0
    names = ["training", HELD_OUT] if share else ["training"]
    random = np.random.default_rng(context.parameters.get("seed", 0))
    with ExitStack() as stack:
        writers = [stack.enter_context(SplitWriter(context.output / name)) for name in names]
        for found in sources.read(context, "training", problems):
            held_out = share > 0 and random.random() * 100 < share
            for example in found.examples:
                writers[held_out].add(example)
        counts = {name: writer.counts() for name, writer in zip(names, writers, strict=True)}
    if not problems.count and not all(count["examples"] for count in counts.values()):
        raise InputError(f"{context.inputs['training'].name} has too few rows to hold {share:g} % of them out")
    return counts
