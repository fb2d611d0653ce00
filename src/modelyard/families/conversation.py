"""What conversations have in common, in every body: who speaks when, and how blocks of text become one."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from modelyard.families.fields import Fields
from modelyard.families.request import BodyError


def text_of(texts: Sequence[str]) -> str:
    """The content of a message that came in several blocks of text."""
    return "\n".join(texts)


def conversation(system: str, turns: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The messages for a chat template; BodyError unless user and assistant take turns, the user first and last."""
    if not turns or turns[0]["role"] != "user":
        raise BodyError(
            "A conversation must start with a user message. "
            "Try again with a conversation that starts with a user message."
        )
    if any(turn["role"] == before["role"] for before, turn in pairwise(turns)):
        raise BodyError(
            "A conversation must alternate between user and assistant roles. "
            "Make sure the conversation alternates between user and assistant roles and try again."
        )
    if turns[-1]["role"] != "user":
        raise BodyError(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    return [{"role": "system", "content": system}, *turns] if system else list(turns)


def blocks(fields: Fields, name: str) -> str:
    """A content of Converse's and Nova's bodies: a list of `{"text": …}`, or of what is refused."""
    texts = []
    for block in fields.objects(name, required=True):
        if others := block.names - {"text"}:
            raise BodyError(
                f"{block.path}: This model doesn't support the {others.pop()[:40]} content block that you provided. "
                "Update the content block and try again; text is supported."
            )
        text = block.text("text", required=True)
        if text is not None and not text.strip():
            raise BodyError(
                f"The text field in the ContentBlock object at {block.path} is blank. "
                "Add text to the text field, and try again."
            )
        texts.append(text or "")
    return text_of(texts)


def typed_blocks(fields: Fields, name: str, required: bool = False) -> str:
    """A content of Anthropic's and OpenAI's bodies: a string, or a list of `{"type": "text", "text": …}`."""
    value = fields.peek(name)
    if isinstance(value, str) or (value is None and not required):
        return fields.text(name) or ""
    texts = []
    for block in fields.objects(name, required):
        kind = block.text("type", required=True)
        if kind not in (None, "text"):
            block.here(f"blocks of type {kind[:40]!r} are not served; only text is")
            block.drop()
            continue
        texts.append(block.text("text", required=True) or "")
        block.close()
    return text_of(texts)
