import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.workloads.language.models import ENGINE
from transformers import LlamaForCausalLM

from modelyard.runner.context import Context, InputError
from modelyard.workloads.language.batch import run
from modelyard.workloads.language.generate import Generations
from modelyard.workloads.language.loading import load_tokenizer

LLAMA = {"max_gen_len": 12, "temperature": 0}
STEPWISE = {"engine": "transformers"}
"""vLLM would answer so many records together that none had an answer long before the others."""


@pytest.fixture(autouse=True)
def _threads() -> Any:
    """The job sets the threads of its process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def job(base: Path, tmp_path: Path) -> Callable[..., Context]:
    """Makes the context of an attempt over files of records."""
    (tmp_path / "records").mkdir()
    (tmp_path / "state").mkdir()

    def attempt(files: Mapping[str, list[Any]], number: int = 1, **changes: Any) -> Context:
        for name, lines in files.items():
            path = tmp_path / "records" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        output = tmp_path / f"output-{number}"
        output.mkdir()
        stop = changes.pop("should_stop", lambda: False)
        parameters = {
            "base": str(base),
            "adapter": None,
            "family": "llama",
            "invocation_type": "InvokeModel",
            "deadline": time.time() + 600,
            "engine": ENGINE,
            **changes,
        }
        inputs = {"records": tmp_path / "records"}
        events = tmp_path / f"events-{number}.jsonl"
        return Context(parameters, inputs, tmp_path / "state", output, events=events, should_stop=stop)

    return attempt


def record(number: int, **body: Any) -> dict[str, Any]:
    return {"recordId": f"R{number}", "modelInput": {"prompt": "the crew " * (number % 7 + 1), **LLAMA, **body}}


def answers(context: Context, name: str = "a.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (context.output / f"{name}.out").read_text().splitlines()]


def manifest(context: Context) -> dict[str, int]:
    return dict(json.loads((context.output / "manifest.json.out").read_text()))


def test_every_record_is_answered_as_it_would_be_alone(job: Callable[..., Context], base: Path) -> None:
    context = job({"a.jsonl": [record(number) for number in range(40)], "deeper/b.jsonl": [record(1)]})
    result = run(context)
    assert result["succeeded"] == result["processed"] == result["total"] == 41
    told = answers(context)
    assert [one["recordId"] for one in told] == [f"R{number}" for number in range(40)]
    model, tokenizer = LlamaForCausalLM.from_pretrained(base), load_tokenizer(base)
    for one in told[:7]:
        ids = torch.tensor([tokenizer.backend_tokenizer.encode(one["modelInput"]["prompt"]).ids])
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=1
        )[0, ids.shape[1] :]
        assert one["modelOutput"]["generation_token_count"] == len(output)
        assert one["modelOutput"]["prompt_token_count"] == ids.shape[1]
        text = tokenizer.decode(output, skip_special_tokens=True)
        assert one["modelOutput"]["generation"] == text.rstrip("\ufffd")
    both = [*told, *answers(context, "deeper/b.jsonl")]
    assert manifest(context) == {
        "totalRecordCount": 41,
        "processedRecordCount": 41,
        "successRecordCount": 41,
        "errorRecordCount": 0,
        "inputTokenCount": sum(one["modelOutput"]["prompt_token_count"] for one in both),
        "outputTokenCount": sum(one["modelOutput"]["generation_token_count"] for one in both),
    }
    assert context.events
    last = json.loads(context.events.read_text().splitlines()[-1])
    assert (last["phase"], last["step"], last["total"], last["succeeded"]) == ("inference", 41, 41, 41)


def test_a_record_that_fails_fails_alone(job: Callable[..., Context]) -> None:
    lines = [
        record(1),
        {"recordId": "bad", "modelInput": {"inputText": "x"}},
        {"modelInput": {"prompt": "x" * 300, **LLAMA}},
        record(2),
    ]
    context = job({"a.jsonl": lines})
    result = run(context)
    assert (result["succeeded"], result["failed"]) == (2, 2)
    good, bad, long, _ = answers(context)
    assert set(good) == {"recordId", "modelInput", "modelOutput"}
    assert set(bad) == {"recordId", "modelInput", "error"}
    assert bad["modelInput"] == {"inputText": "x"}
    assert bad["error"]["errorCode"] == 400
    assert "required key [prompt] not found" in bad["error"]["errorMessage"]
    assert long["recordId"]
    assert "context of 256 tokens" in long["error"]["errorMessage"]
    assert manifest(context)["errorRecordCount"] == 2


def test_conversations_are_asked_and_answered_as_converse_does(job: Callable[..., Context]) -> None:
    body = {
        "messages": [{"role": "user", "content": [{"text": "the crew?"}]}],
        "inferenceConfig": {"maxTokens": 5, "temperature": 0},
    }
    context = job({"a.jsonl": [{"recordId": "1", "modelInput": body}]}, invocation_type="Converse")
    run(context)
    (told,) = answers(context)
    assert told["modelOutput"]["output"]["message"]["role"] == "assistant"
    assert told["modelOutput"]["usage"]["outputTokens"] == 5
    assert told["modelOutput"]["stopReason"] == "max_tokens"


def test_an_adapter_answers(job: Callable[..., Context], adapters: list[Path]) -> None:
    plain, tuned = job({"a.jsonl": [record(1)]}), job({}, number=2, adapter=str(adapters[0]))
    run(plain)
    (tuned.state / "answered" / "a.jsonl").unlink()
    run(tuned)
    assert answers(plain)[0]["modelOutput"]["generation"] != answers(tuned)[0]["modelOutput"]["generation"]


def test_a_missing_adapter_fails_the_job(job: Callable[..., Context], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none is no adapter"):
        run(job({"a.jsonl": [record(1)]}, adapter=str(tmp_path / "none")))


def test_the_deadline_ends_the_job_with_what_it_has(
    job: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [record(number) for number in range(100)]
    context = job({"a.jsonl": lines}, **STEPWISE)
    step, steps = Generations.step, []

    def until_the_deadline(generations: Generations) -> Any:
        steps.append(1)
        if len(steps) == 30:
            monkeypatch.setitem(context.parameters, "deadline", 0.0)  # type: ignore[arg-type]
        return step(generations)

    monkeypatch.setattr(Generations, "step", until_the_deadline)
    result = run(context)
    assert 0 < result["processed"] < result["total"] == 100
    assert len(answers(context)) == result["processed"] == manifest(context)["processedRecordCount"]


def test_a_job_that_begins_after_its_deadline_has_expired(job: Callable[..., Context]) -> None:
    context = job({"a.jsonl": [record(1)]}, deadline=time.time() - 1)
    assert run(context) == {
        "expired": True,
        "total": 1,
        "processed": 0,
        "succeeded": 0,
        "failed": 0,
        "input_tokens": 0,
        "output_tokens": 0,
    }
    assert list(context.output.iterdir()) == []


def test_a_stop_keeps_what_was_answered(job: Callable[..., Context], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter([False] * 30)
    context = job({"a.jsonl": [record(n) for n in range(100)]}, should_stop=lambda: next(asked, True), **STEPWISE)
    result = run(context)
    assert 0 < result["processed"] < 100
    assert len(answers(context)) == result["processed"]


def test_what_was_answered_is_not_asked_again(job: Callable[..., Context], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter([False] * 30)
    first = job({"a.jsonl": [record(n) for n in range(100)]}, should_stop=lambda: next(asked, True))
    processed = run(first)["processed"]
    notes, prepared = first.state / "answered" / "a.jsonl", []
    notes.write_bytes(notes.read_bytes() + b'{"line": 99, "out')
    prepare = Generations.prepare
    monkeypatch.setattr(Generations, "prepare", lambda *a: prepared.append(1) or prepare(*a))
    second = job({}, number=2)
    assert run(second)["succeeded"] == 100
    assert len(prepared) == 100 - processed
    assert [one["recordId"] for one in answers(second)] == [f"R{number}" for number in range(100)]


_KILLED = """
import json, sys
from pathlib import Path
from modelyard.runner.context import Context
from modelyard.workloads.language import batch
parameters, records, state, output = json.loads(sys.argv[1]), *map(Path, sys.argv[2:])
print(json.dumps(batch.run(Context(parameters, {"records": records}, state, output))))
"""


@pytest.mark.slow
def test_a_killed_job_goes_on_where_it_was(job: Callable[..., Context]) -> None:
    lines = [record(number, max_gen_len=100) for number in range(300)]
    context = job({"a.jsonl": lines}, **STEPWISE)
    folders = [str(one) for one in (context.inputs["records"], context.state, context.output)]
    command = [sys.executable, "-c", _KILLED, json.dumps(context.parameters), *folders]
    notes = context.state / "answered" / "a.jsonl"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment) as process:
        deadline = time.monotonic() + 60
        while not notes.exists() or notes.stat().st_size < 20_000:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    before = notes.read_bytes().split(b"\n")[:-1]
    assert 0 < len(before) < 300
    result = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    assert result["succeeded"] == result["total"] == 300
    after = notes.read_bytes().splitlines()
    assert after[: len(before)] == before
    assert len(after) == 300
    assert [one["recordId"] for one in answers(context)] == [f"R{number}" for number in range(300)]
