"""Streams of the Bedrock runtime over real HTTP: they begin at once, end with their reader, and outlive their model."""

import asyncio
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import EventStreamError
from urllib3.exceptions import ProtocolError

from modelyard.app import Application
from modelyard.settings import Settings
from tests.conftest import task_processes, wait_for
from tests.system.server import Server
from tests.workloads.language.models import SHAPE, WIDE, build_model

pytestmark = [pytest.mark.slow, pytest.mark.system]

MESSAGES = [{"role": "user", "content": [{"text": "the crew of the north station"}]}]
MODEL = "meta.endless-v1:0"
LONG = 20_000
"""Tokens of an answer that nobody would wait for."""
SLOTS = 32
"""Requests that a model answers at once; more wait."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a model that never ends its answers."""
    from transformers import LlamaConfig

    folder = tmp_path_factory.mktemp("streams")
    config = LlamaConfig(**{**WIDE, "max_position_embeddings": LONG, "eos_token_id": SHAPE["vocab_size"] + 1})
    asyncio.run(_register(folder / "data", build_model(folder / "base", config)))
    server = Server(folder / "data").start()
    yield server
    server.close()


async def _register(data: Path, model: Path) -> None:
    application = Application(Settings(data_dir=data))
    await application.base_models.add(MODEL, model)
    application.close()


@pytest.fixture
def runtime(server: Server) -> Any:
    """A client, when the model is loaded."""
    client = server.client("bedrock-runtime")

    def answers() -> bool:
        try:
            return bool(list(stream(client, 1)))
        except client.exceptions.ModelNotReadyException:
            return False

    wait_for(answers, 240)
    return client


def stream(runtime: Any, tokens: int = LONG) -> Any:
    config = {"maxTokens": tokens, "temperature": 0.0}
    return runtime.converse_stream(modelId=MODEL, messages=MESSAGES, inferenceConfig=config)["stream"]


def begun(runtime: Any) -> Any:
    """A stream from which the first text was read, and an iterator over the rest."""
    opened = stream(runtime)
    events = iter(opened)
    while "contentBlockDelta" not in next(events):
        pass
    return opened, events


def test_the_first_text_comes_long_before_the_last(runtime: Any) -> None:
    began = time.monotonic()
    moments = [(time.monotonic() - began, next(iter(event))) for event in stream(runtime, 400)]
    texts = [moment for moment, kind in moments if kind == "contentBlockDelta"]
    assert len(texts) > 10
    assert texts[0] < texts[-1] / 4
    assert moments[-1][1] == "metadata"


def test_readers_who_hang_up_leave_their_places_to_others(runtime: Any, server: Server) -> None:
    streams = [begun(server.client("bedrock-runtime"))[0] for _ in range(SLOTS)]
    for opened in streams:
        opened.close()
    began = time.monotonic()
    assert len(list(stream(runtime, 5))) > 3
    assert time.monotonic() - began < 60


def test_an_answer_that_nobody_waits_for_any_more_is_not_made(server: Server) -> None:
    """Not streamed, but long too: the client hangs up while the model works."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    body = json.dumps({"messages": MESSAGES, "inferenceConfig": {"maxTokens": LONG, "temperature": 0}})
    scope = "111122223333/20260101/us-east-1/bedrock/aws4_request"
    headers = {"authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
    connection.request("POST", f"/model/{MODEL}/converse", body, headers)
    wait_for(lambda: worked(server), 20)
    connection.close()
    wait_for(lambda: not worked(server), 5)


def worked(server: Server) -> bool:
    """Whether the models have used the processor for more than a hundredth of a second in the last half."""
    before = ticks(server)
    time.sleep(0.5)
    return ticks(server) > before + 1


def ticks(server: Server) -> int:
    """What the serving tasks have used of the processor, in hundredths of a second."""
    fields = [
        Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in task_processes(server.folder)
    ]
    return sum(int(times[11]) + int(times[12]) for times in fields)


def test_a_model_that_is_killed_says_so_in_the_stream_and_is_loaded_again(runtime: Any, server: Server) -> None:
    opened, events = begun(runtime)
    for process in task_processes(server.folder):
        os.kill(process, signal.SIGKILL)
    with pytest.raises(EventStreamError) as caught:
        list(events)
    error = caught.value.response["Error"]
    assert error["Code"] == "modelStreamErrorException"
    assert "went away" in error["Message"]
    opened.close()
    assert len(list(stream(runtime, 5))) > 3


def test_a_stream_ends_with_the_server_and_the_model_stays(runtime: Any, server: Server) -> None:
    before = task_processes(server.folder)
    opened, events = begun(runtime)
    server.kill()
    with pytest.raises(ProtocolError):
        list(events)
    opened.close()
    server.start()
    assert len(list(stream(server.client("bedrock-runtime"), 5))) > 3
    assert task_processes(server.folder) == before
