"""How fast a served language model answers one client and eight, and how fast a batch of records is answered.

The model has the shape of the tiny base model (2.6 million parameters) and random weights, so that every answer has all
its tokens; it computes in float32 on one thread, everywhere.
one client, 8 clients: of a serving task, over its socket, greedy; prompts of 6 to 90 tokens, answers of 96.
generate: transformers' `generate` for one request after the other, and continuous batching: transformers' own for eight
requests at once, both in this process, with no socket and no text.
one-by-one calls: records of the batch, each asked when the one before it was answered. batch: a batch inference job,
the loading of its model included.
Answers are compared with those of `generate`.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rounds import Bar, Report, main
from servers import wait_for
from transformers import ContinuousBatchingConfig, GenerationConfig, LlamaForCausalLM

from modelyard.jobs.serving import Connections
from modelyard.runner.context import Context
from modelyard.workloads.language import batch
from modelyard.workloads.language.corpus import read_services
from modelyard.workloads.language.loading import load_tokenizer
from modelyard.workloads.language.tiny import Recipe, train_tokenizer

CLIENTS = 8
TOKENS = 96
RECORDS = 400
RECORD_TOKENS = 24

_TASK = """
import json, sys
from pathlib import Path
from modelyard.runner.context import Context
from modelyard.workloads.language.serve import run
here = Path(sys.argv[2])
run(Context({"base": sys.argv[1], "socket": str(here / "socket")}, {}, here, here))
"""


def run(quick: bool) -> Report:
    """Measures all sides in turn."""
    torch.set_num_threads(1)
    report = Report("A language model of 2.6 million parameters, on one thread")
    with tempfile.TemporaryDirectory() as folder, task(build(Path(folder, "model"))) as served:
        measure(report, served, quick)
    eight, one = report.medians["8 clients"], report.medians["one client"]
    report.bars += [
        Bar("tokens/s of 8 clients over one", report.ratio("tokens/s", "8 clients", "one client"), low=3.0),
        Bar("answers equal to generate's, share", min(eight["equal"], one["equal"]), low=1.0),
        Bar("first text, ms, one client", one["first text ms"], high=60),
        Bar(
            "records/s of a batch over one-by-one calls", report.ratio("records/s", "batch", "one-by-one calls"), low=6
        ),
    ]
    return report


def measure(report: Report, served: "Served", quick: bool) -> None:
    """Runs the rounds."""
    prompts = [text[: 40 + 60 * place] for place, text in enumerate(long_texts(CLIENTS))]
    plain = Plain(served.base, prompts)
    records = served.base.parent / "records.jsonl"
    asked = write_records(records, RECORDS // 4 if quick else RECORDS)

    def ask(clients: int, texts: Sequence[str]) -> Callable[[], dict[str, float]]:
        def measured() -> dict[str, float]:
            began = time.monotonic()
            answers = served.ask(texts, clients, TOKENS)
            seconds = time.monotonic() - began
            equal = [answer.text == plain.text(text) for text, answer in zip(texts, answers, strict=True)]
            return {
                "tokens/s": sum(answer.tokens for answer in answers) / seconds,
                "first text ms": median(answer.first for answer in answers) * 1000,
                "equal": sum(equal) / len(equal),
            }

        return measured

    def one_by_one() -> dict[str, float]:
        some, began = asked[:: len(asked) // 50], time.monotonic()
        served.ask(some, 1, RECORD_TOKENS)
        return {"records/s": len(some) / (time.monotonic() - began)}

    def batched() -> dict[str, float]:
        began = time.monotonic()
        result = run_batch(served.base, records)
        assert result["succeeded"] == len(asked), result
        return {"records/s": len(asked) / (time.monotonic() - began)}

    sides = {
        "generate": lambda: plain.generate(prompts[3:5]),
        "one client": ask(1, prompts[3:5]),
        "continuous batching, 8": plain.batch,
        "8 clients": ask(CLIENTS, prompts),
        "one-by-one calls": one_by_one,
        "batch": batched,
    }
    report.measure(sides, 2 if quick else 5)


class Answer:
    """An answer as a client sees it: its text, tokens, and seconds to the first text."""

    def __init__(self) -> None:
        self.text = ""
        self.tokens = 0
        self.first = 0.0


class Served:
    """A serving task in a process of its own."""

    def __init__(self, base: Path, socket: Path) -> None:
        self.base = base
        self._socket = socket
        self.ask(["warm"], 1, 2)

    def ask(self, texts: Sequence[str], clients: int, tokens: int) -> list[Answer]:
        """Asks all texts, as many at a time as there are clients."""
        return asyncio.run(self._ask(texts, clients, tokens))

    async def _ask(self, texts: Sequence[str], clients: int, tokens: int) -> list[Answer]:
        connections, free = Connections(lambda _: self._socket), asyncio.Semaphore(clients)

        async def one(text: str) -> Answer:
            async with free:
                answer, began = Answer(), time.monotonic()
                header = {"op": "generate", "max_tokens": tokens}
                body = json.dumps({"prompt": text}).encode()
                async for told, piece in connections.stream("task", header, body, 60):
                    assert told["status"] == 200, told
                    answer.first = answer.first or time.monotonic() - began
                    answer.text += piece.decode()
                    answer.tokens = told["output_tokens"]
                return answer

        answers = await asyncio.gather(*map(one, texts))
        connections.close()
        return list(answers)


class Plain:
    """What transformers does with the same model in this process."""

    def __init__(self, base: Path, prompts: Sequence[str]) -> None:
        self._tokenizer = load_tokenizer(base)
        self._ids = {text: self._tokenizer.backend_tokenizer.encode(text).ids for text in prompts}
        self._model: Any = LlamaForCausalLM.from_pretrained(base).eval()
        self._texts = {text: self._decoded(text) for text in prompts}
        config = GenerationConfig(
            max_new_tokens=TOKENS,
            do_sample=False,
            eos_token_id=self._model.generation_config.eos_token_id,
            pad_token_id=0,
        )
        memory = ContinuousBatchingConfig(page_size=32, num_blocks=256, max_batch_tokens=256)
        self._manager = LlamaForCausalLM.from_pretrained(base).eval().init_continuous_batching(config, memory)
        self._manager.start()
        self.batch()

    def text(self, prompt: str) -> str:
        """What `generate` says."""
        return self._texts[prompt]

    def generate(self, prompts: Sequence[str]) -> dict[str, float]:
        """One request after the other."""
        began = time.monotonic()
        tokens = sum(len(self._generate(prompt)) for prompt in prompts)
        return {"tokens/s": tokens / (time.monotonic() - began)}

    def batch(self) -> dict[str, float]:
        """All requests at once."""
        began, ended = time.monotonic(), []
        self._manager.add_requests(list(self._ids.values()), max_new_tokens=TOKENS)
        while len(ended) < len(self._ids):
            if (output := self._manager.get_result(timeout=1)) and output.is_finished():
                ended.append(len(output.generated_tokens))
        return {"tokens/s": sum(ended) / (time.monotonic() - began)}

    def _decoded(self, prompt: str) -> str:
        return str(self._tokenizer.decode(self._generate(prompt), skip_special_tokens=True)).rstrip("\ufffd")

    @torch.inference_mode()
    def _generate(self, prompt: str) -> list[int]:
        ids = torch.tensor([self._ids[prompt]])
        output = self._model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False, pad_token_id=0
        )
        return list(output[0, ids.shape[1] :].tolist())


def build(folder: Path) -> Path:
    """A model of random weights, larger than a new one's: so that its answers are not one token again and again."""
    torch.manual_seed(0)
    recipe = Recipe()
    tokenizer = train_tokenizer(list(read_services(["sqs", "sns", "ec2"])), recipe)
    model = LlamaForCausalLM(recipe.config(tokenizer))
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.mul_(4)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def task(base: Path) -> Iterator[Served]:
    """A serving task of the model, until the block ends."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([sys.executable, "-c", _TASK, base, folder], env=environment)
        try:
            wait_for(Path(folder, "socket").exists)
            yield Served(base, Path(folder, "socket"))
        finally:
            process.kill()
            process.wait()


def long_texts(number: int) -> list[str]:
    """Passages of documentation, one after the other."""
    text = " ".join(passage for service in read_services(["sqs", "sns"]) for passage in service.passages)
    return [text[place * 1000 : (place + 1) * 1000] for place in range(number)]


def write_records(path: Path, number: int) -> list[str]:
    """Records with prompts of 5 to 60 tokens; their prompts."""
    texts = [text[: 20 + 37 * place % 240] for place, text in enumerate(long_texts(20) * (number // 20))]
    with path.open("w") as lines:
        for text in texts:
            body = {"prompt": text, "max_gen_len": RECORD_TOKENS, "temperature": 0}
            lines.write(json.dumps({"modelInput": body}) + "\n")
    return texts


_numbers = count()


def run_batch(base: Path, records: Path) -> dict[str, Any]:
    """A batch inference job, in this process."""
    folder = base.parent / f"job-{next(_numbers)}"
    (folder / "state").mkdir(parents=True)
    (folder / "output").mkdir()
    parameters = {
        "base": str(base),
        "family": "llama",
        "invocation_type": "InvokeModel",
        "deadline": time.time() + 600,
    }
    return batch.run(Context(parameters, {"records": records}, folder / "state", folder / "output"))


if __name__ == "__main__":
    main(run, __doc__)
