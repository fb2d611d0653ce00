"""Amazon Nova's body.

https://docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelyard.families.conversation import blocks, conversation, text_of
from modelyard.families.fields import Fields
from modelyard.families.request import Answer, Request, Sampling

EXAMPLE = '{"messages": [{"role": "user", "content": [{"text": "..."}]}], "inferenceConfig": {"maxTokens": 512}}'
DEFAULTS = Sampling(temperature=0.7, top_p=0.9)
MAX_TOP_K = 128

_REASONS = {
    "end_turn": "end_turn",
    "stop_sequence": "stop_sequence",
    "max_tokens": "max_tokens",
    "context": "max_tokens",
}


def read(body: Mapping[str, Any], hint: str) -> Request:
    """The request in a body; BodyError, with `hint` at its end, if there is none."""
    fields = Fields(body)
    fields.one_of("schemaVersion", "messages-v1")
    fields.refused("not served here; leave it out", "toolConfig")
    config = fields.object("inferenceConfig")
    older = config.integer("max_new_tokens", 1, None, None)
    sampling = Sampling(
        max_tokens=config.integer("maxTokens", 1, None, older),
        temperature=config.number("temperature", 0.0, 1.0, DEFAULTS.temperature),
        top_p=config.above("topP", 0.0, 1.0, DEFAULTS.top_p),
        top_k=_top_k(config, None),
    )
    stop = config.strings("stopSequences", most=2500)
    config.close()
    instructions = []
    for part in fields.objects("system"):
        instructions.append(part.text("text", required=True) or "")
        part.close()
    turns = []
    for message in fields.objects("messages", required=True):
        role = message.one_of("role", "user", "assistant", required=True)
        turns.append({"role": role or "", "content": blocks(message, "content")})
        message.close()
    fields.end(hint)
    return Request(sampling, messages=conversation(text_of(instructions), turns), stop=stop)


def additional(fields: Fields, sampling: Sampling) -> Sampling:
    """What Converse's `additionalModelRequestFields` change: `{"inferenceConfig": {"topK": 20}}`."""
    config = fields.object("inferenceConfig")
    top_k = _top_k(config, sampling.top_k)
    config.close()
    return replace(sampling, top_k=top_k)


def _top_k(fields: Fields, default: int | None) -> int | None:
    """0 is as if it were absent."""
    return fields.integer("topK", 0, MAX_TOP_K, default) or None


def write(answer: Answer) -> dict[str, Any]:
    """The body that answers."""
    message = {"role": "assistant", "content": [{"text": answer.text}]}
    return {
        "output": {"message": message},
        "stopReason": _REASONS[str(answer.stop_reason)],
        "usage": _usage(answer),
    }


def chunks(piece: Answer, first: bool) -> list[dict[str, Any]]:
    """The chunks that tell a piece of a stream."""
    told: list[dict[str, Any]] = [{"messageStart": {"role": "assistant"}}] if first else []
    if piece.text:
        told.append({"contentBlockDelta": {"delta": {"text": piece.text}, "contentBlockIndex": 0}})
    if piece.stop_reason:
        told += [
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"messageStop": {"stopReason": _REASONS[piece.stop_reason]}},
            {"metadata": {"usage": _usage(piece), "metrics": {}}},
        ]
    return told


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "inputTokens": answer.input_tokens,
        "outputTokens": answer.output_tokens,
        "totalTokens": answer.input_tokens + answer.output_tokens,
    }
