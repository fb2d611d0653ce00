"""Where each word's vector lies in a table, so that a table of gigabytes is gone through once and then asked for words.

The index takes 16 bytes a word, and 24 more while it is made; vectors stay in the file. Words are known by a hash
of 64 bits: in spaCy's tables that of spaCy (https://spacy.io/api/stringstore), else one of this process's, and then the
word itself is looked at in the file.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import BinaryIO

import numpy as np

from modelyard.runner.context import InputError
from modelyard.word_tables import LONGEST_LINE, LONGEST_WORD, MAX_WORDS, WordTable

Progress = Callable[[int], None]

BLOCK = 1 << 22
"""Bytes of a table that are read at once."""

_SYMBOLS = """
PERSON NORP FACILITY ORG GPE LOC PRODUCT EVENT WORK_OF_ART LANGUAGE LAW DATE TIME PERCENT MONEY QUANTITY ORDINAL
CARDINAL acomp advcl advmod agent amod appos attr aux auxpass cc ccomp complm conj cop csubj csubjpass dep det dobj
expl hmod hyph infmod intj iobj mark meta neg nmod nn npadvmod nsubj nsubjpass num number oprd obj obl parataxis
partmod pcomp pobj poss possessive preconj prep prt punct quantmod relcl rcmod root xcomp acl
"""
SYMBOLS = {name: number for number, name in enumerate(_SYMBOLS.split(), 380)}
"""Words that spaCy numbers by itself (`spacy/symbols.pxd`), so that they have no hash."""


class WordIndex:
    """The words of a table. Raises InputError if the file is not what its beginning says."""

    def __init__(self, table: WordTable, progress: Progress) -> None:
        self._table = table
        entries = np.fromiter(_told(_ENTRIES[table.form](table), table, progress), [("key", "u8"), ("place", "i8")])
        order = np.argsort(entries["key"], kind="stable")
        self._keys, self._places = entries["key"][order], entries["place"][order]

    def vectors(self, words: Collection[str]) -> tuple[dict[str, int], np.ndarray]:
        """The row of each word that the table has, and the rows, float32 `[num_known, size]`.

        Of a word that occurs twice it is the first.
        """
        key = spacy_key if self._table.form == "spacy" else _key
        keys = np.fromiter((key(word) for word in words), np.uint64, len(words))
        first, last = np.searchsorted(self._keys, keys, "left"), np.searchsorted(self._keys, keys, "right")
        spans = zip(words, first.tolist(), last.tolist(), strict=True)
        places = sorted((int(self._places[at]), word) for word, start, end in spans for at in range(start, end))
        rows: dict[str, int] = {}
        found: list[np.ndarray] = []
        with self._table.path.open("rb") as file:
            for place, word in places:
                if word not in rows and (vector := self._vector(file, place, word)) is not None:
                    rows[word] = len(found)
                    found.append(vector)
        return rows, np.array(found, np.float32).reshape(-1, self._table.size)

    def _vector(self, file: BinaryIO, place: int, word: str) -> np.ndarray | None:
        """None if it is another word's."""
        file.seek(place)
        try:
            vector = _READERS[self._table.form](file, word.encode(), self._table.size)
        except ValueError:
            raise InputError(f"{_where(self._table, place)}: holds what is no number") from None
        if vector is not None and (len(vector) != self._table.size or not np.isfinite(vector).all()):
            reason = f"has {len(vector)} numbers, where {self._table.size} finite ones are needed"
            raise InputError(f"{_where(self._table, place)}: {reason}")
        return vector


def murmur64(data: bytes, seed: int = 1) -> int:
    """MurmurHash64A of Austin Appleby, as spaCy hashes words. https://github.com/aappleby/smhasher"""
    factor, mask = 0xC6A4A7935BD1E995, (1 << 64) - 1
    result = seed ^ (len(data) * factor & mask)
    whole = len(data) & ~7
    for at in range(0, whole, 8):
        block = int.from_bytes(data[at : at + 8], "little") * factor & mask
        result = (result ^ ((block ^ block >> 47) * factor & mask)) * factor & mask
    if whole < len(data):
        result = (result ^ int.from_bytes(data[whole:], "little")) * factor & mask
    result = (result ^ result >> 47) * factor & mask
    return result ^ result >> 47


def spacy_key(word: str) -> int:
    """What spaCy knows a word by."""
    return SYMBOLS.get(word) or murmur64(word.encode())


def _key(word: str | bytes) -> int:
    return hash(word if isinstance(word, bytes) else word.encode()) & (1 << 64) - 1


def _told(entries: Iterator[tuple[int, int]], table: WordTable, progress: Progress) -> Iterator[tuple[int, int]]:
    for number, entry in enumerate(entries):
        if number % 100_000 == 0:
            progress(0)
        if number == MAX_WORDS:
            raise InputError(f"{table.path.name}: has more than {MAX_WORDS} words")
        yield entry


def _of_text(table: WordTable) -> Iterator[tuple[int, int]]:
    with table.path.open("rb") as file:
        place = file.seek(table.begin)
        for line in iter(partial(file.readline, LONGEST_LINE), b""):
            if len(line) == LONGEST_LINE:
                raise InputError(f"{_where(table, place)}: is longer than {LONGEST_LINE} bytes")
            yield _key(line.partition(b" ")[0]), place
            place += len(line)


def _of_binary(table: WordTable) -> Iterator[tuple[int, int]]:
    width = 4 * table.size
    with table.path.open("rb") as file:
        start, at, held = file.seek(table.begin), 0, b""
        for _ in range(table.count):
            at += held[at : at + 1] == b"\n"  # word2vec's own program ends each vector by one
            while (end := held.find(b" ", at, at + LONGEST_WORD)) < 0 or end + 1 + width > len(held):
                more = file.read(max(BLOCK, width))
                if not more or (end < 0 and len(held) - at >= LONGEST_WORD):
                    raise InputError(f"{_where(table, start + at)}: is no word with {table.size} numbers")
                start, held, at = start + at, held[at:] + more, 0
                at += held[:1] == b"\n"
            yield _key(held[at:end]), start + at
            at = end + 1 + width
        if held[at:] + file.read(2) not in (b"", b"\n"):
            raise InputError(f"{_where(table, start + at)}: there is more than {table.count} words")


def _of_spacy(table: WordTable) -> Iterator[tuple[int, int]]:
    import msgpack

    keys = table.path.with_name("key2row")
    try:
        rows = msgpack.unpackb(keys.read_bytes(), strict_map_key=False)
        if not isinstance(rows, Mapping) or not all(type(key) is int and type(row) is int for key, row in rows.items()):
            raise ValueError("it is no map of numbers")
    except (ValueError, msgpack.UnpackException) as error:
        raise InputError(f"{keys}: cannot be read: {str(error)[:200]}") from None
    for key, row in rows.items():
        if not (0 <= key < 1 << 64 and row < table.count):
            raise InputError(f"{keys}: the row {row} is none of the {table.count} that there are")
        if row >= 0:
            yield key, table.begin + row * table.size * 4


def _line(file: BinaryIO, word: bytes, size: int) -> np.ndarray | None:
    """None also for a word with a space in it, which some tables have."""
    name, _, numbers = file.readline(LONGEST_LINE).partition(b" ")
    fields = numbers.split()
    return None if name != word or len(fields) > size else np.array(fields).astype(np.float32)


def _named(file: BinaryIO, word: bytes, size: int) -> np.ndarray | None:
    return _row(file, word, size) if file.read(len(word) + 1) == word + b" " else None


def _row(file: BinaryIO, _: bytes, size: int) -> np.ndarray:
    return np.frombuffer(file.read(4 * size), "<f4")


_ENTRIES = {"text": _of_text, "binary": _of_binary, "spacy": _of_spacy}
_READERS = {"text": _line, "binary": _named, "spacy": _row}


def _where(table: WordTable, place: int) -> str:
    """The file, and the line of a text or else the byte."""
    if table.form != "text":
        return f"{table.path.name}, byte {place}"
    with table.path.open("rb") as file:
        lines = sum(file.read(min(BLOCK, place - at)).count(b"\n") for at in range(0, place, BLOCK))
    return f"{table.path.name}, line {lines + 1}"
