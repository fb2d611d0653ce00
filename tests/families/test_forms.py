"""The bodies of InvokeModel: what each family reads, what it refuses, and how it answers."""

import re
from typing import Any

import orjson
import pytest

from modelyard.families import FORMS, METRICS, Answer, BodyError, Request, Sampling, chunks, read

USER = [{"role": "user", "content": "hello"}]
CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": USER}
SMALLEST: dict[str, dict[str, Any]] = {
    "llama": {"prompt": "hello"},
    "titan": {"inputText": "hello"},
    "mistral": {"prompt": "hello"},
    "nova": {"messages": [{"role": "user", "content": [{"text": "hello"}]}]},
    "claude": CLAUDE,
    "openai": {"messages": USER},
}


def asked(family: str, body: Any, imported: bool = False) -> Request:
    return read(family, imported, body)[1]


def refusal(family: str, body: Any, imported: bool = False) -> str:
    with pytest.raises(BodyError) as caught:
        read(family, imported, body)
    return str(caught.value)


@pytest.mark.parametrize(
    ("family", "body", "sampling"),
    [
        ("llama", {"prompt": "hi"}, Sampling(512, 0.5, 0.9)),
        ("llama", {"prompt": "hi", "max_gen_len": 7, "temperature": 0, "top_p": 1}, Sampling(7, 0.0, 1.0)),
        ("titan", {"inputText": "hi"}, Sampling(512, 0.7, 0.9)),
        (
            "titan",
            {"inputText": "hi", "textGenerationConfig": {"maxTokenCount": 7, "temperature": 0, "topP": 0.1}},
            Sampling(7, 0.0, 0.1),
        ),
        ("mistral", {"prompt": "hi"}, Sampling(512, 0.5, 0.9, 50)),
        ("mistral", {"prompt": "hi", "max_tokens": 7, "temperature": 1, "top_k": 3}, Sampling(7, 1.0, 0.9, 3)),
    ],
)
def test_prompts_are_read_with_their_familys_defaults(family: str, body: dict[str, Any], sampling: Sampling) -> None:
    request = asked(family, body)
    assert (request.prompt, request.messages, request.sampling) == ("hi", None, sampling)


@pytest.mark.parametrize(
    ("family", "body", "sampling", "stop"),
    [
        (
            "claude",
            {**CLAUDE, "system": "be brief", "top_k": 5, "temperature": 0.25, "stop_sequences": ["\n\nHuman:"]},
            Sampling(9, 0.25, 1.0, 5),
            ("\n\nHuman:",),
        ),
        (
            "claude",
            {
                **CLAUDE,
                "system": [{"type": "text", "text": "be brief"}],
                "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
            },
            Sampling(9),
            (),
        ),
        (
            "nova",
            {
                "schemaVersion": "messages-v1",
                "system": [{"text": "be brief"}],
                "messages": [{"role": "user", "content": [{"text": "hello"}]}],
                "inferenceConfig": {"max_new_tokens": 9, "topK": 20, "stopSequences": ["."]},
            },
            Sampling(9, 0.7, 0.9, 20),
            (".",),
        ),
        (
            "openai",
            {
                "model": "any",
                "messages": [{"role": "system", "content": "be brief"}, *USER],
                "max_completion_tokens": 9,
                "temperature": 1.5,
                "stop": ".",
            },
            Sampling(9, 1.5, 1.0),
            (".",),
        ),
    ],
)
def test_conversations_are_read(family: str, body: dict[str, Any], sampling: Sampling, stop: tuple[str, ...]) -> None:
    request = asked(family, body)
    system = [{"role": "system", "content": "be brief"}] if "system" in orjson.dumps(body).decode() else []
    assert list(request.messages or ()) == [*system, *USER]
    assert (request.prompt, request.sampling, tuple(request.stop)) == (None, sampling, stop)


def test_the_examples_that_refusals_show_are_accepted() -> None:
    for family, form in FORMS.items():
        asked(family, orjson.loads(form.EXAMPLE.replace("\\n", "")))


@pytest.mark.parametrize("family", FORMS)
@pytest.mark.parametrize("other", FORMS)
def test_the_body_of_another_family_is_refused_and_the_right_one_is_shown(family: str, other: str) -> None:
    body = {**SMALLEST[other]}
    if other in ("llama", "mistral"):
        body |= {"max_gen_len": 5} if other == "llama" else {"max_tokens": 5}
    if family == other or (family, other) == ("openai", "mistral"):  # OpenAI's text completion is the same
        assert asked(family, body)
    else:
        text = refusal(family, body)
        assert text.startswith("Malformed input request: ")
        assert f"This model's family is {family}; its body is {{" in text
        if other in ("claude", "titan", "llama"):
            assert text.endswith(f"This one looks like {other}'s.")


@pytest.mark.parametrize(
    ("family", "change", "words"),
    [
        ("llama", {"prompt": None}, "#: required key [prompt] not found"),
        ("llama", {"prompt": ""}, "#/prompt: expected minLength: 1, actual: 0"),
        ("llama", {"prompt": 5}, "#/prompt: expected type: String, found: Integer"),
        ("llama", {"max_gen_len": 0}, "#/max_gen_len: 0 is not greater or equal to 1"),
        ("llama", {"max_gen_len": 2049}, "#/max_gen_len: 2049 is not less or equal to 2048"),
        ("llama", {"max_gen_len": "9"}, "#/max_gen_len: expected type: Integer, found: String"),
        ("llama", {"max_gen_len": True}, "#/max_gen_len: expected type: Integer, found: Boolean"),
        ("llama", {"max_gen_len": 10**400}, "#/max_gen_len: a number of more than 30 digits is not less or equal"),
        ("llama", {"temperature": 1.5}, "#/temperature: 1.5 is not less or equal to 1.0"),
        ("llama", {"temperature": float("nan")}, "#/temperature: nan is not greater or equal to 0.0"),
        ("llama", {"stop": ["x"]}, "#: extraneous key [stop] is not permitted"),
        ("llama", {"images": ["aGk="]}, "#/images: images are not served"),
        ("titan", {"textGenerationConfig": 5}, "#/textGenerationConfig: expected type: JSONObject, found: Integer"),
        ("titan", {"textGenerationConfig": {"topP": 0}}, "#/textGenerationConfig/topP: 0 is not greater than 0.0"),
        ("titan", {"textGenerationConfig": {"stopSequences": "x"}}, "/stopSequences: expected type: JSONArray"),
        ("titan", {"textGenerationConfig": {"seed": 1}}, "#/textGenerationConfig: extraneous key [seed]"),
        ("mistral", {"top_k": 201}, "#/top_k: 201 is not less or equal to 200"),
        ("mistral", {"stop": ["a"] * 11}, "#/stop: expected maximum item count: 10, found: 11"),
        ("mistral", {"stop": ["a", ""]}, "#/stop/1: expected minLength: 1, actual: 0"),
        ("claude", {"anthropic_version": "2023-06-01"}, "2023-06-01 is not a valid enum value: ['bedrock-2023-05-31']"),
        ("claude", {"max_tokens": None}, "#: required key [max_tokens] not found"),
        ("claude", {"tools": [{}]}, "#/tools: not served here; leave it out"),
        ("claude", {"messages": []}, "#/messages: expected minimum item count: 1, found: 0"),
        ("claude", {"messages": ["x"]}, "#/messages/0: expected type: JSONObject, found: String"),
        (
            "claude",
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
            "#/messages/0/content/0: blocks of type 'image' are not served; only text is",
        ),
        ("claude", {"messages": [{"role": "robot", "content": "x"}]}, "#/messages/0/role: robot is not a valid enum"),
        ("nova", {"inferenceConfig": {"topK": 500}}, "#/inferenceConfig/topK: 500 is not less or equal to 128"),
        ("nova", {"messages": [{"role": "user", "content": [{"image": {}}]}]}, "doesn't support the image content"),
        ("nova", {"messages": [{"role": "user", "content": [{"text": " "}]}]}, "content/0 is blank"),
        ("openai", {"n": 2}, "#/n: 2 is not less or equal to 1"),
        ("openai", {"response_format": {"type": "json_object"}}, "json_object is not a valid enum value: ['text']"),
        ("openai", {"tools": []}, "#/tools: not served here"),
        ("openai", {"logprobs": True}, "#/logprobs: not served here"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(family: str, change: dict[str, Any], words: str) -> None:
    body = {k: v for k, v in (SMALLEST[family] | change).items() if v is not None}
    assert words in refusal(family, body)


def test_all_findings_come_together_but_a_hostile_body_does_not_fill_the_answer() -> None:
    text = refusal("llama", {"temperature": 5, "x\n" * 500: 1})
    assert text.startswith("Malformed input request: 3 schema violations found: #: required key [prompt] not found; ")
    assert "\n" not in text
    assert len(refusal("llama", {f"key {i}" * 100: i for i in range(10_000)})) < 2048
    assert "found: JSONArray" in refusal("llama", [1])


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        (["assistant"], "A conversation must start with a user message."),
        (["user", "user"], "A conversation must alternate between user and assistant roles."),
        (["user", "assistant"], "The conversation must end with a user message."),
    ],
)
@pytest.mark.parametrize("family", ["claude", "nova", "openai"])
def test_user_and_assistant_take_turns(family: str, roles: list[str], words: str) -> None:
    content: Any = [{"text": "x"}] if family == "nova" else "x"
    messages = [{"role": role, "content": content} for role in roles]
    assert words in refusal(family, SMALLEST[family] | {"messages": messages})


def test_imported_models_take_three_bodies_and_answer_in_kind() -> None:
    told = Answer("hi", "end_turn", None, 3, 1, id="x")
    bodies = ({"prompt": "a", "max_gen_len": 4096}, {"prompt": "a", "max_tokens": 5}, {"messages": USER})
    answers = []
    for body in bodies:
        form, request = read("mistral", True, body)
        assert request.prompt == "a" or request.messages
        answers.append(form.write(told))
    assert answers[0]["generation"] == answers[1]["choices"][0]["text"] == "hi"
    assert answers[0]["logprobs"] is None
    assert answers[2]["choices"][0]["message"] == {"role": "assistant", "content": "hi"}


PIECES = [
    Answer("Hel", None, None, 7, 1, first_latency=5.4, id="r", model="m"),
    Answer("lo", None, None, 7, 2, first_latency=5.4, id="r", model="m"),
    Answer("", "max_tokens", None, 7, 2, latency=20.6, first_latency=5.4, id="r", model="m"),
]


@pytest.mark.parametrize("family", FORMS)
def test_a_stream_tells_the_same_text_as_an_answer_and_its_last_chunk_the_metrics(family: str) -> None:
    told = [chunk for i, piece in enumerate(PIECES) for chunk in chunks(FORMS[family], piece, first=i == 0)]
    assert all(METRICS not in chunk for chunk in told[:-1])
    assert told[-1].pop(METRICS) == {
        "inputTokenCount": 7,
        "outputTokenCount": 2,
        "invocationLatency": 21,
        "firstByteLatency": 5,
    }
    texts = [re.findall(r'"(?:generation|outputText|text|content)":"([^"]*)"', orjson.dumps(c).decode()) for c in told]
    assert "".join(text for found in texts for text in found) == "Hello"


def test_the_shapes_of_answers() -> None:
    def wrote(family: str, reason: str, stop: str | None = None) -> dict[str, Any]:
        return FORMS[family].write(Answer("Hello", reason, stop, 7, 2, id="r", model="m", created=5))

    assert wrote("llama", "end_turn") == {
        "generation": "Hello",
        "prompt_token_count": 7,
        "generation_token_count": 2,
        "stop_reason": "stop",
    }
    assert wrote("titan", "context") == {
        "inputTextTokenCount": 7,
        "results": [{"tokenCount": 2, "outputText": "Hello", "completionReason": "LENGTH"}],
    }
    assert wrote("mistral", "max_tokens") == {"outputs": [{"text": "Hello", "stop_reason": "length"}]}
    assert wrote("nova", "stop_sequence") == {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
        "stopReason": "stop_sequence",
        "usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9},
    }
    assert wrote("claude", "stop_sequence", ".") == {
        "id": "msg_bdrk_r",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "stop_sequence",
        "stop_sequence": ".",
        "usage": {"input_tokens": 7, "output_tokens": 2},
    }
    assert wrote("openai", "max_tokens") == {
        "id": "chatcmpl-r",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "length"},
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }


def test_claudes_stream_has_the_events_that_its_clients_wait_for() -> None:
    kinds = [chunk["type"] for i, piece in enumerate(PIECES) for chunk in FORMS["claude"].chunks(piece, i == 0)]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
