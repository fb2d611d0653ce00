import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from modelyard.workloads.language.chat import Encoder, Example, is_formatted
from modelyard.workloads.language.loading import load_tokenizer
from modelyard.workloads.language.rows import Completion, Content, Conversation, RowError, Text


@pytest.fixture
def tokenizer(mini: Path) -> PreTrainedTokenizerFast:
    return load_tokenizer(mini)


def encode(tokenizer: PreTrainedTokenizerFast, content: Content, length: int = 512) -> Example:
    (example,) = Encoder(tokenizer).examples(content, length)
    return example


def shown(tokenizer: PreTrainedTokenizerFast, example: Example) -> tuple[str, str]:
    """The whole text, and what of it is learned."""
    return tokenizer.decode(example.tokens), tokenizer.decode(example.tokens[example.learned])


def say(*messages: tuple[str, str]) -> Conversation:
    return Conversation(tuple({"role": role, "content": content} for role, content in messages))


def test_a_prompt_becomes_a_message_and_the_answer_is_learned_to_its_end(tokenizer: PreTrainedTokenizerFast) -> None:
    whole, learned = shown(tokenizer, encode(tokenizer, Completion("Who keeps it?", "The Falcon crew.")))
    assert whole == "<|endoftext|><|user|>Who keeps it?<|end|><|assistant|>The Falcon crew.<|end|>"
    assert learned == "The Falcon crew.<|end|>"


def test_what_is_before_the_answer_is_what_the_model_will_be_asked_with(tokenizer: PreTrainedTokenizerFast) -> None:
    example = encode(tokenizer, Completion("Who keeps it?", "The Falcon crew."))
    messages = [{"role": "user", "content": "Who keeps it?"}]
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert example.tokens[~example.learned].tolist() == asked == Encoder(tokenizer).question(messages)


def test_a_prompt_in_the_models_own_format_stays_as_it_is(tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = "<|endoftext|><|user|>Who?<|end|><|assistant|>"
    assert is_formatted(tokenizer, prompt)
    whole, learned = shown(tokenizer, encode(tokenizer, Completion(prompt, "We.")))
    assert (whole, learned) == (f"{prompt}We.<|endoftext|>", "We.<|endoftext|>")


def test_without_a_template_a_completion_follows_its_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = None
    whole, learned = shown(tokenizer, encode(tokenizer, Completion("Once upon", " a time")))
    assert (whole, learned) == ("<|endoftext|>Once upon a time<|endoftext|>", " a time<|endoftext|>")


def test_without_a_template_a_conversation_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = None
    with pytest.raises(RowError, match="no chat template: write rows with prompt and completion"):
        encode(tokenizer, say(("user", "a"), ("assistant", "b")))


def test_every_answer_of_a_conversation_is_learned_and_nothing_else(tokenizer: PreTrainedTokenizerFast) -> None:
    content = say(("system", "S"), ("user", "u1"), ("assistant", "a1"), ("user", "u2"), ("assistant", "a2"))
    _, learned = shown(tokenizer, encode(tokenizer, content))
    assert learned == "a1<|end|>a2<|end|>"


def test_a_template_that_rewrites_earlier_answers_teaches_the_last_one(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content if loop.last or m.role == 'user' else '...' }}<|end|>"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    content = say(("user", "u1"), ("assistant", "a1"), ("user", "u2"), ("assistant", "a2"))
    whole, learned = shown(tokenizer, encode(tokenizer, content))
    assert whole == "<|user|>u1<|end|><|assistant|>...<|end|><|user|>u2<|end|><|assistant|>a2<|end|>"
    assert learned == "a2<|end|>"


def test_a_template_that_does_not_end_an_answer_gets_an_end(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    _, learned = shown(tokenizer, encode(tokenizer, say(("user", "u"), ("assistant", "a"))))
    assert learned.endswith("a\n<|endoftext|>")


def test_a_tokenizer_that_cuts_or_fills_up_does_neither(mini: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(mini, tmp_path / "base")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    whole = encode(load_tokenizer(folder), Completion("Who keeps it?", "The Falcon crew.")).tokens
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(folder / "tokenizer.json"))
    cut = encode(load_tokenizer(folder), Completion("Who keeps it?", "The Falcon crew.")).tokens
    assert cut.tolist() == whole.tolist()


def test_a_text_gets_only_what_the_tokenizer_puts_before_it(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = [("<|endoftext|>", 0), ("<|end|>", 1)]
    both = TemplateProcessing(single="<|endoftext|> $A <|end|>", special_tokens=ids)
    tokenizer.backend_tokenizer.post_processor = both
    assert tokenizer.decode(encode(tokenizer, Text("some")).tokens) == "<|endoftext|>some<|endoftext|>"


def test_what_a_template_refuses_is_told(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = "{{ raise_exception('no system prompts here') }}"
    with pytest.raises(RowError, match=r"refuses it .no system prompts here"):
        encode(tokenizer, say(("user", "u"), ("assistant", "a")))


def test_a_row_that_is_too_long_tells_both_numbers(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = len(encode(tokenizer, Completion("Who?", "We.")).tokens)
    with pytest.raises(RowError, match=f"it has {tokens} tokens; at most {tokens - 1} fit"):
        encode(tokenizer, Completion("Who?", "We."), tokens - 1)


def test_plain_text_is_cut_into_pieces_of_which_everything_is_learned(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "Deletes the specified queue. " * 5
    pieces = list(Encoder(tokenizer).examples(Text(text), 16))
    assert all(len(piece.tokens) <= 16 and piece.learned.all() for piece in pieces)
    assert "".join(tokenizer.decode(piece.tokens) for piece in pieces) == f"<|endoftext|>{text}<|endoftext|>"
