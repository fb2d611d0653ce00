"""How fast a served language model answers one client and eight, and how fast a batch of records is answered.

The model has the shape of the tiny base model (2.6 million parameters) and random weights, so that every answer has all
its tokens; it computes in float32 on one thread, everywhere.
one client, 8 clients: boto3's `invoke_model_with_response_stream`, greedy; prompts of 9 to 93 tokens, answers of 96.
generate: transformers' `generate` for one request after the other, and continuous batching: transformers' own for eight
requests at once, both in this process, with no server and no text.
one-by-one calls: `invoke_model` for records of the batch, each when the one before it was answered. batch: a batch
inference job over all of them, from its creation until it is completed, the loading of its model included.
Answers are compared with those of `generate`.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rounds import Bar, Report, main
from servers import PROGRAMS, Modelyard, wait_for
from transformers import ContinuousBatchingConfig, GenerationConfig, LlamaForCausalLM

from modelyard.workloads.language.corpus import read_services
from modelyard.workloads.language.loading import load_tokenizer
from modelyard.workloads.language.tiny import Recipe, train_tokenizer

MODEL = "meta.llama3-2-1b-instruct-v1:0"
CLIENTS = 8
TOKENS = 96
RECORDS = 400
RECORD_TOKENS = 24


def run(quick: bool) -> Report:
    """Measures all sides in turn."""
    torch.set_num_threads(1)
    report = Report("A language model of 2.6 million parameters, on one thread")
    with tempfile.TemporaryDirectory() as folder, Modelyard() as server:
        base = build(Path(folder, "model"))
        add(server, base)
        prompts = [text[: 40 + 60 * place] for place, text in enumerate(long_texts(CLIENTS))]
        with closing(Plain(base, prompts)) as plain:
            measure(report, Served(server), plain, prompts, quick)
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


def measure(report: Report, served: "Served", plain: "Plain", prompts: Sequence[str], quick: bool) -> None:
    """Runs the rounds."""
    records = record_prompts(RECORDS // 4 if quick else RECORDS)

    def ask(clients: int, texts: Sequence[str]) -> Callable[[], dict[str, float]]:
        def measured() -> dict[str, float]:
            began = time.monotonic()
            with ThreadPoolExecutor(clients) as threads:
                answers = list(threads.map(served.stream, texts))
            seconds = time.monotonic() - began
            equal = [answer.text == plain.text(text) for text, answer in zip(texts, answers, strict=True)]
            return {
                "tokens/s": sum(answer.tokens for answer in answers) / seconds,
                "first text ms": median(answer.first for answer in answers) * 1000,
                "equal": sum(equal) / len(equal),
            }

        return measured

    def one_by_one() -> dict[str, float]:
        some, began = records[:: len(records) // 50], time.monotonic()
        for text in some:
            served.invoke(text)
        return {"records/s": len(some) / (time.monotonic() - began)}

    def batched() -> dict[str, float]:
        began = time.monotonic()
        served.batch(records)
        return {"records/s": len(records) / (time.monotonic() - began)}

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
    """The model as clients reach it."""

    def __init__(self, server: Modelyard) -> None:
        self._server = server
        self._bedrock = server.client("bedrock")
        self._runtime = server.client("bedrock-runtime")
        self._numbers = count()
        self.invoke("loads the model")

    def stream(self, prompt: str) -> Answer:
        """Asks for a stream, and reads it to its end."""
        answer, began = Answer(), time.monotonic()
        told = self._runtime.invoke_model_with_response_stream(modelId=MODEL, body=body(prompt, TOKENS))
        for event in told["body"]:
            chunk = json.loads(event["chunk"]["bytes"])
            answer.first = answer.first or time.monotonic() - began
            answer.text += chunk["generation"]
            answer.tokens = chunk["generation_token_count"]
        return answer

    def invoke(self, prompt: str) -> None:
        """Asks for an answer as a whole."""
        self._runtime.invoke_model(modelId=MODEL, body=body(prompt, RECORD_TOKENS))["body"].read()

    def batch(self, prompts: Sequence[str]) -> None:
        """Runs a batch inference job to its end."""
        name = f"job-{next(self._numbers)}"
        records = [json.dumps({"modelInput": json.loads(body(prompt, RECORD_TOKENS))}) for prompt in prompts]
        (self._server.bucket / f"{name}.jsonl").write_text("\n".join(records) + "\n")
        job = self._bedrock.create_model_invocation_job(
            jobName=name,
            roleArn="arn:aws:iam::000000000000:role/bench",
            modelId=MODEL,
            inputDataConfig={"s3InputDataConfig": {"s3Uri": f"s3://bench/{name}.jsonl"}},
            outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://bench/answers/"}},
        )["jobArn"]
        told: dict[str, Any] = {}

        def ended() -> bool:
            told.update(self._bedrock.get_model_invocation_job(jobIdentifier=job))
            return told["status"] not in ("Submitted", "Validating", "Scheduled", "InProgress")

        wait_for(ended, 300)
        assert told["status"] == "Completed", told


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

    def close(self) -> None:
        """Ends the thread that batches, which would keep this process alive."""
        self._manager.stop()

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


def add(server: Modelyard, model: Path) -> None:
    """Makes a folder the base model MODEL."""
    command = [PROGRAMS / "modelyard", "models", "add", MODEL, model, "--endpoint-url", server.url]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def long_texts(number: int) -> list[str]:
    """Passages of documentation, one after the other."""
    text = " ".join(passage for service in read_services(["sqs", "sns"]) for passage in service.passages)
    return [text[place * 1000 : (place + 1) * 1000] for place in range(number)]


def record_prompts(number: int) -> list[str]:
    """Prompts of 5 to 60 tokens."""
    return [text[: 20 + 37 * place % 240] for place, text in enumerate(long_texts(20) * (number // 20))]


def body(prompt: str, tokens: int) -> str:
    """The body of a greedy request."""
    return json.dumps({"prompt": prompt, "max_gen_len": tokens, "temperature": 0})


if __name__ == "__main__":
    main(run, __doc__)
