from pathlib import Path

import pytest
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from modelyard.workloads.language.corpus import read_services
from modelyard.workloads.language.tiny import CHAT_TEMPLATE, bits_per_byte, build, main


@pytest.fixture(scope="module")
def tokenizer(mini: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(mini)


def test_it_is_an_ordinary_hugging_face_folder(mini: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    model = AutoModelForCausalLM.from_pretrained(mini)
    assert model.num_parameters() < 300_000
    assert {path.suffix for path in mini.iterdir()} == {".json", ".jinja", ".safetensors"}
    with safe_open(mini / "model.safetensors", "pt") as weights:
        assert "model.embed_tokens.weight" in set(weights.keys())
    turn = tokenizer.convert_tokens_to_ids("<|end|>")
    assert model.generation_config.eos_token_id == [turn, tokenizer.eos_token_id]


def test_its_tokens_give_any_text_back(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "Deletes the queue — ещё раз, 日本語 🎉\n\tend"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    assert tokenizer(text).input_ids[0] == tokenizer.bos_token_id


def test_its_chat_template_knows_all_roles(tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [{"role": role, "content": role[0]} for role in ("system", "user", "assistant", "user")]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert tokenizer.chat_template == CHAT_TEMPLATE
    assert text == "<|endoftext|><|system|>s<|end|><|user|>u<|end|><|assistant|>a<|end|><|user|>u<|end|><|assistant|>"


def test_it_has_learned_something(mini: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    model = AutoModelForCausalLM.from_pretrained(mini)
    (unseen,) = read_services(["kms"])
    untrained = AutoModelForCausalLM.from_config(model.config)
    before = bits_per_byte(untrained, tokenizer, unseen.passages[:100])
    assert bits_per_byte(model, tokenizer, unseen.passages[:100]) < 0.85 * before


def test_bits_per_byte_are_those_of_the_tokens(mini: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """A model that gives every token the same chance needs log2 of their number for each."""
    model = AutoModelForCausalLM.from_pretrained(mini)
    model.model.embed_tokens.weight.data.zero_()
    tokens = len(tokenizer("some text of ours").input_ids) - 1
    found = bits_per_byte(model, tokenizer, ["some text of ours"])
    assert found == pytest.approx(tokens * 10 / len("some text of ours"))


def test_a_folder_that_exists_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="delete it, or give another folder"):
        build(tmp_path, services=["sqs"], steps=1)


def test_the_command_line_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "m"), "--services-out", "sqz"]) == 1
    assert capsys.readouterr().err.startswith("error: botocore has no service 'sqz'; there are ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [("--steps", "0"), ("--seconds", "0"), ("--seconds", "nan")])
def test_a_build_of_no_length_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], length: tuple[str, str]
) -> None:
    assert main([str(tmp_path / "m"), "--mini", *length]) == 1
    assert "neither may be 0 or less" in capsys.readouterr().err


def test_as_many_steps_make_the_same_model_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = []
    for name in ("one", "two"):
        assert main([str(tmp_path / name), "--mini", "--services", "sqs", "--steps", "50"]) == 0
        assert capsys.readouterr().out.startswith("step 50, 98% done, loss ")
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
