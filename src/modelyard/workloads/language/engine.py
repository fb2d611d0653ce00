"""What generates for many requests at once: the contract of the engines, and what they do alike."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast

from modelyard.runner.serving import RequestError
from modelyard.workloads.language.generation import Generation, Piece
from modelyard.workloads.language.prompts import Prompts
from modelyard.workloads.language.request import Request
from modelyard.workloads.language.sampling import Choice
from modelyard.workloads.language.text import Text

MEMORY_SHARE = 0.25
"""Of the memory that is free when a model is loaded: for keys and values."""


class LanguageEngine(ABC):
    """The requests under way for one base model and its adapters. One thread steps; any thread may prepare requests.

    context: tokens that a prompt and its answer may have together. together: requests that are under way at once;
    more of them wait. `len` counts both.
    """

    together: int

    def __init__(self, tokenizer: PreTrainedTokenizerFast, context: int, device: torch.device) -> None:
        self.prompts = Prompts(tokenizer)
        self.context = context
        self._device = device

    @abstractmethod
    def __len__(self) -> int: ...

    def prepare(self, request: Request) -> Generation:
        """Checks a request, and makes its tokens; any thread may do that. RequestError if it cannot be answered."""
        began = time.monotonic()
        if self.prompts.least_tokens(request) > self.context:
            raise _too_long("far too many", self.context)
        prompt = self.prompts.tokens(request)
        if len(prompt) >= self.context:
            raise _too_long(str(len(prompt)), self.context)
        text = Text(self.prompts.backend, request.stop)
        choice = Choice(request.sampling, request.seed, self._device)
        return Generation(request, prompt, self.context, text, choice, began)

    @abstractmethod
    def add(self, generation: Generation) -> None:
        """Lets a generation take part in the steps that follow; InputError if its adapter cannot be loaded."""

    @abstractmethod
    def cancel(self, generation: Generation) -> None:
        """Ends a generation, if it has not ended; its place is free at once."""

    @abstractmethod
    def step(self) -> list[Piece]:
        """One step of some of the requests under way, of which there are. After an exception nothing goes on."""


def end_tokens(own: GenerationConfig, tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """The tokens that end an answer; `own` is what the model says about its generations."""
    ends: int | Sequence[int] = own.eos_token_id if own.eos_token_id is not None else ()
    return frozenset([ends] if isinstance(ends, int) else ends) | {tokenizer.eos_token_id} - {None}


def _too_long(tokens: str, context: int) -> RequestError:
    return RequestError(
        f"the prompt has {tokens} tokens; the model's context of {context} tokens has to hold the answer too: "
        "shorten the prompt",
        reason="context",
    )
