import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tests.workloads.language.models import CONTEXT, SHAPE, build_adapter, build_model
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
)

from modelyard.runner.context import InputError
from modelyard.runner.serving import RequestError
from modelyard.workloads.language import adapters as adapters_module
from modelyard.workloads.language import batching, loading
from modelyard.workloads.language.generate import Generations
from modelyard.workloads.language.generation import Generation, Piece
from modelyard.workloads.language.loading import load_model, load_tokenizer
from modelyard.workloads.language.request import Request
from modelyard.workloads.language.sampling import Sampling

PROMPTS = ["the", "the crew", "light " * 8, "x", "north station keeps", "é😀 " * 5, "a b c d e f g", "station " * 20]


@pytest.fixture
def generations(base: Path) -> Generations:
    return Generations(load_model(base), load_tokenizer(base))


def start(generations: Generations, *requests: Request) -> list[Generation]:
    started = [generations.prepare(request) for request in requests]
    for one in started:
        generations.add(one)
    return started


def finish(generations: Generations) -> list[Piece]:
    pieces = []
    while len(generations):
        pieces += generations.step()
    return pieces


def alone(model: PreTrainedModel, prompt: list[int], **options: Any) -> list[int]:
    """What `generate` gives to one request."""
    with torch.inference_mode():
        ids = torch.tensor([prompt])
        tokens = model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=1, **options)
    return tokens[0, len(prompt) :].tolist()


def text_of(pieces: Iterable[Piece], generation: Generation) -> str:
    return "".join(piece.text for piece in pieces if piece.generation is generation)


def test_greedy_outputs_are_those_of_generate(base: Path, generations: Generations) -> None:
    lengths = [5, 40, 12, 60, 30, 1, 25, 50]
    requests = [Request(prompt, max_tokens=length) for prompt, length in zip(PROMPTS, lengths, strict=True)]
    started = start(generations, *requests)
    finish(generations)
    model = LlamaForCausalLM.from_pretrained(base)
    for one in started:
        expected = alone(model, one.prompt, max_new_tokens=one.request.max_tokens, do_sample=False)
        assert one.output == expected
        assert one.reason == ("end_turn" if expected[-1] == 1 else "max_tokens")
    assert len({tuple(one.output) for one in started}) == len(started)


def test_requests_that_come_and_go_at_any_step_change_nothing(base: Path, generations: Generations) -> None:
    model, random_ = LlamaForCausalLM.from_pretrained(base), random.Random(0)
    started: list[Generation] = []
    for prompt in PROMPTS * 3:
        started += start(generations, Request(prompt, max_tokens=random_.randrange(1, 30)))
        for _ in range(random_.randrange(4)):
            if len(generations):
                generations.step()
        if random_.random() < 0.2:
            generations.cancel(started[random_.randrange(len(started))])
    finish(generations)
    done = [one for one in started if one.reason]
    assert len(done) > len(started) / 2
    for one in done:
        assert one.output == alone(model, one.prompt, max_new_tokens=one.request.max_tokens, do_sample=False)


def test_a_long_prompt_is_read_in_pieces_while_others_go_on(
    base: Path, generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "READ_TOGETHER", 16)
    short, long = start(generations, Request("the", max_tokens=40), Request("station " * 20, max_tokens=10))
    generations.step()
    while not long.output:
        before = len(short.output)
        generations.step(), generations.step()
        assert len(short.output) > before
    finish(generations)
    model = LlamaForCausalLM.from_pretrained(base)
    for one in (short, long):
        assert one.output == alone(model, one.prompt, max_new_tokens=one.request.max_tokens, do_sample=False)


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SHAPE | {"num_key_value_heads": 4, "tie_word_embeddings": True}),
        MistralConfig(**SHAPE, sliding_window=8),
        MistralConfig(**SHAPE, sliding_window=None),
        Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=8, max_window_layers=1),
        Gemma3TextConfig(**SHAPE, head_dim=8, sliding_window=8, layer_types=["sliding_attention", "full_attention"]),
        GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=0, eos_token_id=1),
    ],
    ids=lambda config: f"{config.model_type}-{getattr(config, 'sliding_window', None)}",
)
def test_models_of_other_kinds_answer_as_generate_does(config: Any, tmp_path: Path) -> None:
    folder = build_model(tmp_path / "model", config)
    generations = Generations(load_model(folder), load_tokenizer(folder))
    started = start(generations, *(Request(prompt, max_tokens=20) for prompt in PROMPTS))
    finish(generations)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for one in started:
        assert one.output == alone(model, one.prompt, max_new_tokens=20, do_sample=False)


def test_a_recurrent_model_is_refused(tmp_path: Path) -> None:
    config = MambaConfig(vocab_size=320, hidden_size=16, num_hidden_layers=1, state_size=4)
    folder = build_model(tmp_path / "model", config)
    with pytest.raises(InputError, match="models of the type mamba are not served"):
        Generations(load_model(folder), load_tokenizer(folder))


@pytest.mark.parametrize("sampling", [Sampling(1.0), Sampling(0.7, 0.9), Sampling(1.3, 0.8, 20), Sampling(0.5, 1.0, 5)])
def test_a_seed_draws_what_generate_draws(base: Path, generations: Generations, sampling: Sampling) -> None:
    others = [Request(prompt, max_tokens=30, sampling=Sampling(0.9)) for prompt in PROMPTS]
    (one, *_) = start(generations, Request("the crew", max_tokens=40, sampling=sampling, seed=7), *others)
    finish(generations)
    torch.manual_seed(7)
    options = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k or 0}
    model = LlamaForCausalLM.from_pretrained(base)
    assert one.output == alone(model, one.prompt, max_new_tokens=40, do_sample=True, **options)


def test_without_a_seed_every_answer_is_another(generations: Generations) -> None:
    request = Request("the crew", max_tokens=20, sampling=Sampling(1.0))
    started = start(generations, *[request] * 4)
    finish(generations)
    assert len({tuple(one.output) for one in started}) == 4


def test_the_models_own_repetition_penalty_counts(base: Path) -> None:
    model = load_model(base)
    assert model.generation_config
    model.generation_config.repetition_penalty = 1.5
    generations = Generations(model, load_tokenizer(base))
    started = start(generations, *(Request(prompt, max_tokens=30) for prompt in PROMPTS[:3]))
    finish(generations)
    for one in started:
        assert one.output == alone(model, one.prompt, max_new_tokens=30, do_sample=False)


def test_the_tokenizers_own_end_token_ends_an_answer_too(base: Path, generations: Generations) -> None:
    (whole,) = start(generations, Request("the crew", max_tokens=20))
    said = text_of(finish(generations), whole)
    end = next(token for token in whole.output if token != whole.output[0])
    tokenizer = load_tokenizer(base)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    other = Generations(load_model(base), tokenizer)
    (one,) = start(other, Request("the crew", max_tokens=20))
    assert said.startswith(text_of(finish(other), one))
    assert one.output == whole.output[: whole.output.index(end) + 1]
    assert one.reason == "end_turn"


@pytest.mark.parametrize("way", ["merged", "switched"])
def test_adapters_answer_as_peft_does(
    base: Path, adapters: list[Path], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "switched":
        monkeypatch.setattr(adapters_module, "SMALL_BYTES", 0)
    generations = Generations(load_model(base), load_tokenizer(base))
    requests = [Request(p, adapter=a, max_tokens=25) for p in PROMPTS[:4] for a in (None, *adapters)]
    started = start(generations, *requests)
    finish(generations)
    model: PreTrainedModel = LlamaForCausalLM.from_pretrained(base)
    for one in [one for one in started if one.request.adapter is None]:
        assert one.output == alone(model, one.prompt, max_new_tokens=25, do_sample=False)
    for adapter in adapters:
        peft = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), str(adapter))
        for one in [one for one in started if one.request.adapter == adapter]:
            assert one.output == alone(peft, one.prompt, max_new_tokens=25, do_sample=False)
    assert len({tuple(one.output) for one in started[:3]}) == 3


@pytest.mark.parametrize("way", ["merged", "switched"])
def test_few_adapters_stay_in_memory_and_any_comes_back(
    base: Path, adapters: list[Path], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters_module, "MOST", 1)
    if way == "switched":
        monkeypatch.setattr(adapters_module, "SMALL_BYTES", 0)
    generations = Generations(load_model(base), load_tokenizer(base))
    outputs = []
    for adapter in (*adapters, None, *adapters, None):
        (one,) = start(generations, Request("the crew", adapter=adapter, max_tokens=10))
        finish(generations)
        outputs.append(one.output)
    assert outputs[:3] == outputs[3:]
    assert len(generations._adapters._variants) == 1
    both = start(generations, *(Request("the crew", adapter=adapter, max_tokens=10) for adapter in adapters))
    finish(generations)
    assert [one.output for one in both] == outputs[:2]


@pytest.mark.filterwarnings("ignore::UserWarning")  # peft advises against it
def test_an_adapter_of_a_tied_head_leaves_the_input_alone(tmp_path: Path) -> None:
    base = build_model(tmp_path / "base", LlamaConfig(**SHAPE, tie_word_embeddings=True))
    adapter = build_adapter(tmp_path / "adapter", base, 3, targets=["q_proj", "lm_head"])
    generations = Generations(load_model(base), load_tokenizer(base))
    (one,) = start(generations, Request("the crew", adapter=adapter, max_tokens=20))
    finish(generations)
    peft: Any = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(base), str(adapter))
    assert one.output == alone(peft, one.prompt, max_new_tokens=20, do_sample=False)


def test_stop_sequences_end_an_answer_across_tokens(generations: Generations) -> None:
    (whole,) = start(generations, Request("the crew", max_tokens=60))
    said = text_of(finish(generations), whole)
    stop = said[5:9]
    (one, unmet) = start(
        generations,
        Request("the crew", max_tokens=60, stop=("never said", stop)),
        Request("the crew", max_tokens=60, stop=(said[-1] + "never said",)),
    )
    pieces = finish(generations)
    assert text_of(pieces, one) == said[: said.index(stop)]
    assert (one.reason, one.stopped) == ("stop_sequence", stop)
    assert len(one.output) < len(whole.output)
    assert text_of(pieces, unmet) == said
    assert unmet.reason == whole.reason


def test_pieces_tell_the_text_as_it_comes(generations: Generations) -> None:
    (one,) = start(generations, Request("the crew", max_tokens=50))
    pieces = finish(generations)
    assert [piece.tokens for piece in pieces] == list(range(1, len(one.output) + 1))
    tokenizer = generations.prompts.backend
    assert tokenizer.decode(one.output).startswith(text_of(pieces, one))
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert one.first_after is not None


def test_an_answer_ends_where_the_context_does(base: Path, generations: Generations) -> None:
    prompt = "x" * (CONTEXT - 4)
    (open_, wide, narrow) = start(
        generations,
        Request(prompt),
        Request(prompt, max_tokens=1000),
        Request(prompt, max_tokens=2),
    )
    finish(generations)
    assert [one.reason for one in (open_, wide, narrow)] == ["context", "context", "max_tokens"]
    assert [len(one.output) for one in (open_, wide, narrow)] == [4, 4, 2]
    model = LlamaForCausalLM.from_pretrained(base)
    assert open_.output == alone(model, open_.prompt, max_new_tokens=4, do_sample=False)
    with pytest.raises(RequestError, match="256 tokens; the model's context of 256") as refused:
        generations.prepare(Request("x" * CONTEXT))
    assert refused.value.reason == "context"


def test_a_prompt_of_megabytes_is_refused_before_it_is_read(
    generations: Generations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations.prompts, "tokens", pytest.fail)
    for request in (Request("x" * 10_000_000), Request(messages=[{"role": "user", "content": "x" * 10_000_000}])):
        with pytest.raises(RequestError, match="far too many tokens") as refused:
            generations.prepare(request)
        assert refused.value.reason == "context"


def test_a_large_model_computes_in_bfloat16_where_that_is_faster(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "EXACT_BYTES", 0)
    monkeypatch.setattr(loading, "has_bfloat16", lambda device: True)
    model = load_model(base)
    assert model.dtype is torch.bfloat16
    generations = Generations(model, load_tokenizer(base))
    requests = [Request(prompt, max_tokens=20, sampling=Sampling(0.8), seed=1) for prompt in PROMPTS]
    started = start(generations, *requests)
    finish(generations)
    assert all(one.reason for one in started)
    monkeypatch.setattr(loading, "has_bfloat16", lambda device: False)
    assert load_model(base).dtype is torch.float32


def test_many_requests_wait_for_room(base: Path, generations: Generations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations, "_room", 100.0)
    started = start(generations, *(Request("the crew", max_tokens=30) for _ in range(6)))
    most = 0
    while len(generations):
        generations.step()
        most = max(most, sum(batch.claimed() for batch in generations._batches.values()))
    assert 0 < most <= 100
    assert len({tuple(one.output) for one in started}) == 1
    (large,) = start(generations, Request("the crew", max_tokens=200))
    finish(generations)
    assert large.reason


def test_a_step_that_fails_ends_its_requests_only(generations: Generations, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    (first,) = start(generations, Request("the crew", max_tokens=30))
    generations.step()
    with monkeypatch.context() as patch:
        patch.setattr(batching.Batch, "_decode", broken)
        (piece,) = generations.step()
    assert piece == Piece(first, "", 1, error="RuntimeError: out of memory")
    assert len(generations) == 0
    (second,) = start(generations, Request("the crew", max_tokens=3))
    finish(generations)
    assert second.reason == "max_tokens"


def test_conversations_go_through_the_chat_template(base: Path, generations: Generations) -> None:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "the crew?"}]
    one = generations.prepare(Request(messages=messages))
    text = "<s><system>be brief\n<user>the crew?\n<assistant>"
    assert generations.prompts.backend.decode(one.prompt, skip_special_tokens=False) == text
    assert one.prompt == load_tokenizer(base).apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )


@pytest.mark.parametrize("template", [None, "{{ raise_exception('roles must alternate') }}"])
def test_messages_that_the_template_cannot_take_are_refused(tmp_path: Path, template: str | None) -> None:
    folder = build_model(tmp_path / "model", template=template)
    generations = Generations(load_model(folder), load_tokenizer(folder))
    with pytest.raises(RequestError, match=r"no chat template|roles must alternate") as refused:
        generations.prepare(Request(messages=[{"role": "user", "content": "x"}]))
    assert refused.value.reason == "template"


def test_a_model_that_was_trained_on_questions_is_asked_as_it_was_trained(base: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "modelyard.json").write_text(json.dumps({"base": str(base), "kind": "adapter", "prompts": "chat"}))
    generations = Generations(load_model(base), load_tokenizer(base))
    backend = generations.prompts.backend
    question = generations.prepare(Request("the crew?", adapter=adapter))
    assert backend.decode(question.prompt, skip_special_tokens=False) == "<s><user>the crew?\n<assistant>"
    formatted = generations.prepare(Request("<s>the crew?", adapter=adapter))
    assert backend.decode(formatted.prompt, skip_special_tokens=False) == "<s>the crew?"
    assert generations.prepare(Request("the crew?")).prompt == backend.encode("the crew?").ids


def test_an_empty_prompt_is_refused(generations: Generations) -> None:
    with pytest.raises(RequestError, match="empty"):
        generations.prepare(Request(""))
