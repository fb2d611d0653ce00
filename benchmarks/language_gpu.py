"""How many tokens a second a LoRA job trains on with a GPU, beside a plain script that a careful user would write.

A model of the shape of Llama 3.2 1B (1.2 billion parameters, bfloat16, random weights), an adapter of rank 16 on every
linear layer, and examples of random tokens, 16 to 1,024 each, some 32,000 tokens a step.
modelyard: the training stage itself, with its reports and checkpoints.
plain script: transformers and PEFT with a loop of its own, bfloat16, fused AdamW; it gets the very same packed rows.
The first two steps do not count. Without a GPU nothing is measured, except with --quick, which then takes a small model
and the processor: to see that it works.
"""

import gc
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from language_training import RANK, RATE, WARMING, Steps, trained
from peft import LoraConfig, get_peft_model
from rounds import Bar, Report, main
from torch.nn import functional
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from modelyard.workloads.language.chat import Example
from modelyard.workloads.language.corpus import read_services
from modelyard.workloads.language.packing import Batch, pack
from modelyard.workloads.language.precision import autocast
from modelyard.workloads.language.tiny import Recipe, train_tokenizer, write
from modelyard.workloads.language.training import ROW_TOKENS

BILLION = {
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}
SMALL = {
    "vocab_size": 4096,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
SHORTEST, MEDIAN, LONGEST = 16, 300, 1024
"""Tokens of an example; their logarithms are normally distributed, as those of conversations are."""


def run(quick: bool) -> Report:
    """Trains in turn."""
    on_gpu = torch.cuda.is_available()
    if not (on_gpu or quick):
        print("not measured: no GPU")
        sys.exit(0)
    report = Report(f"LoRA on a model of {'1.2 billion' if on_gpu else '2.3 million'} parameters")
    with tempfile.TemporaryDirectory() as folder:
        steps, tokens = (4 if quick else 12), (32_768 if on_gpu else 2048)
        sides = Sides(Path(folder), "cuda" if on_gpu else "cpu", list(made_steps(steps, tokens, on_gpu)))
        report.measure({"modelyard": sides.ours, "plain script": sides.plain}, 1 if quick else 4)
    ratio = report.round_ratio("tokens/s", "modelyard", "plain script")
    report.bars.append(Bar("tokens/s over a plain script", ratio, low=0.95))
    report.bars.append(Bar("largest part by which a loss differs", sides.difference(), high=1e-2))
    return report


class Sides:
    """Both sides; each takes the same steps."""

    def __init__(self, folder: Path, device: str, steps: Steps) -> None:
        self.folder, self.device, self.steps, self.numbers = folder, device, steps, count()
        self.base = folder / "base"
        self.dtype = torch.bfloat16 if device == "cuda" else torch.float32
        tokenizer = train_tokenizer(list(read_services(("sqs",))), Recipe())
        torch.manual_seed(0)
        config = LlamaConfig(**(BILLION if device == "cuda" else SMALL), tie_word_embeddings=True)
        with torch.device(device):
            model = LlamaForCausalLM(config).to(self.dtype)
        write(model, tokenizer, self.base)
        self.losses: dict[str, list[float]] = {}

    def ours(self) -> dict[str, float]:
        """The training stage."""
        return self._measured("modelyard", trained(self.folder / f"ours-{next(self.numbers)}", self.base, self.steps))

    def plain(self) -> dict[str, float]:
        """The script."""
        torch.manual_seed(0)
        own = AutoModelForCausalLM.from_pretrained(self.base, dtype=self.dtype).to(self.device)
        lora = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(own, lora).train()
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, weight_decay=0.0, fused=True)
        told = []
        for number, examples in enumerate(self.steps):
            optimizer.param_groups[0]["lr"] = RATE * (len(self.steps) - number) / len(self.steps)
            batches = [batch.to(torch.device(self.device)) for batch in self._rows(examples)]
            learned = sum(len(batch.targets) for batch in batches)
            losses = [self._backward(model, batch, learned) for batch in batches]
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            told.append((float(sum(losses)), time.time()))
        return self._measured("plain script", [(when, loss) for loss, when in told])

    def difference(self) -> float:
        """The largest part by which a step's loss differs."""
        pairs = zip(self.losses["modelyard"], self.losses["plain script"], strict=True)
        return max(abs(one - other) / other for one, other in pairs)

    def _rows(self, examples: Any) -> Iterator[Batch]:
        """As many at once as a GPU of 80 GB takes with all logits in memory."""
        length = ROW_TOKENS[self.device]
        return pack(examples, length, 8 * length)

    def _backward(self, model: Any, batch: Batch, learned: int) -> torch.Tensor:
        with autocast(self.device):
            logits = model(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False).logits
        scores = logits.flatten(0, 1)[batch.places].float()
        loss = functional.cross_entropy(scores, batch.targets, reduction="sum") / learned
        loss.backward()
        return loss.detach()

    def _measured(self, side: str, told: list[tuple[float, float]]) -> dict[str, float]:
        """Tokens a second after the first steps, and the losses' mean. The memory is free for the other side then."""
        self.losses[side] = [loss for _, loss in told]
        tokens = sum(len(example.tokens) for step in self.steps[WARMING:] for example in step)
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
        seconds = told[-1][0] - told[WARMING - 1][0]
        return {"tokens/s": tokens / seconds, "mean loss": float(np.mean(self.losses[side]))}


def made_steps(steps: int, tokens: int, on_gpu: bool) -> Iterator[list[Example]]:
    """Steps of examples of random tokens, of some `tokens` tokens each."""
    random = np.random.default_rng(0)
    words = (BILLION if on_gpu else SMALL)["vocab_size"]
    for _ in range(steps):
        step: list[Example] = []
        while sum(len(example.tokens) for example in step) < tokens:
            length = int(np.clip(random.lognormal(np.log(MEDIAN), 0.8), SHORTEST, LONGEST))
            step.append(Example(random.integers(words, size=length, dtype=np.int32), np.ones(length, bool)))
        yield step


if __name__ == "__main__":
    main(run, __doc__)
