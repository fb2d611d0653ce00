"""Whatever JSON arrives, a body is read or refused with a message; nothing else happens."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.families import FORMS, BodyError, Request, converse, read

WORDS = """
prompt max_gen_len max_tokens temperature top_p top_k stop inputText textGenerationConfig maxTokenCount topP image
stopSequences messages role content text type system anthropic_version inferenceConfig topK schemaVersion maxTokens
max_completion_tokens seed n logprobs response_format additionalModelRequestFields x
"""
NAMES = st.sampled_from(WORDS.split())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["user", "assistant", "system", "text", "bedrock-2023-05-31", "messages-v1"])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=15
)


def outcome(ask: Callable[[], Request]) -> Request | str:
    """The request, or what is said instead."""
    try:
        return ask()
    except BodyError as error:
        return str(error)


@settings(max_examples=60, deadline=None)
@given(body=JSON, family=st.sampled_from(sorted(FORMS)), imported=st.booleans())
def test_a_body_is_read_or_refused(body: Any, family: str, imported: bool) -> None:
    said = outcome(lambda: read(family, imported, body)[1])
    if isinstance(said, str):
        assert said.isprintable()
        assert 20 < len(said) < 4096
    else:
        assert (said.prompt is None) != (said.messages is None)


@settings(max_examples=60, deadline=None)
@given(body=st.dictionaries(NAMES, JSON, max_size=6), family=st.sampled_from(sorted(FORMS)))
def test_a_conversation_is_read_or_refused(body: dict[str, Any], family: str) -> None:
    said = outcome(lambda: converse.read(body, family))
    assert 20 < len(said) < 4096 if isinstance(said, str) else said.messages


@pytest.mark.parametrize("pointer", ["/", "//", "/~", "/~2", "/a/" * 100, "/a/b/c", "/x"])
def test_odd_pointers_pick_nothing(pointer: str) -> None:
    assert converse.picked({"a": {"b": 1}}, [pointer]) is None


@pytest.mark.parametrize("pointer", ["", "a"])
def test_what_is_no_pointer_is_refused(pointer: str) -> None:
    with pytest.raises(BodyError, match="no JSON pointer"):
        converse.picked({"a": {"b": 1}}, [pointer])
