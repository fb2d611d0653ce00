"""Mistral AI's text body.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-mistral-text-completion.html
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelyard.families.fields import Fields
from modelyard.families.request import Answer, Request, Sampling

EXAMPLE = '{"prompt": "<s>[INST] ... [/INST]", "max_tokens": 512, "temperature": 0.5, "top_p": 0.9, "top_k": 50}'
DEFAULTS = Sampling(max_tokens=512, temperature=0.5, top_p=0.9, top_k=50)
MAX_TOKENS = 8192
MAX_TOP_K = 200

_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "context": "length"}


def read(body: Mapping[str, Any], hint: str) -> Request:
    """The request in a body; BodyError, with `hint` at its end, if there is none."""
    fields = Fields(body)
    prompt = fields.text("prompt", required=True)
    sampling = Sampling(
        max_tokens=fields.integer("max_tokens", 1, MAX_TOKENS, DEFAULTS.max_tokens),
        temperature=fields.number("temperature", 0.0, 1.0, DEFAULTS.temperature),
        top_p=fields.number("top_p", 0.0, 1.0, DEFAULTS.top_p),
        top_k=fields.integer("top_k", 1, MAX_TOP_K, DEFAULTS.top_k),
    )
    stop = fields.strings("stop", most=10)
    fields.end(hint)
    return Request(sampling, prompt=prompt, stop=stop)


def additional(fields: Fields, sampling: Sampling) -> Sampling:
    """What Converse's `additionalModelRequestFields` change."""
    return replace(sampling, top_k=fields.integer("top_k", 1, MAX_TOP_K, sampling.top_k))


def write(answer: Answer) -> dict[str, Any]:
    """The body that answers."""
    return {"outputs": [{"text": answer.text, "stop_reason": _REASONS[str(answer.stop_reason)]}]}


def chunks(piece: Answer, first: bool) -> list[dict[str, Any]]:
    """The chunks that tell a piece of a stream."""
    reason = _REASONS[piece.stop_reason] if piece.stop_reason else None
    return [{"outputs": [{"text": piece.text, "stop_reason": reason}]}]
