import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from tests.workloads.language.models import CONTEXT, SHAPE, WIDE, build_adapter, build_model
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, Qwen2Config

from modelyard.model_folder import REMOTE_CODE
from modelyard.runner.context import InputError
from modelyard.runner.serving import RequestError
from modelyard.workloads.language.engine import LanguageEngine
from modelyard.workloads.language.engine_choice import load_engine
from modelyard.workloads.language.generation import Generation, Piece
from modelyard.workloads.language.request import Request
from modelyard.workloads.language.sampling import Sampling

pytest.importorskip("vllm", reason="vLLM is not installed: pip install 'modelyard[vllm]'", exc_type=ImportError)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # warnings of vLLM's many parts are not ours
PROMPTS = ["the", "the crew", "light " * 8, "x", "north station keeps", "é😀 " * 5, "a b c d e f g", "station " * 20]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def adapters(base: Path) -> list[Path]:
    return [build_adapter(base.parent / f"adapter-{seed}", base, seed, rank=rank) for seed, rank in ((1, 4), (2, 64))]


@pytest.fixture(scope="module")
def engine(base: Path) -> LanguageEngine:
    return load_engine(base, 1, "vllm")


@pytest.fixture
def ours(base: Path) -> LanguageEngine:
    return load_engine(base, 1, "transformers")


def start(engine: LanguageEngine, *requests: Request) -> list[Generation]:
    started = [engine.prepare(request) for request in requests]
    for one in started:
        engine.add(one)
    return started


def finish(engine: LanguageEngine) -> list[Piece]:
    pieces = []
    while len(engine):
        pieces += engine.step()
    return pieces


def outputs(engine: LanguageEngine, requests: Iterable[Request]) -> list[tuple[list[int], str | None]]:
    started = start(engine, *requests)
    finish(engine)
    return [(one.output, one.reason) for one in started]


def text_of(pieces: Iterable[Piece], generation: Generation) -> str:
    return "".join(piece.text for piece in pieces if piece.generation is generation)


def test_greedy_answers_are_those_of_our_own_engine(engine: LanguageEngine, ours: LanguageEngine) -> None:
    lengths = [5, 40, 12, 60, 30, 1, 25, 50]
    requests = [Request(prompt, max_tokens=length) for prompt, length in zip(PROMPTS, lengths, strict=True)]
    together = outputs(engine, requests)
    assert together == outputs(ours, requests)
    assert together == [outputs(engine, [request])[0] for request in requests]
    assert len({tuple(output) for output, _ in together}) == len(together)


def test_adapters_answer_as_they_do_in_our_own_engine(
    engine: LanguageEngine, ours: LanguageEngine, adapters: list[Path]
) -> None:
    requests = [
        Request("the crew", adapter=one, max_tokens=20) for one in (adapters[0], None, adapters[1], adapters[0])
    ]
    answers = outputs(engine, requests)
    assert answers == outputs(ours, requests)
    assert len({tuple(output) for output, _ in answers}) == 3


def test_more_adapters_than_memory_holds_take_turns(engine: LanguageEngine, base: Path, tmp_path: Path) -> None:
    adapters = [build_adapter(tmp_path / f"adapter-{seed}", base, seed) for seed in range(3, 23)]
    requests = [Request("the crew", adapter=one, max_tokens=5) for one in adapters]
    together = outputs(engine, requests)
    assert together == [outputs(engine, [request])[0] for request in requests]


def test_an_adapter_that_cannot_be_loaded_is_refused(
    engine: LanguageEngine, base: Path, adapters: list[Path], tmp_path: Path
) -> None:
    shutil.copytree(adapters[0], tmp_path / "broken")
    (tmp_path / "broken" / "adapter_model.safetensors").unlink()
    large = build_adapter(tmp_path / "large", base, 1, targets=["q_proj"], rank=300)
    weights = LoraConfig(r=4, target_modules=["q_proj"], use_dora=True, task_type="CAUSAL_LM")
    get_peft_model(LlamaForCausalLM.from_pretrained(base), weights).save_pretrained(str(tmp_path / "dora"))
    for adapter, message in (
        (tmp_path / "gone", "gone is no adapter"),
        (tmp_path / "broken", "has no adapter_model.safetensors"),
        (large, "rank 300"),
        (tmp_path / "dora", "DoRA"),
    ):
        with pytest.raises(InputError, match=message):
            engine.add(engine.prepare(Request("the", adapter=adapter)))
    assert len(engine) == 0


def test_stop_sequences_end_an_answer_across_tokens(engine: LanguageEngine) -> None:
    (whole,) = start(engine, Request("the crew", max_tokens=60))
    said = text_of(finish(engine), whole)
    stop = said[5:9]
    one, unmet = start(
        engine,
        Request("the crew", max_tokens=60, stop=("never said", stop)),
        Request("the crew", max_tokens=60, stop=(said[-1] + "never said",)),
    )
    pieces = finish(engine)
    assert text_of(pieces, one) == said[: said.index(stop)]
    assert (one.reason, one.stopped) == ("stop_sequence", stop)
    assert len(one.output) < len(whole.output)
    assert text_of(pieces, unmet) == said
    assert unmet.reason == whole.reason


def test_pieces_come_token_by_token(engine: LanguageEngine) -> None:
    (one,) = start(engine, Request("the crew", max_tokens=50))
    pieces = finish(engine)
    assert [piece.tokens for piece in pieces] == list(range(1, len(one.output) + 1))
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert one.first_after is not None
    assert one.first_after < one.seconds


def test_an_answer_that_is_cancelled_disturbs_no_other(engine: LanguageEngine, ours: LanguageEngine) -> None:
    request = Request("the crew", max_tokens=40)
    kept, dropped, waiting = start(engine, request, Request("x"), Request("light"))
    engine.cancel(waiting)
    for _ in range(5):
        engine.step()
    engine.cancel(dropped)
    pieces = finish(engine)
    assert {piece.generation for piece in pieces} == {kept}
    assert dropped.reason is None
    assert [(kept.output, kept.reason)] == outputs(ours, [request])


def test_an_answer_ends_where_the_context_does(engine: LanguageEngine, ours: LanguageEngine) -> None:
    assert engine.context == CONTEXT
    prompt = "x" * (CONTEXT - 4)
    requests = [Request(prompt), Request(prompt, max_tokens=1000), Request(prompt, max_tokens=2)]
    answers = outputs(engine, requests)
    assert [reason for _, reason in answers] == ["context", "context", "max_tokens"]
    assert answers == outputs(ours, requests)


def test_a_context_that_memory_does_not_hold_is_shortened(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelyard.workloads.language import vllm_engine

    weights = (base / "model.safetensors").stat().st_size
    monkeypatch.setattr(vllm_engine, "free_bytes", lambda device: weights + 1_400_000)
    engine = load_engine(base, 1, "vllm")
    assert 0 < engine.context < CONTEXT
    assert outputs(engine, [Request("x" * (engine.context - 2))])[0][1] == "context"
    with pytest.raises(RequestError, match=f"the model's context of {engine.context} tokens"):
        engine.prepare(Request("x" * engine.context))


@pytest.mark.parametrize(
    ("sampling", "few"),
    [
        (Sampling(1.0), False),
        (Sampling(1.0, 0.0), True),
        (Sampling(1000.0, 1.0, 1), True),
        (Sampling(0.7, 0.9, 20), False),
    ],
)
def test_a_seed_draws_the_same_again(engine: LanguageEngine, sampling: Sampling, few: bool) -> None:
    request = Request("the crew", max_tokens=20, sampling=sampling, seed=(1 << 63) - 1)
    first = outputs(engine, [request, *(Request(prompt, max_tokens=9, sampling=Sampling(0.9)) for prompt in PROMPTS)])
    assert outputs(engine, [request])[0] == first[0]
    others = outputs(engine, [replace(request, seed=seed) for seed in range(5)] + [replace(request, seed=None)])
    assert (len({tuple(output) for output, _ in others}) == 1) is few


def test_an_account_waits_as_long_for_what_another_has_asked(engine: LanguageEngine, ours: LanguageEngine) -> None:
    prompt = "station " * 25
    requests = [Request(prompt, max_tokens=5, account=account) for account in ("1", "2", "1", None)]
    assert [outputs(engine, [request])[0] for request in requests] == outputs(ours, requests)


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**WIDE | {"num_key_value_heads": 4, "tie_word_embeddings": True}),
        MistralConfig(**WIDE, sliding_window=8),
        Qwen2Config(**SHAPE | {"hidden_size": 128}),
    ],
    ids=lambda config: config.model_type,
)
def test_models_of_other_kinds_answer_as_our_own_engine_does(
    config: LlamaConfig | MistralConfig | Qwen2Config, tmp_path: Path
) -> None:
    folder = build_model(tmp_path / "model", config)
    own = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**own, "repetition_penalty": 1.2}))
    requests = [Request(prompt, max_tokens=20) for prompt in PROMPTS]
    assert outputs(load_engine(folder, 1, "vllm"), requests) == outputs(
        load_engine(folder, 1, "transformers"), requests
    )


def test_what_vllm_does_not_take_is_refused_by_name(tmp_path: Path, base: Path) -> None:
    narrow = build_model(
        tmp_path / "narrow", LlamaConfig(**SHAPE)
    )  # vLLM loads it, and finds in its first step that it has no such kernel
    with pytest.raises(InputError, match=r"vLLM cannot load the model narrow .*head_dim=8"):
        load_engine(narrow, 1, "vllm")
    shutil.copytree(base, tmp_path / "own")
    (tmp_path / "own" / REMOTE_CODE).touch()
    with pytest.raises(InputError, match="code of its own"):
        load_engine(tmp_path / "own", 1, "vllm")
    shutil.copytree(base, tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"no \*.safetensors"):
        load_engine(tmp_path / "pickled", 1, "vllm")


def test_it_runs_in_this_process(engine: LanguageEngine) -> None:
    assert len(engine) == 0
    assert not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
