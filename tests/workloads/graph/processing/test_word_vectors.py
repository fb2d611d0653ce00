from pathlib import Path

import numpy as np
import pytest
from tests.encoder_folders import write_vectors

from modelyard.word_tables import find_table
from modelyard.workloads.graph.processing.word_index import WordIndex
from modelyard.workloads.graph.processing.word_vectors import detect, word_means, words

TABLE = {"cat": [1.0, 0.0], "dog": [0.0, 2.0], "Paris": [3.0, 4.0], "\u732b": [5.0, 0.0], "\u5c0f\u732b": [0.0, 7.0]}


def means(folder: Path, *texts: str, length: int | None = None, unit: bool = False) -> list[list[float]]:
    index = WordIndex(find_table(write_vectors(folder, TABLE)), lambda _: None)
    return word_means(index, texts, length, unit).tolist()


def test_is_the_mean_over_the_known_words(tmp_path: Path) -> None:
    assert means(tmp_path, "cat, dog!", "Cat CAT unknown", "unknown", "in Paris") == [[0.5, 1], [1, 0], [0, 0], [3, 4]]


def test_of_vectors_of_length_one(tmp_path: Path) -> None:
    assert np.allclose(means(tmp_path, "dog Paris", unit=True), [[0.3, 0.9]])


def test_of_the_first_words_only(tmp_path: Path) -> None:
    assert means(tmp_path, "cat dog dog dog", length=1) == [[1, 0]]


def test_chinese_is_cut_into_the_longest_known_words(tmp_path: Path) -> None:
    assert words("\u5c0f\u732b\u732bcat", TABLE) == ["\u5c0f\u732b", "\u732b", "cat"]
    assert means(tmp_path, "\u5c0f\u732b", "\u732b\u732b") == [[0, 7], [5, 0]]


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("en", ["The history of the city and its people", "what it was to be young"]),
        ("es", ["La historia de la ciudad y de los que viven en ella", "lo que es más"]),
        ("fr", ["L'histoire de la ville et des gens qui y vivent", "ce que dans la vie on ne dit pas"]),
        ("zh", ["\u57ce\u5e02\u7684\u5386\u53f2\u548c\u4eba"]),
        ("hi", ["\u0936\u0939\u0930 \u0915\u093e \u0907\u0924\u093f\u0939\u093e\u0938"]),
        (None, ["Die Geschichte einer Stadt und ihrer Menschen"]),
        (None, ["12 34", ""]),
        (None, []),
    ],
)
def test_languages_are_told_apart(language: str | None, texts: list[str]) -> None:
    assert detect(texts) == language
