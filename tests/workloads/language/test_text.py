import random

import pytest
from tests.workloads.language.models import build_tokenizer
from tokenizers import Tokenizer

from modelyard.workloads.language.text import Text


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_tokenizer().backend_tokenizer


def say(tokenizer: Tokenizer, text: str, *stops: str) -> tuple[list[str], Text]:
    """The pieces of a text whose characters come one token at a time, or in parts."""
    said = Text(tokenizer, stops)
    pieces = [said.add(token) for token in tokenizer.encode(text).ids]
    return [*pieces, said.rest()], said


def test_only_whole_characters_are_shown(tokenizer: Tokenizer) -> None:
    pieces, _ = say(tokenizer, "a😀é")
    assert [piece for piece in pieces if piece] == ["a", "😀", "é"]
    cut = Text(tokenizer)
    assert [cut.add(token) for token in tokenizer.encode("a😀").ids[:-1]] + [cut.rest()] == ["a", "", "", "", ""]


def test_special_tokens_are_no_text(tokenizer: Tokenizer) -> None:
    pieces, _ = say(tokenizer, "<s>ab</s>")
    assert "".join(pieces) == "ab"


def test_text_that_may_begin_a_stop_is_held_back(tokenizer: Tokenizer) -> None:
    pieces, said = say(tokenizer, "1ENx", "END")
    assert pieces == ["1", "", "", "ENx", ""]
    assert said.stopped is None
    pieces, said = say(tokenizer, "1ENDx2", "END")
    assert "".join(pieces) == "1"
    assert said.stopped == "END"


def test_what_was_held_back_comes_at_the_end(tokenizer: Tokenizer) -> None:
    pieces, said = say(tokenizer, "xEN", "END")
    assert pieces == ["x", "", "", "EN"]
    assert said.stopped is None


@pytest.mark.parametrize(
    ("text", "stops", "shown", "stopped"),
    [
        ("xabcd", ("abcd", "bc"), "xa", "bc"),  # complete first
        ("xabc", ("bc", "abc"), "x", "abc"),  # complete together: the longer one
        ("aab", ("ab",), "a", "ab"),
        ("ababac", ("abac",), "ab", "abac"),
        ("x😀y", ("😀",), "x", "😀"),
        ("the crew", ("he cr",), "t", "he cr"),  # begins and ends within tokens
        ("anything", ("never",), "anything", None),
    ],
)
def test_which_stop_counts(
    tokenizer: Tokenizer, text: str, stops: tuple[str, ...], shown: str, stopped: str | None
) -> None:
    pieces, said = say(tokenizer, text, *stops)
    assert ("".join(pieces), said.stopped) == (shown, stopped)


def test_where_tokens_end_makes_no_difference(tokenizer: Tokenizer) -> None:
    random_ = random.Random(0)
    for _ in range(300):
        text = "".join(random_.choices("abc", k=12))
        stops = ["".join(random_.choices("abc", k=random_.randrange(1, 4))) for _ in range(2)]
        ends = [(text.find(stop) + len(stop), text.find(stop), stop) for stop in stops if stop in text]
        _, start, stop = min(ends, default=(0, len(text), None))
        pieces, said = say(tokenizer, text, *stops)
        assert ("".join(pieces), said.stopped) == (text[:start], stop)
