"""The body of OpenAI's chat completions, which Bedrock takes for its own gpt-oss models and for imported ones.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-openai.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.families.conversation import conversation, text_of, typed_blocks
from modelyard.families.fields import Fields
from modelyard.families.request import Answer, BodyError, Request, Sampling

EXAMPLE = '{"messages": [{"role": "user", "content": "..."}], "max_completion_tokens": 512, "temperature": 0.7}'
DEFAULTS = Sampling(temperature=1.0, top_p=1.0)

FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "context": "length"}


def read(body: Mapping[str, Any], hint: str) -> Request:
    """The request in a body; BodyError, with `hint` at its end, if there is none."""
    fields = Fields(body)
    newer = fields.integer("max_completion_tokens", 1, None, None)
    sampling, stop, seed = common(fields, newer)
    fields.refused("not served here; leave it out", "tools", "tool_choice", "functions", "reasoning_effort")
    instructions, turns = [], []
    for message in fields.objects("messages", required=True):
        role = message.one_of("role", "user", "assistant", "system", "developer", required=True)
        content = typed_blocks(message, "content", required=True)
        message.ignored("name")
        message.refused("not served here", "tool_calls", "tool_call_id")
        message.close()
        if role in ("system", "developer"):
            instructions.append(content)
        else:
            turns.append({"role": role or "", "content": content})
    fields.end(hint)
    return Request(sampling, messages=conversation(text_of(instructions), turns), stop=stop, seed=seed)


def common(fields: Fields, max_tokens: int | None) -> tuple[Sampling, tuple[str, ...], int | None]:
    """What chat and text completions have in common: sampling, stop sequences and seed."""
    sampling = Sampling(
        max_tokens=fields.integer("max_tokens", 1, None, max_tokens),
        temperature=fields.number("temperature", 0.0, 2.0, DEFAULTS.temperature),
        top_p=fields.above("top_p", 0.0, 1.0, DEFAULTS.top_p),
    )
    if isinstance(alone := fields.peek("stop"), str):
        fields.ignored("stop")
    stop = (alone,) if isinstance(alone, str) and alone else fields.strings("stop", most=4)
    seed = fields.integer("seed", 0, 2**63 - 1, None)
    fields.integer("n", 1, 1, 1)
    fields.number("frequency_penalty", 0.0, 0.0, 0.0)
    fields.number("presence_penalty", 0.0, 0.0, 0.0)
    format = fields.object("response_format")
    format.one_of("type", "text")
    format.refused("not served here; leave it out", "json_schema")
    format.close()
    if fields.peek("logprobs"):
        raise BodyError("Malformed input request: #/logprobs: not served here, leave it out and try again.")
    fields.ignored("model", "stream", "stream_options", "user", "logprobs", "top_logprobs")
    return sampling, stop, seed


def additional(fields: Fields, sampling: Sampling) -> Sampling:
    """What Converse's `additionalModelRequestFields` change: nothing that is served."""
    return sampling


def write(answer: Answer) -> dict[str, Any]:
    """The body that answers."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.text},
        "finish_reason": FINISH[str(answer.stop_reason)],
    }
    return {**head(answer, "chatcmpl", "chat.completion"), "choices": [choice], "usage": usage(answer)}


def chunks(piece: Answer, first: bool) -> list[dict[str, Any]]:
    """The chunks that tell a piece of a stream."""
    delta = {"role": "assistant", "content": piece.text} if first else {"content": piece.text}
    choice = {"index": 0, "delta": delta, "finish_reason": FINISH[piece.stop_reason] if piece.stop_reason else None}
    chunk = {**head(piece, "chatcmpl", "chat.completion.chunk"), "choices": [choice]}
    return [{**chunk, "usage": usage(piece)} if piece.stop_reason else chunk]


def head(answer: Answer, prefix: str, object: str) -> dict[str, Any]:
    """The members that begin every answer."""
    return {"id": f"{prefix}-{answer.id}", "object": object, "created": answer.created, "model": answer.model}


def usage(answer: Answer) -> dict[str, int]:
    """The counts of tokens."""
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
