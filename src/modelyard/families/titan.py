"""Amazon Titan Text's body.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-text.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.families.fields import Fields
from modelyard.families.request import Answer, Request, Sampling

EXAMPLE = '{"inputText": "...", "textGenerationConfig": {"maxTokenCount": 512, "temperature": 0.7, "topP": 0.9}}'
DEFAULTS = Sampling(max_tokens=512, temperature=0.7, top_p=0.9)
MAX_TOKENS = 8192

_REASONS = {
    "end_turn": "FINISH",
    "stop_sequence": "STOP_CRITERIA_MET",
    "max_tokens": "LENGTH",
    "context": "LENGTH",
}


def read(body: Mapping[str, Any], hint: str) -> Request:
    """The request in a body; BodyError, with `hint` at its end, if there is none."""
    fields = Fields(body)
    prompt = fields.text("inputText", required=True)
    config = fields.object("textGenerationConfig")
    sampling = Sampling(
        max_tokens=config.integer("maxTokenCount", 1, MAX_TOKENS, DEFAULTS.max_tokens),
        temperature=config.number("temperature", 0.0, 1.0, DEFAULTS.temperature),
        top_p=config.above("topP", 0.0, 1.0, DEFAULTS.top_p),
    )
    stop = config.strings("stopSequences", most=2500)
    config.close()
    fields.end(hint)
    return Request(sampling, prompt=prompt, stop=stop)


def additional(fields: Fields, sampling: Sampling) -> Sampling:
    """What Converse's `additionalModelRequestFields` change: Titan knows none."""
    return sampling


def write(answer: Answer) -> dict[str, Any]:
    """The body that answers; always one result."""
    result = {
        "tokenCount": answer.output_tokens,
        "outputText": answer.text,
        "completionReason": _REASONS[str(answer.stop_reason)],
    }
    return {"inputTextTokenCount": answer.input_tokens, "results": [result]}


def chunks(piece: Answer, first: bool) -> list[dict[str, Any]]:
    """The chunks that tell a piece of a stream."""
    return [
        {
            "outputText": piece.text,
            "index": 0,
            "totalOutputTextTokenCount": piece.output_tokens,
            "completionReason": _REASONS[piece.stop_reason] if piece.stop_reason else None,
            "inputTextTokenCount": piece.input_tokens,
        }
    ]
