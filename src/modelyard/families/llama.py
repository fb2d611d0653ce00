"""Meta Llama's body.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-meta.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.families.fields import Fields
from modelyard.families.request import Answer, Request, Sampling

EXAMPLE = '{"prompt": "...", "max_gen_len": 512, "temperature": 0.5, "top_p": 0.9}'
DEFAULTS = Sampling(max_tokens=512, temperature=0.5, top_p=0.9)
MAX_TOKENS = 2048

_REASONS = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "context": "length"}


def read(body: Mapping[str, Any], hint: str) -> Request:
    """The request in a body; BodyError, with `hint` at its end, if there is none."""
    fields = Fields(body)
    prompt = fields.text("prompt", required=True)
    sampling = Sampling(
        max_tokens=fields.integer("max_gen_len", 1, MAX_TOKENS, DEFAULTS.max_tokens),
        temperature=fields.number("temperature", 0.0, 1.0, DEFAULTS.temperature),
        top_p=fields.number("top_p", 0.0, 1.0, DEFAULTS.top_p),
    )
    fields.refused("images are not served", "images")
    fields.end(hint)
    return Request(sampling, prompt=prompt)


def additional(fields: Fields, sampling: Sampling) -> Sampling:
    """What Converse's `additionalModelRequestFields` change: Llama knows none."""
    return sampling


def write(answer: Answer) -> dict[str, Any]:
    """The body that answers."""
    return {
        "generation": answer.text,
        "prompt_token_count": answer.input_tokens,
        "generation_token_count": answer.output_tokens,
        "stop_reason": _REASONS[str(answer.stop_reason)],
    }


def chunks(piece: Answer, first: bool) -> list[dict[str, Any]]:
    """The chunks that tell a piece of a stream."""
    return [
        {
            "generation": piece.text,
            "prompt_token_count": piece.input_tokens if first else None,
            "generation_token_count": piece.output_tokens,
            "stop_reason": _REASONS[piece.stop_reason] if piece.stop_reason else None,
        }
    ]
