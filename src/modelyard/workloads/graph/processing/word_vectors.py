"""Means of word vectors, and the language of texts."""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy import sparse

from modelyard.workloads.graph.processing.word_index import WordIndex

LONGEST_WORD = 6
"""Characters of a Chinese word."""

_LITTLE = {
    "en": "the of and to in is that for it with as was on be by at this are from or an not have",
    "es": "de la que el en y los del se las por un para con una su al lo como más pero es",
    "fr": "de la le et les des en un du une que est pour qui dans par plus pas au sur ne se il",
}
LITTLE_WORDS = {language: frozenset(text.split()) for language, text in _LITTLE.items()}
_WORDS = re.compile(r"[\u4e00-\u9fff]+|[^\W_\u4e00-\u9fff]+")


def word_means(index: WordIndex, texts: Sequence[str], length: int | None, unit: bool) -> np.ndarray:
    """The mean of the vectors of the words of each text that the table has; float32 `[len(texts), size]`.

    length: how many words of a text count. unit: whether each word's vector is of length 1 before.
    """
    places, table = index.vectors(_candidates(texts))
    if unit:
        table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-12)
    texts_of, words_of = [], []
    for number, text in enumerate(texts):
        found = [place for word in words(text, places)[:length] if (place := _place(word, places)) is not None]
        texts_of += [number] * len(found)
        words_of += found
    counts = sparse.csr_array((np.ones(len(texts_of), np.float32), (texts_of, words_of)), (len(texts), len(table)))
    sums = np.asarray(counts @ table, np.float32)
    means: np.ndarray = sums / np.maximum(np.asarray(counts.sum(axis=1)).reshape(-1, 1), 1)
    return means


def words(text: str, known: Mapping[str, int]) -> list[str]:
    """The words of a text; a run of Chinese characters is cut into the longest words that are known."""
    found: list[str] = []
    for run in _WORDS.findall(text):
        found += _segmented(run, known) if "\u4e00" <= run[0] <= "\u9fff" else [run]
    return found


def detect(texts: Sequence[str]) -> str | None:
    """The language of texts, of those with fastText vectors: by script, or by the commonest little words."""
    letters = [character for text in texts for character in text if character.isalpha()]
    for language, low, high in (("zh", "\u4e00", "\u9fff"), ("hi", "\u0900", "\u097f")):
        if 2 * sum(low <= character <= high for character in letters) > len(letters):
            return language
    tokens = [word for text in texts for word in _WORDS.findall(text.lower())]
    counts = {language: sum(word in common for word in tokens) for language, common in LITTLE_WORDS.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] > 0.1 * len(tokens) else None


def _candidates(texts: Sequence[str]) -> set[str]:
    """Whatever may be a word of the texts."""
    found: set[str] = set()
    for text in texts:
        for run in _WORDS.findall(text):
            if "\u4e00" <= run[0] <= "\u9fff":
                ends = ((start, start + length) for start in range(len(run)) for length in range(1, LONGEST_WORD + 1))
                found.update(run[start:end] for start, end in ends)
            else:
                found.update((run, run.lower()))
    return found


def _segmented(run: str, known: Mapping[str, int]) -> Iterator[str]:
    start = 0
    while start < len(run):
        lengths = range(min(LONGEST_WORD, len(run) - start), 1, -1)
        length = next((length for length in lengths if run[start : start + length] in known), 1)
        yield run[start : start + length]
        start += length


def _place(word: str, places: Mapping[str, int]) -> int | None:
    return places.get(word, places.get(word.lower()))
