"""The body that Bedrock takes for imported models unless its members are OpenAI's: Llama's, with free limits.

https://docs.aws.amazon.com/bedrock/latest/userguide/invoke-imported-model.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.families import llama
from modelyard.families.fields import Fields
from modelyard.families.request import Answer, Request, Sampling

EXAMPLE = llama.EXAMPLE
DEFAULTS = llama.DEFAULTS


def read(body: Mapping[str, Any], hint: str) -> Request:
    """The request in a body; BodyError, with `hint` at its end, if there is none."""
    fields = Fields(body)
    prompt = fields.text("prompt", required=True)
    sampling = Sampling(
        max_tokens=fields.integer("max_gen_len", 1, None, DEFAULTS.max_tokens),
        temperature=fields.number("temperature", 0.0, 2.0, DEFAULTS.temperature),
        top_p=fields.number("top_p", 0.0, 1.0, DEFAULTS.top_p),
        top_k=fields.integer("top_k", 1, None, None),
    )
    stop = fields.strings("stop", most=16)
    fields.refused("not served here; leave it out", "images", "response_format", "logprobs")
    fields.end(hint)
    return Request(sampling, prompt=prompt, stop=stop)


def write(answer: Answer) -> dict[str, Any]:
    """The body that answers."""
    return {**llama.write(answer), "logprobs": None}


def chunks(piece: Answer, first: bool) -> list[dict[str, Any]]:
    """The chunks that tell a piece of a stream."""
    return [{**chunk, "logprobs": None} for chunk in llama.chunks(piece, first)]
