"""Prompts and conversations as tokens."""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from modelyard.runner.serving import RequestError
from modelyard.workloads.language.request import Message, Request


class Prompts:
    """Makes the tokens that a model reads, with its own tokenizer and chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self.backend: Tokenizer = tokenizer.backend_tokenizer

    def tokens(self, request: Request) -> list[int]:
        """The tokens of a request; RequestError if it has none, or its messages do not fit the model's template."""
        if request.messages is not None:
            tokens = self._conversation(request.messages)
        else:
            tokens = self._prompt(request.prompt or "")
        if not tokens:
            raise RequestError("the prompt is empty")
        return tokens

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
