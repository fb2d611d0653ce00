"""Rows as tokens: in the form in which the model will be asked, and with a mark on what it is to learn."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from modelyard.workloads.language.rows import Completion, Content, RowError, Text


class Example(NamedTuple):
    """A row as tokens: `tokens` int32 [length]; `learned` bool [length], the tokens that count in the loss."""

    tokens: np.ndarray
    learned: np.ndarray


def special_tokens(tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """The texts of the tokens that no ordinary text should hold, such as the borders of messages."""
    return [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]


def is_formatted(tokenizer: PreTrainedTokenizerFast, prompt: str) -> bool:
    """Whether a prompt names special tokens itself: it is in the model's own format already."""
    return any(token in prompt for token in special_tokens(tokenizer))


def learns_chat(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether fine-tuning puts prompts into messages: the form in which a prompt is to be asked later, too."""
    return bool(tokenizer.chat_template)


class Encoder:
    """Makes examples of rows, with a model's tokenizer and chat template.

    A prompt and its completion become a conversation if the model has a template, and if the prompt is not in the
    model's format already. What is learned is the answers with the tokens that end them, or all of a plain text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self._backend = tokenizer.backend_tokenizer
        self._special = special_tokens(tokenizer)

    def examples(self, content: Content, length: int) -> Iterator[Example]:
        """The examples of a row, none longer than `length` tokens: one, or the pieces of a plain text.

        Raises RowError for a row that is too long, or that the template refuses.
        """
        if isinstance(content, Text):
            yield from self._pieces(content.text, length)
            return
        example = self._completion(content) if isinstance(content, Completion) else self._answers(content.messages)
        if len(example.tokens) > length:
            raise RowError(f"it has {len(example.tokens)} tokens; at most {length} fit")
        yield example

    def question(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The tokens of messages that are still to be answered; RowError if the template refuses them."""
        return self._encode(self._render(messages, prompt=True))

    def _pieces(self, text: str, length: int) -> Iterator[Example]:
        tokens = [*self._begin(text), *self._encode(text), *self._end()]
        for start in range(0, len(tokens), length):
            piece = np.asarray(tokens[start : start + length], np.int32)
            if len(piece) > 1:
                yield Example(piece, np.ones(len(piece), bool))

    def _completion(self, row: Completion) -> Example:
        if learns_chat(self.tokenizer) and not any(token in row.prompt for token in self._special):
            turns = ({"role": "user", "content": row.prompt}, {"role": "assistant", "content": row.completion})
            return self._answers(turns)
        prompt = [*self._begin(row.prompt), *self._encode(row.prompt)]
        completion = [*self._encode(row.completion), *self._end()]
        learned = np.arange(len(prompt) + len(completion)) >= len(prompt)
        return Example(np.asarray([*prompt, *completion], np.int32), learned)

    def _answers(self, messages: Sequence[Mapping[str, str]]) -> Example:
        """All of a conversation, its answers learned; the last alone where the template rewrites what came before."""
        if not self.tokenizer.chat_template:
            raise RowError("the base model has no chat template: write rows with prompt and completion")
        text = self._render(messages)
        spans = []
        for place, message in enumerate(messages):
            if message["role"] == "assistant":
                before, after = self._render(messages[:place], prompt=True), self._render(messages[: place + 1])
                if text.startswith(before) and text.startswith(after):
                    spans.append((len(before), len(after)))
        last = self._render(messages[:-1], prompt=True)
        if not text.startswith(last):
            text = last + messages[-1]["content"]
            spans = [(len(last), len(text))]
        if not any(token in text[len(last) :] for token in self._special):
            text += self.tokenizer.eos_token or ""
            spans[-1] = (spans[-1][0], len(text))
        encoding = self._backend.encode(text, add_special_tokens=False)
        starts, ends = np.asarray(encoding.offsets).T
        learned = np.zeros(len(starts), bool)
        for begin, end in spans:
            learned |= (ends > begin) & (starts < end)
        return Example(np.asarray(encoding.ids, np.int32), learned)

    def _render(self, messages: Sequence[Mapping[str, str]], prompt: bool = False) -> str:
        try:
            text = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, add_generation_prompt=prompt
            )
        except TemplateError as error:
            raise RowError(f"the model's chat template refuses it ({error})") from None
        return str(text)

    def _begin(self, text: str) -> list[int]:
        """What the tokenizer puts before a text, unless the text begins with it itself."""
        begin = self.tokenizer.bos_token
        if begin is not None and text.startswith(begin):
            return []
        encoding = self._backend.encode("a", add_special_tokens=True)
        return list(encoding.ids[: encoding.special_tokens_mask.index(0)])

    def _encode(self, text: str) -> list[int]:
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def _end(self) -> list[int]:
        return [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
