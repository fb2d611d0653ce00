"""What every family's body comes down to: a request that a model can work on, and the answer that it gave."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class BodyError(Exception):
    """A body that cannot be answered; the message says what is wrong with it, where, and what it should be."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen where a body is silent.

    max_tokens: None is as many as the model's context leaves room for. temperature 0 is greedy. top_k: None is all.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None


@dataclass(frozen=True)
class Request:
    """What a model is asked: either a prompt, as it stands, or messages for the model's chat template.

    messages: `{"role": "system" | "user" | "assistant", "content": text}`; a system message comes first, the user's
    comes last. stop: texts that end the answer and are no part of it. seed: None draws one.
    """

    sampling: Sampling
    prompt: str | None = None
    messages: Sequence[Mapping[str, str]] | None = None
    stop: Sequence[str] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Answer:
    """What a model said: all of it, or a piece of a stream.

    stop_reason: `end_turn`, `max_tokens`, `stop_sequence` or `context`; None for every piece but the last.
    input_tokens, output_tokens: so far. latency, first_latency: milliseconds to the end and to the first text.
    id: the request's. created: seconds since the epoch.
    """

    text: str
    stop_reason: str | None
    stop_sequence: str | None
    input_tokens: int
    output_tokens: int
    latency: float = 0.0
    first_latency: float = 0.0
    model: str = ""
    id: str = ""
    created: int = 0
