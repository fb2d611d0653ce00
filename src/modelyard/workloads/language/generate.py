"""Generates for many requests at once, with a base model and its adapters.

The tokens are those that `generate` of transformers gives to each request alone. Measured beside transformers' own
continuous batching the steps are within a tenth of its speed, faster for one request and slower for eight; each request
draws by its own seed and has its own adapter, which that does not offer.
"""

import inspect
from collections import OrderedDict
from pathlib import Path

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerFast

from modelyard.runner.context import InputError
from modelyard.workloads.language.adapters import Adapters
from modelyard.workloads.language.batching import MOST_TOGETHER, Batch, Rules
from modelyard.workloads.language.engine import MEMORY_SHARE, LanguageEngine, end_tokens
from modelyard.workloads.language.generation import Generation, Piece
from modelyard.workloads.language.memory import free_bytes
from modelyard.workloads.language.slots import Attention, layer_pairs


class Generations(LanguageEngine):
    """The requests under way. Those of one adapter share each step; adapters take turns.

    InputError for a model of a kind that cannot be served.
    """

    together = MOST_TOGETHER

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        config = model.config.get_text_config()
        context = int(getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length)
        super().__init__(tokenizer, context, model.device)
        self._adapters = Adapters(model)
        self._rules = _rules(model, tokenizer)
        self._batches: OrderedDict[Path | None, Batch] = OrderedDict()
        self._room = free_bytes(model.device) * MEMORY_SHARE / _bytes_a_token(model)

    def __len__(self) -> int:
        return sum(map(len, self._batches.values()))

    def add(self, generation: Generation) -> None:
        """Lets a generation take part in the steps that follow; InputError if its adapter cannot be loaded."""
        adapter = generation.request.adapter
        if adapter not in self._batches:
            variant = self._adapters.variant(adapter, set(self._batches))
            self._batches[adapter] = Batch(variant, self._rules)
        self._batches[adapter].add(generation)

    def cancel(self, generation: Generation) -> None:
        """Ends a generation, if it has not ended; its place is free at once."""
        adapter = generation.request.adapter
        if adapter in self._batches:
            self._batches[adapter].cancel(generation)
            self._sweep(adapter)

    def step(self) -> list[Piece]:
        """One step of one adapter's requests; those of the other adapters have the next ones."""
        adapter, batch = next(iter(self._batches.items()))
        self._batches.move_to_end(adapter)
        others = sum(other.claimed() for other in self._batches.values() if other is not batch)
        try:
            pieces = batch.step(self._room - others)
        except Exception as error:
            pieces = batch.fail(f"{type(error).__name__}: {error}")
        self._sweep(adapter)
        return pieces

    def _sweep(self, adapter: Path | None) -> None:
        if not len(self._batches[adapter]):
            del self._batches[adapter]


def _rules(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Rules:
    own = model.generation_config
    assert own is not None
    try:
        attention = Attention(model.config.get_text_config())
    except ValueError as error:
        raise InputError(f"models of the type {model.config.model_type} are not served: {error}") from None
    return Rules(
        attention,
        ends=end_tokens(own, tokenizer),
        keeps_logits="logits_to_keep" in inspect.signature(model.forward).parameters,
        repetition_penalty=own.repetition_penalty,
    )


@torch.inference_mode()
def _bytes_a_token(model: PreTrainedModel) -> int:
    """What a token's keys and values take; asks the model, which warms it up too."""
    cache = DynamicCache()
    model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=model.device), past_key_values=cache, use_cache=True)
    return sum(keys.nbytes + values.nbytes for keys, values in layer_pairs(cache))
