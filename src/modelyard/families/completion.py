"""The body of OpenAI's text completions, which Bedrock takes for imported models.

https://docs.aws.amazon.com/bedrock/latest/userguide/invoke-imported-model.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.families.fields import Fields
from modelyard.families.openai import FINISH, common, head, usage
from modelyard.families.request import Answer, Request

EXAMPLE = '{"prompt": "...", "max_tokens": 512, "temperature": 0.7}'


def read(body: Mapping[str, Any], hint: str) -> Request:
    """The request in a body; BodyError, with `hint` at its end, if there is none."""
    fields = Fields(body)
    prompt = fields.text("prompt", required=True)
    sampling, stop, seed = common(fields, None)
    fields.end(hint)
    return Request(sampling, prompt=prompt, stop=stop, seed=seed)


def write(answer: Answer) -> dict[str, Any]:
    """The body that answers."""
    choice = {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": FINISH[str(answer.stop_reason)]}
    return {**head(answer, "cmpl", "text_completion"), "choices": [choice], "usage": usage(answer)}


def chunks(piece: Answer, first: bool) -> list[dict[str, Any]]:
    """The chunks that tell a piece of a stream."""
    reason = FINISH[piece.stop_reason] if piece.stop_reason else None
    choice = {"index": 0, "text": piece.text, "logprobs": None, "finish_reason": reason}
    chunk = {**head(piece, "cmpl", "text_completion"), "choices": [choice]}
    return [{**chunk, "usage": usage(piece)} if piece.stop_reason else chunk]
