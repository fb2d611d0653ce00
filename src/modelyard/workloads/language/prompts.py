"""Prompts and conversations as tokens."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from modelyard.runner.serving import RequestError
from modelyard.workloads.language.chat import is_formatted
from modelyard.workloads.language.request import Message, Request

_SHRINKS = 4
"""How much shorter a tokenizer's normalizer may make a text."""


class Prompts:
    """Makes the tokens that a model reads, with its own tokenizer and chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self.backend: Tokenizer = tokenizer.backend_tokenizer
        self._longest = max(map(len, self.backend.get_vocab()))

    def least_tokens(self, request: Request) -> int:
        """Tokens that a request has at the least, and mostly many more: a quick look, before megabytes are read."""
        characters = len(request.prompt or "") + sum(len(message["content"]) for message in request.messages or ())
        return characters // (_SHRINKS * self._longest)

    def tokens(self, request: Request) -> list[int]:
        """The tokens of a request; RequestError if it has none, or its messages do not fit the model's template."""
        prompt = request.prompt or ""
        if request.messages is not None:
            tokens = self._conversation(request.messages)
        elif prompt and self._is_question(prompt, request.adapter):
            tokens = self._conversation([{"role": "user", "content": prompt}])
        else:
            tokens = self._prompt(prompt)
        if not tokens:
            raise RequestError("the prompt is empty")
        return tokens

    def _is_question(self, prompt: str, adapter: Path | None) -> bool:
        """Whether the model was trained on prompts as messages, and this one is not in the model's format already."""
        folder = adapter or Path(self._tokenizer.name_or_path)
        return _learned_chat(folder) and not is_formatted(self._tokenizer, prompt)

    def _prompt(self, prompt: str) -> list[int]:
        """The prompt as it stands: a begin token that it names itself is not added again."""
        begin = self._tokenizer.bos_token
        whole = begin is not None and prompt.startswith(begin)
        return self.backend.encode(prompt, add_special_tokens=not whole).ids

    def _conversation(self, messages: Sequence[Message]) -> list[int]:
        if not self._tokenizer.chat_template:
            raise RequestError("this model has no chat template: send a prompt instead of messages", reason="template")
        turns: Any = list(messages)
        try:
            text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise RequestError(f"the model's chat template refuses the messages: {error}", reason="template") from None
        return self.backend.encode(str(text), add_special_tokens=False).ids


@lru_cache(maxsize=256)
def _learned_chat(folder: Path) -> bool:
    """What `modelyard.json`, beside the weights of a fine-tuned model, says about its prompts."""
    try:
        said = json.loads((folder / "modelyard.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("prompts") == "chat"
