import os
import struct
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest
from tests.encoder_folders import SPACY_KEYS, write_binary, write_spacy, write_vectors

from modelyard.runner.context import InputError
from modelyard.word_tables import find_table
from modelyard.workloads.graph.processing import word_index
from modelyard.workloads.graph.processing.word_index import WordIndex, spacy_key

TABLE: dict[str, list[float]] = {
    "cat": [1, 0.5],
    "dog": [0, 2],
    "Paris": [3, 4],
    "number": [5, 6],
    "birdhouses": [7, 8],
}
FORMS = [write_vectors, write_binary, write_spacy]


def index(folder: Path) -> WordIndex:
    return WordIndex(find_table(folder), lambda _: None)


def found(words: WordIndex, *asked: str) -> dict[str, list[float]]:
    rows, vectors = words.vectors(asked)
    return {word: vectors[row].tolist() for word, row in rows.items()}


@pytest.mark.parametrize("write", FORMS)
def test_words_have_their_vectors_in_every_form(tmp_path: Path, write: Callable[..., Path]) -> None:
    words = index(write(tmp_path / "words", TABLE))
    assert found(words, *reversed(TABLE), "Cat", "parrot", "") == TABLE
    assert found(words, "dog") == {"dog": [0, 2]}
    rows, vectors = words.vectors([])
    assert (rows, vectors.shape) == ({}, (0, 2))


def test_a_binary_form_larger_than_what_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_index, "BLOCK", 50)
    table = {f"w{n}{'x' * (n % 40)}": [float(n), -float(n), 1 / (n + 1)] for n in range(500)}
    for end in ("\n", ""):
        words = found(index(write_binary(tmp_path / f"words{end!r}", table, end)), *table)
        assert words == {word: [struct.unpack("<f", struct.pack("<f", n))[0] for n in v] for word, v in table.items()}


@pytest.mark.parametrize("write", FORMS)
def test_the_table_is_gone_through_once(
    tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = index(write(tmp_path / "words", TABLE))
    monkeypatch.setattr(word_index, "_ENTRIES", {})
    for _ in range(2):
        assert found(words, "cat", "number") == {"cat": [1, 0.5], "number": [5, 6]}


def test_of_a_word_that_occurs_twice_it_is_the_first(tmp_path: Path) -> None:
    (tmp_path / "words.vec").write_text("dog 7 8\nx 0 0\nat name@host 1 2\nat 3 4\nat 5 6\n")
    assert found(index(tmp_path), "at") == {"at": [3, 4]}


def test_words_are_known_as_spacy_knows_them() -> None:
    assert {word: spacy_key(word) for word in SPACY_KEYS} == SPACY_KEYS


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("cat 1.0 x", "words.vec, line 3: holds what is no number"),
        ("cat 1.0", "words.vec, line 3: has 1 numbers, where 2 finite ones"),
        ("cat nan 1", "words.vec, line 3: has 2"),
    ],
)
def test_a_broken_line_of_a_word_that_is_needed(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "words.vec").write_text(f"3 2\ndog 1 2\n{line}\n. . . 1 2\n")
    words = index(tmp_path)
    with pytest.raises(InputError, match=reason):
        words.vectors(["cat"])
    assert found(words, "dog", ".") == {"dog": [1, 2]}


def test_a_line_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "words.vec").write_bytes(b"2 1\ncat 1\n" + b"x" * (2 << 20))
    with pytest.raises(InputError, match=r"words\.vec, line 3: is longer than 1048576 bytes"):
        index(tmp_path)


def test_a_binary_form_with_a_word_without_an_end(tmp_path: Path) -> None:
    size = 2 * (2 + 4 * 300)
    (tmp_path / "words.bin").write_bytes(b"2 300\n" + b"x" * size)
    with pytest.raises(InputError, match=r"words\.bin, byte 6: is no word with 300 numbers"):
        index(tmp_path)


@pytest.mark.parametrize(("count", "reason"), [(6, "is no word with 2 numbers"), (4, "there is more than 4 words")])
def test_a_binary_form_of_another_size_than_it_says(tmp_path: Path, count: int, reason: str) -> None:
    file = write_binary(tmp_path, TABLE) / "words.bin"
    file.write_bytes(file.read_bytes().replace(b"5 2\n", f"{count} 2\n".encode(), 1))
    with pytest.raises(InputError, match=rf"words\.bin, byte \d+: {reason}"):
        index(tmp_path)


def test_a_binary_form_whose_numbers_are_none(tmp_path: Path) -> None:
    write_binary(tmp_path, {"cat": [float("nan"), 1], "dog": [1, 2]})
    words = index(tmp_path)
    assert found(words, "dog") == {"dog": [1, 2]}
    with pytest.raises(InputError, match=r"words\.bin, byte 4: has 2 numbers, where 2 finite ones are needed"):
        words.vectors(["cat"])


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (b"", "cannot be read"),
        (b"\xc1", "cannot be read"),
        (b"\xdf\xff\xff\xff\xff\x01", "cannot be read"),
        (b"\x91" * 100_000, "cannot be read"),
        (msgpack.packb([1, 2]), "it is no map of numbers"),
        (msgpack.packb({"cat": 0}), "it is no map of numbers"),
        (msgpack.packb({5: "0"}), "it is no map of numbers"),
        (msgpack.packb({5: 1}), "the row 1 is none of the 1 that there are"),
        (msgpack.packb({-5: 0}), "the row 0 is none"),
    ],
)
def test_keys_of_spacy_that_cannot_be_read(tmp_path: Path, keys: bytes, reason: str) -> None:
    (write_spacy(tmp_path / "words") / "vocab" / "key2row").write_bytes(keys)
    with pytest.raises(InputError, match=reason):
        index(tmp_path / "words")


def test_a_key_of_spacy_without_a_row_has_no_vector(tmp_path: Path) -> None:
    folder = write_spacy(tmp_path / "words", {"cat": [1, 2]})
    keys = {SPACY_KEYS["cat"]: 0, SPACY_KEYS["dog"]: -1}
    (folder / "vocab" / "key2row").write_bytes(msgpack.packb(keys))
    assert found(index(folder), "cat", "dog") == {"cat": [1, 2]}


def test_a_file_that_was_cut_afterwards_is_told(tmp_path: Path) -> None:
    folder = write_binary(tmp_path, TABLE)
    words = index(folder)
    os.truncate(folder / "words.bin", (folder / "words.bin").stat().st_size - 6)
    with pytest.raises(InputError, match=r"words\.bin, byte \d+: "):
        words.vectors(["birdhouses"])


def test_more_words_than_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_index, "MAX_WORDS", 4)
    with pytest.raises(InputError, match=r"words\.vec: has more than 4 words"):
        index(write_vectors(tmp_path, TABLE))
