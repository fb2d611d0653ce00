import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.runner.serving import RequestError
from modelyard.workloads.language.request import Request, read
from modelyard.workloads.language.sampling import Sampling


def test_numbers_come_in_the_header_and_texts_in_the_body() -> None:
    header = {"adapter": "/a", "max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "seed": 1}
    messages = [{"role": "user", "content": "é"}]
    request = read(header, json.dumps({"messages": messages, "stop": ["x"]}).encode())
    assert request == Request(None, messages, Path("/a"), 5, Sampling(0.5, 0.9, 3), ("x",), 1)
    assert read({}, b'{"prompt": ""}') == Request("")


@pytest.mark.parametrize(
    ("header", "body", "message"),
    [
        ({}, b"\xff", "no JSON in UTF-8"),
        ({}, b"[" * 100_000, "no JSON"),
        ({}, b"[]", "no JSON object"),
        ({}, b"{}", "either a prompt or messages"),
        ({}, b'{"prompt": "x", "messages": []}', "either a prompt or messages"),
        ({}, b'{"prompt": 1}', "the prompt is no string"),
        ({}, b'{"messages": [{"role": "user"}]}', "role and content"),
        ({}, b'{"prompt": "x", "stop": [""]}', "stop is no list"),
        ({"max_tokens": 0}, b'{"prompt": "x"}', "max_tokens is 0"),
        ({"max_tokens": True}, b'{"prompt": "x"}', "max_tokens is True"),
        ({"temperature": -1}, b'{"prompt": "x"}', "temperature is -1"),
        ({"temperature": float("nan")}, b'{"prompt": "x"}', "temperature is nan"),
        ({"top_p": 1.1}, b'{"prompt": "x"}', "top_p is 1.1"),
        ({"top_k": 1.5}, b'{"prompt": "x"}', "top_k is 1.5"),
        ({"seed": 1 << 63}, b'{"prompt": "x"}', "seed is"),
    ],
)
def test_what_cannot_be_answered_is_refused(header: dict[str, Any], body: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read(header, body)
