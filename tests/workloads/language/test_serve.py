import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch
import uvloop
from tests.conftest import wait_for
from tests.workloads.language.models import ENGINE
from transformers import LlamaForCausalLM

from modelyard.frames import STREAM_WINDOW
from modelyard.jobs.serving import Connections, ServingLost
from modelyard.runner.context import Context, InputError
from modelyard.workloads.language.loading import load_tokenizer
from modelyard.workloads.language.serve import run

Chat = Callable[[Callable[["Client"], Coroutine[Any, Any, None]]], None]


class Client:
    """What the server does: asks the task over its socket."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections

    def frames(self, prompt: str, **header: Any) -> Any:
        body = json.dumps({"prompt": prompt, "stop": header.pop("stop", [])}).encode()
        return self.connections.stream("task", {"op": "generate", **header}, body, 30)

    async def say(self, prompt: str, **header: Any) -> tuple[str, dict[str, Any]]:
        frames = [frame async for frame in self.frames(prompt, **header)]
        return b"".join(body for _, body in frames).decode(), frames[-1][0]


@pytest.fixture(scope="module")
def chat(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    """Runs a conversation with a serving task of `base`, which lives in a thread."""
    stop, path = threading.Event(), tmp_path_factory.mktemp("serve") / "socket"
    parameters = {"base": str(base), "socket": str(path), "engine": ENGINE}
    context = Context(parameters, {}, path.parent, path.parent, should_stop=stop.is_set)
    thread = threading.Thread(target=run, args=(context,))
    thread.start()
    while not path.exists():
        assert thread.is_alive()
        time.sleep(0.01)

    def talk(conversation: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
        async def connected() -> None:
            connections = Connections(lambda _: path)
            await asyncio.wait_for(conversation(Client(connections)), 60)
            connections.close()

        uvloop.run(connected())

    yield talk
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def expected(base: Path, prompt: str, length: int) -> str:
    """The text of `generate`."""
    tokenizer, model = load_tokenizer(base), LlamaForCausalLM.from_pretrained(base)
    ids = torch.tensor([tokenizer.backend_tokenizer.encode(prompt).ids])
    with torch.inference_mode():
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), pad_token_id=1, max_new_tokens=length, do_sample=False
        )
    return tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True).rstrip("\ufffd")


def test_clients_at_the_same_time_get_what_each_would_get_alone(chat: Chat, base: Path) -> None:
    prompts = ["the", "the crew", "light " * 8, "x", "north station", "é😀", "a b c", "station " * 9]

    async def conversation(client: Client) -> None:
        answers = await asyncio.gather(*(client.say(prompt, max_tokens=40) for prompt in prompts))
        for prompt, (text, _) in zip(prompts, answers, strict=True):
            assert text == expected(base, prompt, 40)

    chat(conversation)


def test_an_answer_streams_and_tells_its_counts(chat: Chat) -> None:
    async def conversation(client: Client) -> None:
        frames = [frame async for frame in client.frames("the crew", max_tokens=40)]
        assert len(frames) > 5
        for header, body in frames[:-1]:
            assert header["more"] is True
            assert body.decode()
        counts = [header["output_tokens"] for header, _ in frames]
        assert counts == sorted(counts)
        last = frames[-1][0]
        assert last["more"] is False
        assert last["stop_reason"] in ("max_tokens", "end_turn")
        assert 0 < last["first_token_ms"] < last["total_ms"]
        body = json.dumps({"prompt": "the crew"}).encode()
        header, _ = await client.connections.ask("task", {"op": "count"}, body, 10)
        assert header["tokens"] == last["input_tokens"] == frames[0][0]["input_tokens"]

    chat(conversation)


def test_an_answer_that_nobody_reads_any_more_makes_room(chat: Chat) -> None:
    async def conversation(client: Client) -> None:
        for _ in range(40):  # more than are under way at once
            async with aclosing(client.frames("x", temperature=1.0)) as frames:
                await anext(frames)
        _, last = await client.say("the", max_tokens=3)
        assert last["total_ms"] < 5000

    chat(conversation)


def test_a_slow_reader_gets_all_in_fewer_frames_and_holds_up_nobody(chat: Chat, base: Path) -> None:
    async def conversation(client: Client) -> None:
        frames = client.frames("station " * 9, max_tokens=100)
        first = await anext(frames)
        for _ in range(3):
            await client.say("station " * 9, max_tokens=100)
        rest = [frame async for frame in frames]
        text = b"".join(body for _, body in [first, *rest]).decode()
        assert text == expected(base, "station " * 9, 100)
        assert len(rest) <= STREAM_WINDOW + 1 < rest[-1][0]["output_tokens"]

    chat(conversation)


def test_adapters_are_asked_by_their_folder(chat: Chat, adapters: list[Path], tmp_path: Path) -> None:
    shutil.copytree(adapters[0], tmp_path / "broken")
    (tmp_path / "broken" / "adapter_model.safetensors").unlink()

    async def conversation(client: Client) -> None:
        asked = (None, str(adapters[0]), str(adapters[1]))
        texts = [text for text, _ in await asyncio.gather(*(client.say("the", adapter=one) for one in asked))]
        assert len(set(texts)) == 3
        _, missing = await client.say("the", adapter=str(tmp_path / "gone"))
        assert missing["status"] == 500
        assert "gone is no adapter" in missing["message"]
        _, broken = await client.say("the", adapter=str(tmp_path / "broken"))
        assert "has no adapter_model.safetensors" in broken["message"]

    chat(conversation)


_FAILING = """
import sys
from pathlib import Path
from modelyard.runner.context import Context
from modelyard.workloads.language import generate, serve
generate.Generations.step = lambda engine: 1 / 0
base, folder = map(Path, sys.argv[1:])
serve.run(Context({"base": str(base), "socket": str(folder / "socket"), "engine": "transformers"}, {}, folder, folder))
"""


@pytest.mark.slow
def test_an_engine_that_cannot_go_on_takes_its_process_along(base: Path, tmp_path: Path) -> None:
    async def ask() -> None:
        connections = Connections(lambda _: tmp_path / "socket")
        with pytest.raises(ServingLost):
            await Client(connections).say("the")
        connections.close()

    with subprocess.Popen([sys.executable, "-c", _FAILING, str(base), str(tmp_path)]) as process:
        wait_for((tmp_path / "socket").exists, 120)
        uvloop.run(ask())
        assert process.wait(60) == 1


def test_bad_requests_are_told_so(chat: Chat) -> None:
    async def conversation(client: Client) -> None:
        assert (await client.say("x" * 300))[1]["reason"] == "context"
        assert (await client.say("x" * 100_000))[1]["reason"] == "context"
        assert (await client.say("x", top_p=2))[1]["status"] == 400
        header, _ = await client.connections.ask("task", {"op": "sing"}, b"", 10)
        assert header == {"status": 400, "message": "no operation 'sing': ask to generate or to count"}

    chat(conversation)


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _own_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "code.Model", "AutoConfig": "code.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")


def _torn(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_weights, "no \\*.safetensors file; weights in other formats are not loaded"),
        (_own_code, "cannot be loaded"),
        (_torn, "cannot be loaded"),
        (lambda folder: (folder / "config.json").unlink(), "it has no config.json"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "the tokenizer of model cannot be loaded"),
    ],
)
def test_a_model_that_is_not_safe_or_not_whole_is_refused(
    base: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    damage(folder)
    with pytest.raises(InputError, match=message):
        run(Context({"base": str(folder), "socket": str(tmp_path / "socket")}, {}, tmp_path, tmp_path))
    assert not (folder / "ran").exists()
