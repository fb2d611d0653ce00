"""The Bedrock runtime as users of boto3 meet it, with a real serving task of a very small model."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.boto import Clients, Loop, Send
from tests.conftest import kill_all_of, task_processes
from tests.workloads.language.models import CONTEXT, ENGINE, build_adapter, build_model, build_tokenizer

from modelyard.database import Database
from modelyard.engines.local import LocalEngine
from modelyard.families import METRICS
from modelyard.jobs.deployments import Deployments
from modelyard.jobs.on_demand import OnDemand, ServedModel
from modelyard.jobs.serving import Connections
from modelyard.jobs.store import Store
from modelyard.jobs.supervisor import Supervisor
from modelyard.services.bedrock_runtime.generation import serving_task
from modelyard.services.bedrock_runtime.service import bedrock_runtime
from modelyard.storage.folders import Folders
from modelyard.wire.endpoint import Endpoint
from modelyard.wire.errors import Fault

pytestmark = pytest.mark.slow

ARN = "arn:aws:bedrock:us-east-1:111122223333:"
CUSTOM = f"{ARN}custom-model/meta.tiny-v1:0:8k/abcdefghijkl"
IMPORTED = f"{ARN}imported-model/abcdefghijkl"
HELLO = [{"role": "user", "content": [{"text": "the crew of the north station"}]}]
GREEDY = {"temperature": 0.0, "maxTokens": 12}


class Server:
    """The runtime over serving tasks, in the loop's thread."""

    def __init__(self, loop: Loop, data: Path, models: Path) -> None:
        self.data, self._loop, self._models = data, loop, models
        self.endpoint = loop.run(self._start())

    async def _start(self) -> Endpoint:
        self._database = Database(self.data / "modelyard.db")
        deployments = Deployments(self._database)
        engine = LocalEngine(self.data / "tasks", self.data / "residents", 1)
        self._connections = Connections(engine.socket)
        supervisor = Supervisor(Store(self._database), deployments, engine, Folders(self.data / "objects"))
        self._supervisor = asyncio.create_task(supervisor.run())

        def spec(base: str) -> Any:
            return replace(serving_task(base, 1, ENGINE), family=None)

        on_demand = OnDemand(deployments, self._connections, supervisor.wake, spec, 600, hold_seconds=120)
        return Endpoint([bedrock_runtime(self._resolve, on_demand)])

    def _resolve(self, account: str, region: str, model_id: str) -> ServedModel:
        base, adapter = self._models / "base", self._models / "adapter-1"
        known = {
            **{f"{family}.tiny-v1:0": ServedModel(base, None, family, model_id) for family in FAMILIES},
            CUSTOM: ServedModel(base, adapter, "llama", model_id),
            IMPORTED: ServedModel(base, None, "llama", model_id),
            "plain": ServedModel(base, None, "llama", model_id, instruct=False),
            "broken": ServedModel(self._models / "broken", None, "llama", f"{ARN}imported-model/brokenbroken"),
        }
        if account != "111122223333" or model_id not in known:
            raise Fault("ValidationException", "The provided model identifier is invalid.")
        return known[model_id]

    def close(self) -> None:
        self._loop.run(self._stop())
        kill_all_of(self.data)

    async def _stop(self) -> None:
        self._supervisor.cancel()
        await asyncio.gather(self._supervisor, return_exceptions=True)
        self._connections.close()
        self._database.close()


FAMILIES = ("llama", "titan", "mistral", "nova", "claude", "openai")


@pytest.fixture(scope="module")
def server(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("models")
    base = build_model(models / "base")
    build_adapter(models / "adapter-1", base, 1)
    (models / "broken").mkdir()
    (tmp_path_factory.mktemp("server") / "data").mkdir()
    server = Server(loop, tmp_path_factory.mktemp("server"), models)
    yield server
    server.close()


@pytest.fixture
def runtime(server: Server, client_for: Clients) -> Any:
    return client_for(server.endpoint, "bedrock-runtime")


def invoke(runtime: Any, model: str, body: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(runtime.invoke_model(modelId=model, body=json.dumps(body))["body"].read()))


def chunks(runtime: Any, model: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = runtime.invoke_model_with_response_stream(modelId=model, body=json.dumps(body))
    assert answer["contentType"] == "application/json"
    return [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]


def refusal(call: Callable[..., Any], **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)


def test_an_invocation_counts_tokens_in_body_and_headers(runtime: Any) -> None:
    prompt = "the crew of the north station"
    answer = runtime.invoke_model(
        modelId="llama.tiny-v1:0", body=json.dumps({"prompt": prompt, "max_gen_len": 12, "temperature": 0})
    )
    body, headers = json.loads(answer["body"].read()), answer["ResponseMetadata"]["HTTPHeaders"]
    assert body["stop_reason"] in ("stop", "length")
    assert body["prompt_token_count"] == len(build_tokenizer()(prompt)["input_ids"])
    assert 1 <= body["generation_token_count"] <= 12
    assert headers["x-amzn-bedrock-input-token-count"] == str(body["prompt_token_count"])
    assert headers["x-amzn-bedrock-output-token-count"] == str(body["generation_token_count"])
    assert int(headers["x-amzn-bedrock-invocation-latency"]) >= 0
    assert answer["contentType"] == "application/json"
    assert answer["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(
    ("family", "body", "text"),
    [
        ("llama", {"prompt": "x", "max_gen_len": 9, "temperature": 0}, lambda b: b["generation"]),
        (
            "titan",
            {"inputText": "x", "textGenerationConfig": {"maxTokenCount": 9, "temperature": 0}},
            lambda b: b["results"][0]["outputText"],
        ),
        ("mistral", {"prompt": "x", "max_tokens": 9, "temperature": 0}, lambda b: b["outputs"][0]["text"]),
        (
            "nova",
            {"messages": HELLO, "inferenceConfig": {"maxTokens": 9, "temperature": 0}},
            lambda b: b["output"]["message"]["content"][0]["text"],
        ),
        (
            "claude",
            {
                "anthropic_version": "bedrock-2023-05-31",
                "max_tokens": 9,
                "temperature": 0,
                "messages": [{"role": "user", "content": "x"}],
            },
            lambda b: b["content"][0]["text"],
        ),
        (
            "openai",
            {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9, "temperature": 0},
            lambda b: b["choices"][0]["message"]["content"],
        ),
    ],
)
def test_every_familys_stream_says_what_its_answer_says(
    runtime: Any, family: str, body: dict[str, Any], text: Callable[[dict[str, Any]], str]
) -> None:
    model = f"{family}.tiny-v1:0"
    whole = text(invoke(runtime, model, body))
    told = chunks(runtime, model, body)
    assert told[-1][METRICS]["outputTokenCount"] >= 1
    assert told[-1][METRICS]["firstByteLatency"] <= told[-1][METRICS]["invocationLatency"]
    streamed = {
        "llama": lambda c: c["generation"],
        "titan": lambda c: c["outputText"],
        "mistral": lambda c: c["outputs"][0]["text"],
        "nova": lambda c: c.get("contentBlockDelta", {"delta": {"text": ""}})["delta"]["text"],
        "claude": lambda c: c.get("delta", {}).get("text", ""),
        "openai": lambda c: c["choices"][0]["delta"]["content"],
    }[family]
    assert "".join(streamed(chunk) for chunk in told) == whole


def test_a_conversation_is_answered_whole_and_streamed(runtime: Any) -> None:
    request = {
        "modelId": "llama.tiny-v1:0",
        "messages": [*HELLO, {"role": "assistant", "content": [{"text": "keeps"}]}, *HELLO],
        "system": [{"text": "the light"}],
        "inferenceConfig": GREEDY,
    }
    whole = runtime.converse(**request)
    events = list(runtime.converse_stream(**request)["stream"])
    assert whole["output"]["message"] == {"role": "assistant", "content": [{"text": text_of(events)}]}
    assert whole["stopReason"] in ("end_turn", "max_tokens")
    assert [next(iter(event)) for event in events if "contentBlockDelta" not in event] == [
        "messageStart",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert events[-2]["messageStop"]["stopReason"] == whole["stopReason"]
    assert events[-1]["metadata"]["usage"] == whole["usage"]
    usage = whole["usage"]
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    asked = {"messages": request["messages"], "system": request["system"]}
    counted = runtime.count_tokens(modelId="llama.tiny-v1:0", input={"converse": asked})
    assert counted["inputTokens"] == usage["inputTokens"]


def test_tokens_of_a_body_are_counted(runtime: Any) -> None:
    body = json.dumps({"prompt": "the crew of the north station"})
    counted = runtime.count_tokens(modelId="llama.tiny-v1:0", input={"invokeModel": {"body": body}})
    assert (
        counted["inputTokens"]
        == json.loads(runtime.invoke_model(modelId="llama.tiny-v1:0", body=body)["body"].read())["prompt_token_count"]
    )


def test_an_adapter_answers_otherwise_than_its_base(runtime: Any) -> None:
    body = {"prompt": "the crew", "max_gen_len": 20, "temperature": 0}
    assert invoke(runtime, CUSTOM, body)["generation"] != invoke(runtime, "llama.tiny-v1:0", body)["generation"]


def test_a_stop_sequence_ends_the_answer_and_can_be_asked_for(runtime: Any) -> None:
    request: dict[str, Any] = {"modelId": "claude.tiny-v1:0", "messages": HELLO}
    whole = runtime.converse(**request, inferenceConfig=GREEDY)["output"]["message"]["content"][0]["text"]
    stop = whole[2:4]
    cut = runtime.converse(
        **request,
        inferenceConfig={**GREEDY, "stopSequences": [stop]},
        additionalModelResponseFieldPaths=["/stop_sequence"],
    )
    assert cut["stopReason"] == "stop_sequence"
    assert cut["output"]["message"]["content"][0]["text"] == whole[: whole.index(stop)]
    assert cut["additionalModelResponseFields"] == {"stop_sequence": stop}


def test_an_answer_may_fill_the_context_but_a_prompt_may_not(runtime: Any) -> None:
    messages = [{"role": "user", "content": [{"text": "the crew " * 20}]}]
    full = runtime.converse(modelId="llama.tiny-v1:0", messages=messages, inferenceConfig={"temperature": 0})
    assert full["stopReason"] in ("model_context_window_exceeded", "end_turn")
    if full["stopReason"] == "model_context_window_exceeded":
        assert full["usage"]["totalTokens"] == CONTEXT
    code, text = refusal(runtime.invoke_model, modelId="llama.tiny-v1:0", body=json.dumps({"prompt": "a b " * 500}))
    assert code == "ValidationException"
    assert text.startswith("Input is too long for requested model. The prompt has ")
    assert str(CONTEXT) in text
    long = [{"role": "user", "content": [{"text": "a b " * 500}]}]
    code, _ = refusal(runtime.converse_stream, modelId="llama.tiny-v1:0", messages=long)
    assert code == "ValidationException"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"prompt": "\xff"}', "The body is not UTF-8: byte 12 is 0xff."),
        (b'{"prompt": "\\ud83d"}', "The request body is not valid JSON"),
        (b"{", "The request body is not valid JSON"),
        (b"", "The request body is not valid JSON"),
        (b"[]", "#: expected type: JSONObject, found: JSONArray"),
        (b'{"prompt": 5}', "#/prompt: expected type: String, found: Integer"),
        (b'{"inputText": "x"}', "This model's family is llama; its body is"),
    ],
)
def test_a_body_that_is_none_is_refused(runtime: Any, body: bytes, words: str) -> None:
    for operation in (runtime.invoke_model, runtime.invoke_model_with_response_stream):
        code, text = refusal(operation, modelId="llama.tiny-v1:0", body=body)
        assert code == "ValidationException"
        assert text.startswith("Malformed input request")
        assert words in text


def test_what_is_not_served_is_refused_by_name(runtime: Any) -> None:
    model = {"modelId": "llama.tiny-v1:0"}
    tools = {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {}}}}]}
    code, text = refusal(runtime.converse, **model, messages=HELLO, toolConfig=tools)
    assert (code, "toolConfig" in text) == ("ValidationException", True)
    image = [{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": b"x"}}}]}]
    assert "image content block" in refusal(runtime.converse, **model, messages=image)[1]
    body = json.dumps({"prompt": "x"})
    assert "guardrails" in refusal(runtime.invoke_model, **model, body=body, guardrailIdentifier="abc")[1]
    assert "text/plain" in refusal(runtime.invoke_model, **model, body=body, contentType="text/plain")[1]
    assert "image/png" in refusal(runtime.invoke_model, **model, body=body, accept="image/png")[1]
    assert "no chat template" in refusal(runtime.converse, modelId="plain", messages=HELLO)[1]


def test_an_unknown_model_and_another_accounts_are_refused(server: Server, client_for: Clients) -> None:
    own, other = (client_for(server.endpoint, "bedrock-runtime", account=a) for a in ("111122223333", "444455556666"))
    for runtime, model in ((own, "no.such-v1:0"), (other, "llama.tiny-v1:0")):
        invalid = ("ValidationException", "The provided model identifier is invalid.")
        assert refusal(runtime.invoke_model, modelId=model, body=b"{}") == invalid
        assert refusal(runtime.converse_stream, modelId=model, messages=HELLO) == invalid
        assert refusal(runtime.count_tokens, modelId=model, input={"converse": {"messages": HELLO}}) == invalid


def test_how_it_was_served_is_told_to_those_who_asked(runtime: Any) -> None:
    wished = {"performanceConfig": {"latency": "optimized"}, "serviceTier": {"type": "priority"}}
    request = {"modelId": "llama.tiny-v1:0", "messages": HELLO, "inferenceConfig": GREEDY, **wished}
    served = {"performanceConfig": {"latency": "standard"}, "serviceTier": {"type": "default"}}
    answer, metadata = runtime.converse(**request), list(runtime.converse_stream(**request)["stream"])[-1]["metadata"]
    for told in (answer, metadata):
        assert {member: told[member] for member in served} == served
    answer = runtime.invoke_model(
        modelId="llama.tiny-v1:0", body=b'{"prompt": "x"}', performanceConfigLatency="optimized", serviceTier="flex"
    )
    assert (answer["performanceConfigLatency"], answer["serviceTier"]) == ("standard", "default")


def test_an_imported_model_takes_the_bodies_of_openai(runtime: Any) -> None:
    text = invoke(runtime, IMPORTED, {"prompt": "x", "max_gen_len": 5, "temperature": 0})["generation"]
    completion = invoke(runtime, IMPORTED, {"prompt": "x", "max_tokens": 5, "temperature": 0})
    assert completion["choices"][0]["text"] == text
    chat = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 5}
    assert invoke(runtime, IMPORTED, chat)["object"] == "chat.completion"


def test_an_arn_in_the_path_need_not_be_escaped(server: Server, send: Send) -> None:
    scope = "111122223333/20260101/us-east-1/bedrock/aws4_request"
    signed = {"authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    body = json.dumps({"prompt": "x", "max_gen_len": 3}).encode()
    status, _, content = send(server.endpoint, "POST", f"/model/{CUSTOM}/invoke", body, signed)
    assert status == 200, content


def test_a_model_that_cannot_be_loaded_is_an_error_of_the_model(runtime: Any) -> None:
    with pytest.raises(ClientError) as caught:
        runtime.invoke_model(modelId="broken", body=b'{"prompt": "x"}')
    response = caught.value.response
    assert response["Error"]["Code"] == "ModelErrorException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["resourceName"].endswith("brokenbroken")


def test_a_model_that_is_killed_comes_back(server: Server, runtime: Any) -> None:
    request = {"modelId": "llama.tiny-v1:0", "messages": HELLO, "inferenceConfig": GREEDY}
    whole = runtime.converse(**request)["output"]
    for process in task_processes(server.data):
        os.kill(process, signal.SIGKILL)
    assert runtime.converse(**request)["output"] == whole
