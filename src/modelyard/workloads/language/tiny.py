"""A small base model, made on the spot: a Llama of a few million parameters that has read botocore's documentation.

`python -m modelyard.workloads.language.tiny FOLDER` writes an ordinary Hugging Face folder. The matrices of the blocks
are trained by Muon (Jordan et al., 2024), the rest by AdamW; the learning rate follows the clock, so that the schedule
ends when the time does, whatever else the machine has to do.
"""

import argparse
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from modelyard.workloads.language.corpus import Service, read_services
from modelyard.workloads.language.head_loss import head_loss
from modelyard.workloads.language.muon import Muon
from modelyard.workloads.language.precision import autocast, has_bfloat16

END_OF_TEXT, END_OF_TURN = "<|endoftext|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SECONDS = 240.0

Report = Callable[[int, float, float], None]
"""Told a step's number, its loss and the share of the time that has passed."""


@dataclass(frozen=True)
class Recipe:
    """The model's size and how it is trained.

    sequence: tokens of a training row. context: tokens that the finished model takes.
    """

    hidden: int = 192
    layers: int = 4
    heads: int = 4
    vocabulary: int = 4096
    sequence: int = 128
    context: int = 512
    batch: int = 16
    matrix_rate: float = 0.02
    rate: float = 4e-3

    def config(self, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
        """The model's configuration."""
        return LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden,
            intermediate_size=self.hidden * 8 // 3,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=self.context,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )


MINI = Recipe(hidden=64, layers=2, heads=2, vocabulary=1024, sequence=64, batch=8, matrix_rate=0.04, rate=1e-2)
"""A model of 0.2 million parameters: for tests."""


def build(
    folder: Path,
    services: Collection[str] | None = None,
    services_out: Collection[str] = (),
    seconds: float = SECONDS,
    steps: float = math.inf,
    recipe: Recipe = Recipe(),
    seed: int = 0,
    report: Report = lambda step, loss, share: None,
) -> None:
    """Trains a model for `seconds`, or `steps` if they end sooner, and writes it to `folder`.

    services: whose documentation it reads; None for all. services_out: whose it does not. The folder appears whole, by
    rename. Raises FileExistsError if it is there, and ValueError for an unknown service, and for no time or steps.
    """
    if not (seconds > 0 and steps > 0):
        raise ValueError(f"{seconds:g} seconds and {steps:g} steps: neither may be 0 or less")
    if folder.exists():
        raise FileExistsError(f"{folder} exists; delete it, or give another folder")
    torch.manual_seed(seed)
    texts = list(read_services(services, services_out))
    tokenizer = train_tokenizer(texts, recipe)
    model = LlamaForCausalLM(recipe.config(tokenizer))
    train(model, encode(tokenizer, texts), recipe, seconds, steps, seed, report)
    half = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        write(model, tokenizer, half)
        os.replace(half, folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def train_tokenizer(services: Sequence[Service], recipe: Recipe) -> PreTrainedTokenizerFast:
    """A byte-level BPE, learned on every fourth passage, with a chat template for system, user and assistant."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=[END_OF_TEXT, END_OF_TURN, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((text for service in services for text in service.passages[::4]), trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A", special_tokens=[(END_OF_TEXT, bpe.token_to_id(END_OF_TEXT))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        chat_template=CHAT_TEMPLATE,
        model_max_length=recipe.context,
    )


def encode(tokenizer: PreTrainedTokenizerFast, services: Sequence[Service]) -> np.ndarray:
    """All text as one row of tokens: passages in their order, each behind an end of text; then what operations do."""
    pieces = []
    for service in services:
        encodings = tokenizer.backend_tokenizer.encode_batch_fast([*service.passages, *_conversations(service)])
        pieces += [np.asarray(encoding.ids, np.int32) for encoding in encodings]
    return np.concatenate(pieces)


def _conversations(service: Service) -> Iterator[str]:
    """Questions and answers in the form of the chat template, so that the model knows the form."""
    for operation, sentence in service.operations.items():
        question = f"What does {operation} of {service.name} do?"
        yield f"<|user|>{question}{END_OF_TURN}<|assistant|>{sentence}{END_OF_TURN}"


def train(
    model: LlamaForCausalLM,
    tokens: np.ndarray,
    recipe: Recipe,
    seconds: float,
    steps: float,
    seed: int,
    report: Report,
) -> None:
    """Trains until the time or the steps are over: next tokens in rows of `recipe.sequence`, in random order."""
    optimizers = _optimizers(model, recipe)
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    precision = autocast("cpu")
    model.train()
    began = time.monotonic()
    for step, batch in enumerate(_batches(tokens, recipe, seed), start=1):
        share = max((time.monotonic() - began) / seconds, (step - 1) / steps)
        if share >= 1:
            return
        for optimizer, starts in zip(optimizers, rates, strict=True):
            for group, start in zip(optimizer.param_groups, starts, strict=True):
                group["lr"] = start * _schedule(share)
        with precision:
            hidden = model.model(input_ids=batch[:, :-1], use_cache=False).last_hidden_state
            loss = head_loss(hidden.flatten(0, 1), model.lm_head.weight, batch[:, 1:].flatten()) / batch[:, 1:].numel()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        report(step, float(loss.detach()), share)


def _optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for embeddings and norms."""
    matrices = [one for name, one in model.named_parameters() if ".layers." in name and one.ndim == 2]
    inside = {id(one) for one in matrices}
    others = [one for one in model.parameters() if id(one) not in inside]
    return [
        Muon(matrices, recipe.matrix_rate, dtype=torch.bfloat16 if has_bfloat16("cpu") else torch.float32),
        torch.optim.AdamW(others, lr=recipe.rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def _schedule(share: float) -> float:
    """Up within 5 % of the time, level until 10 %, then straight down to nothing."""
    return min(share / 0.05, 1.0) if share < 0.1 else (1 - share) / 0.9


def _batches(tokens: np.ndarray, recipe: Recipe, seed: int) -> Iterator[Tensor]:
    """Rows of `sequence` + 1 tokens, [batch, sequence + 1]; pass after pass, each in another order."""
    random = np.random.default_rng(seed)
    while True:
        offset = random.integers(recipe.sequence)
        starts = np.arange(offset, len(tokens) - recipe.sequence - 1, recipe.sequence)
        random.shuffle(starts)
        for first in range(0, len(starts) - recipe.batch + 1, recipe.batch):
            rows = starts[first : first + recipe.batch, None] + np.arange(recipe.sequence + 1)
            yield torch.from_numpy(tokens[rows]).long()


def write(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes an ordinary Hugging Face folder."""
    turn = tokenizer.convert_tokens_to_ids(END_OF_TURN)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[turn, tokenizer.eos_token_id],
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def bits_per_byte(
    model: nn.Module, tokenizer: PreTrainedTokenizerFast, passages: Sequence[str], sequence: int = 128
) -> float:
    """What the model needs for each byte of the passages' UTF-8, read in their order; their ends count as bits only."""
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(list(passages))
    tokens = np.concatenate([np.asarray(encoding.ids, np.int32) for encoding in encodings])
    starts = np.arange(0, len(tokens) - 1, sequence)
    nats = 0.0
    model.eval()
    with torch.no_grad():
        for first in range(0, len(starts), 32):
            places = np.minimum(starts[first : first + 32, None] + np.arange(sequence + 1), len(tokens))
            rows = torch.from_numpy(np.append(tokens, -100)[places]).long()
            logits = model(input_ids=rows[:, :-1].clamp(min=0), use_cache=False).logits
            nats += float(
                functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten(), reduction="sum")
            )
    return nats / math.log(2) / sum(len(text.encode()) for text in passages)


def _told(step: int, loss: float, share: float) -> None:
    if step % 50 == 0:
        print(f"step {step}, {share:.0%} done, loss {loss:.3f}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; what is wrong goes to standard error, with status 1."""
    parser = argparse.ArgumentParser(description="Builds a small base model from botocore's documentation.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--services", default="", metavar="A,B", help="read these alone")
    parser.add_argument("--services-out", default="", metavar="A,B", help="do not read these")
    parser.add_argument("--seconds", type=float, help=f"time to train ({SECONDS:g}, unless steps are given)")
    parser.add_argument("--steps", type=int, default=math.inf, help="steps to train, instead of a time")
    parser.add_argument("--mini", action="store_true", help="a far smaller model")
    options = parser.parse_args(arguments)
    services, services_out = (
        [name for name in text.split(",") if name] for text in (options.services, options.services_out)
    )
    disable_progress_bar()  # of its single file, as it is written
    usual = SECONDS if options.steps == math.inf else math.inf
    try:
        build(
            options.folder,
            services or None,
            services_out,
            usual if options.seconds is None else options.seconds,
            options.steps,
            MINI if options.mini else Recipe(),
            report=_told,
        )
    except (ValueError, FileExistsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
