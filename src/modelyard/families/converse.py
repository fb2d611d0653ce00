"""The body of Converse, one for all families.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelyard.families.conversation import blocks, conversation, text_of
from modelyard.families.fields import Fields
from modelyard.families.forms import FORMS
from modelyard.families.request import Answer, BodyError, Request

UNSERVED = ("toolConfig", "guardrailConfig", "promptVariables", "outputConfig")

STOP_REASONS = {
    "end_turn": "end_turn",
    "stop_sequence": "stop_sequence",
    "max_tokens": "max_tokens",
    "context": "model_context_window_exceeded",
}


def read(body: Mapping[str, Any], family: str) -> Request:
    """The request in a body; BodyError if there is none, or if it asks what is not served."""
    for member in UNSERVED:
        if body.get(member) is not None:
            raise BodyError(f"This model doesn't support the {member} field. Remove {member} and try again.")
    fields = Fields(body)
    sampling, stop = _sampling(fields, family)
    system = text_of([_instruction(part) for part in fields.objects("system")])
    turns = []
    for message in fields.objects("messages", required=True):
        role = message.one_of("role", "user", "assistant", required=True)
        turns.append({"role": role or "", "content": blocks(message, "content")})
        message.close()
    fields.ignored(
        "modelId", "additionalModelResponseFieldPaths", "requestMetadata", "performanceConfig", "serviceTier"
    )
    fields.end()
    return Request(sampling, messages=conversation(system, turns), stop=stop)


def _sampling(fields: Fields, family: str) -> tuple[Any, tuple[str, ...]]:
    form = FORMS[family]
    config = fields.object("inferenceConfig")
    sampling = replace(
        form.DEFAULTS,
        max_tokens=config.integer("maxTokens", 1, None, None),
        temperature=config.number("temperature", 0.0, 1.0, form.DEFAULTS.temperature),
        top_p=config.number("topP", 0.0, 1.0, form.DEFAULTS.top_p),
    )
    stop = config.strings("stopSequences", most=2500)
    config.close()
    additional = fields.object("additionalModelRequestFields")
    sampling = form.additional(additional, sampling)
    additional.close()
    return sampling, stop


def _instruction(part: Fields) -> str:
    if others := part.names - {"text"}:
        raise BodyError(
            f"{part.path}: This model doesn't support the {others.pop()[:40]} system content block that you provided. "
            "Update the content block and try again; text is supported."
        )
    return part.text("text", required=True) or ""


def write(answer: Answer) -> dict[str, Any]:
    """The body that answers."""
    message = {"role": "assistant", "content": [{"text": answer.text}]}
    return {
        "output": {"message": message},
        "stopReason": STOP_REASONS[str(answer.stop_reason)],
        "usage": _usage(answer),
        "metrics": {"latencyMs": round(answer.latency)},
    }


def events(piece: Answer, first: bool) -> list[dict[str, Any]]:
    """The events that tell a piece of a stream."""
    told: list[dict[str, Any]] = [{"messageStart": {"role": "assistant"}}] if first else []
    if piece.text:
        told.append({"contentBlockDelta": {"delta": {"text": piece.text}, "contentBlockIndex": 0}})
    if piece.stop_reason:
        told += [
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"messageStop": {"stopReason": STOP_REASONS[piece.stop_reason]}},
            {"metadata": {"usage": _usage(piece), "metrics": {"latencyMs": round(piece.latency)}}},
        ]
    return told


def picked(body: Mapping[str, Any], pointers: Sequence[str]) -> dict[str, Any] | None:
    """What `additionalModelResponseFieldPaths` ask of the family's own body: the members that are there, in place.

    BodyError for a path that is no JSON pointer. None if there is nothing.
    """
    found: dict[str, Any] = {}
    for pointer in pointers:
        if not pointer.startswith("/"):
            raise BodyError(
                f"additionalModelResponseFieldPaths: {pointer[:80]!r} is no JSON pointer such as /stop_sequence"
            )
        names = [name.replace("~1", "/").replace("~0", "~") for name in pointer[1:].split("/")]
        value: Any = body
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None:
            place = found
            for name in names[:-1]:
                place = place.setdefault(name, {})
            place[names[-1]] = value
    return found or None


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "inputTokens": answer.input_tokens,
        "outputTokens": answer.output_tokens,
        "totalTokens": answer.input_tokens + answer.output_tokens,
    }
