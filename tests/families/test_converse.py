from typing import Any

import pytest

from modelyard.families import FORMS, Answer, BodyError, Sampling, converse

USER = {"role": "user", "content": [{"text": "hello"}, {"text": "again"}]}
BODY: dict[str, Any] = {"messages": [USER]}


def refusal(body: dict[str, Any], family: str = "llama") -> str:
    with pytest.raises(BodyError) as caught:
        converse.read(BODY | body, family)
    return str(caught.value)


def test_several_turns_and_a_system_text_are_read() -> None:
    request = converse.read(
        {
            "modelId": "m",
            "messages": [USER, {"role": "assistant", "content": [{"text": "yes?"}]}, USER],
            "system": [{"text": "be"}, {"text": "brief"}],
            "inferenceConfig": {"maxTokens": 5, "temperature": 0.25, "topP": 0.5, "stopSequences": ["."]},
            "requestMetadata": {"a": "b"},
            "performanceConfig": {"latency": "optimized"},
        },
        "llama",
    )
    assert list(request.messages or ()) == [
        {"role": "system", "content": "be\nbrief"},
        {"role": "user", "content": "hello\nagain"},
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": "hello\nagain"},
    ]
    assert (request.sampling, request.stop) == (Sampling(5, 0.25, 0.5), (".",))


@pytest.mark.parametrize("family", FORMS)
def test_a_silent_body_takes_the_familys_sampling_and_the_whole_context(family: str) -> None:
    sampling, defaults = converse.read(BODY, family).sampling, FORMS[family].DEFAULTS
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (
        defaults.temperature,
        defaults.top_p,
        defaults.top_k,
    )
    assert sampling.max_tokens is None


@pytest.mark.parametrize(
    ("family", "fields", "top_k"),
    [
        ("claude", {"top_k": 7}, 7),
        ("mistral", {"top_k": 7}, 7),
        ("nova", {"inferenceConfig": {"topK": 7}}, 7),
        ("llama", {}, None),
    ],
)
def test_additional_fields_are_the_familys_own(family: str, fields: dict[str, Any], top_k: int | None) -> None:
    assert converse.read(BODY | {"additionalModelRequestFields": fields}, family).sampling.top_k == top_k


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"toolConfig": {"tools": []}}, "This model doesn't support the toolConfig field. Remove toolConfig"),
        ({"guardrailConfig": {}}, "doesn't support the guardrailConfig field"),
        ({"outputConfig": {}}, "doesn't support the outputConfig field"),
        ({"promptVariables": {}}, "doesn't support the promptVariables field"),
        ({"messages": None}, "required key [messages] not found"),
        ({"messages": [{"role": "user", "content": [{"image": {}}]}]}, "support the image content block"),
        ({"messages": [{"role": "user", "content": [{"document": {}}]}]}, "#/messages/0/content/0: This model doesn't"),
        ({"messages": [{"role": "user", "content": [{"text": "\n"}]}]}, "#/messages/0/content/0 is blank"),
        ({"system": [{"cachePoint": {"type": "default"}}]}, "support the cachePoint system content block"),
        ({"inferenceConfig": {"temperature": 2}}, "#/inferenceConfig/temperature: 2 is not less or equal to 1.0"),
        (
            {"additionalModelRequestFields": {"top_k": 5}},
            "#/additionalModelRequestFields: extraneous key [top_k] is not permitted",
        ),
        ({"unknown": 1}, "extraneous key [unknown]"),
    ],
)
def test_what_is_not_served_is_refused_by_name(body: dict[str, Any], words: str) -> None:
    assert words in refusal(body)


def test_an_answer_and_its_events_say_the_same() -> None:
    whole = Answer("Hello", "context", None, 7, 2, latency=20.6)
    answer = converse.write(whole)
    assert answer == {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
        "stopReason": "model_context_window_exceeded",
        "usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9},
        "metrics": {"latencyMs": 21},
    }
    events = converse.events(Answer("Hel", None, None, 7, 1), True)
    events += converse.events(Answer("lo", "context", None, 7, 2, latency=20.6), False)
    assert [next(iter(event)) for event in events] == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert events[-2]["messageStop"]["stopReason"] == answer["stopReason"]
    assert events[-1]["metadata"] == {"usage": answer["usage"], "metrics": answer["metrics"]}


def test_fields_of_the_familys_own_answer_are_picked_by_pointers() -> None:
    body = FORMS["claude"].write(Answer("Hello", "stop_sequence", ".", 7, 2))
    assert converse.picked(body, ["/stop_sequence", "/usage/input_tokens", "/nothing/here"]) == {
        "stop_sequence": ".",
        "usage": {"input_tokens": 7},
    }
    assert converse.picked(body, ["/x"]) is None
    with pytest.raises(BodyError, match="'stop' is no JSON pointer"):
        converse.picked(body, ["stop"])
