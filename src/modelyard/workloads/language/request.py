"""What a model is asked: the frame that the server sends, checked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.runner.serving import RequestError
from modelyard.workloads.language.sampling import GREEDY, Sampling

Message = Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """A prompt as it stands, or messages for the model's chat template; and how the answer is to be made.

    adapter: the folder of a LoRA adapter; None for the base model. max_tokens: None is as many as the context holds.
    stop: texts that end the answer and are no part of it. seed: None draws one.
    account: whose it is; what was computed for one account shortens no other's wait.
    """

    prompt: str | None = None
    messages: Sequence[Message] | None = None
    adapter: Path | None = None
    max_tokens: int | None = None
    sampling: Sampling = GREEDY
    stop: Sequence[str] = ()
    seed: int | None = None
    account: str | None = None


def read(header: Mapping[str, Any], body: bytes) -> Request:
    """The request of a frame: numbers in its header, texts in its body, UTF-8 JSON. RequestError says what is wrong."""
    try:
        texts = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is no JSON in UTF-8: {error}") from None
    if not isinstance(texts, dict):
        raise RequestError("the body is no JSON object")
    prompt, messages, stop = texts.get("prompt"), texts.get("messages"), texts.get("stop") or []
    if (prompt is None) == (messages is None):
        raise RequestError("send either a prompt or messages")
    if prompt is not None and not isinstance(prompt, str):
        raise RequestError("the prompt is no string")
    if messages is not None and not (isinstance(messages, list) and all(_is_message(one) for one in messages)):
        raise RequestError("messages is no list of objects with role and content, both strings")
    if not isinstance(stop, list) or not all(isinstance(text, str) and text for text in stop):
        raise RequestError("stop is no list of strings that are not empty")
    adapter = header.get("adapter")
    sampling = Sampling(
        temperature=_number(header, "temperature", 0.0, 0.0, 1000.0),
        top_p=_number(header, "top_p", 1.0, 0.0, 1.0),
        top_k=_integer(header, "top_k", 1),
    )
    return Request(
        prompt,
        messages,
        Path(adapter) if adapter else None,
        _integer(header, "max_tokens", 1),
        sampling,
        tuple(stop),
        _integer(header, "seed", 0),
        header.get("account"),
    )


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str)


def _number(header: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = header.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise RequestError(f"{name} is {value!r}; it must be a number from {low:g} to {high:g}")
    return float(value)


def _integer(header: Mapping[str, Any], name: str, low: int) -> int | None:
    value = header.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 1 << 63:
        raise RequestError(f"{name} is {value!r}; it must be a whole number of at least {low}")
    return value
