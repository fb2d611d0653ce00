"""The body of Anthropic's Messages API.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelyard.families.conversation import conversation, typed_blocks
from modelyard.families.fields import Fields
from modelyard.families.request import Answer, Request, Sampling

VERSION = "bedrock-2023-05-31"
EXAMPLE = f'{{"anthropic_version": "{VERSION}", "max_tokens": 512, "messages": [{{"role": "user", "content": "..."}}]}}'
DEFAULTS = Sampling(temperature=1.0, top_p=1.0)
MAX_TOP_K = 500

_REASONS = {
    "end_turn": "end_turn",
    "stop_sequence": "stop_sequence",
    "max_tokens": "max_tokens",
    "context": "model_context_window_exceeded",
}


def read(body: Mapping[str, Any], hint: str) -> Request:
    """The request in a body; BodyError, with `hint` at its end, if there is none."""
    fields = Fields(body)
    fields.one_of("anthropic_version", VERSION, required=True)
    sampling = Sampling(
        max_tokens=fields.integer("max_tokens", 1, None, None, required=True),
        temperature=fields.number("temperature", 0.0, 1.0, DEFAULTS.temperature),
        top_p=fields.number("top_p", 0.0, 1.0, DEFAULTS.top_p),
        top_k=_top_k(fields, None),
    )
    stop = fields.strings("stop_sequences", most=8191)
    fields.refused("not served here; leave it out", "tools", "tool_choice", "thinking", "output_config")
    fields.ignored("metadata")
    system = typed_blocks(fields, "system")
    turns = []
    for message in fields.objects("messages", required=True):
        role = message.one_of("role", "user", "assistant", required=True)
        turns.append({"role": role or "", "content": typed_blocks(message, "content", required=True)})
        message.close()
    fields.end(hint)
    return Request(sampling, messages=conversation(system, turns), stop=stop)


def additional(fields: Fields, sampling: Sampling) -> Sampling:
    """What Converse's `additionalModelRequestFields` change."""
    return replace(sampling, top_k=_top_k(fields, sampling.top_k))


def _top_k(fields: Fields, default: int | None) -> int | None:
    """0 is as if it were absent."""
    return fields.integer("top_k", 0, MAX_TOP_K, default) or None


def write(answer: Answer) -> dict[str, Any]:
    """The body that answers."""
    return {
        **_message(answer),
        "content": [{"type": "text", "text": answer.text}],
        "stop_reason": _REASONS[str(answer.stop_reason)],
        "stop_sequence": answer.stop_sequence,
        "usage": {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens},
    }


def chunks(piece: Answer, first: bool) -> list[dict[str, Any]]:
    """The chunks that tell a piece of a stream."""
    told: list[dict[str, Any]] = _opening(piece) if first else []
    if piece.text:
        delta = {"type": "text_delta", "text": piece.text}
        told.append({"type": "content_block_delta", "index": 0, "delta": delta})
    return told + _closing(piece) if piece.stop_reason else told


def _message(answer: Answer) -> dict[str, Any]:
    return {"id": f"msg_bdrk_{answer.id}", "type": "message", "role": "assistant", "model": answer.model}


def _opening(piece: Answer) -> list[dict[str, Any]]:
    usage = {"input_tokens": piece.input_tokens, "output_tokens": piece.output_tokens}
    message = {**_message(piece), "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]


def _closing(piece: Answer) -> list[dict[str, Any]]:
    delta = {"stop_reason": _REASONS[str(piece.stop_reason)], "stop_sequence": piece.stop_sequence}
    return [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": piece.output_tokens}},
        {"type": "message_stop"},
    ]
