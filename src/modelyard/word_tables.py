"""Tables of word vectors in folders: what form they have, and whether their sizes are true. Nothing is unpickled.

- text (`.vec`, `.txt`), as fastText, word2vec and GloVe write it: a word and its numbers on each line;
- word2vec's binary form (`.bin`), also gensim's: a line with two sizes, then each word, a space and its float32s;
- spaCy's packages: `vocab/vectors`, an array of NumPy, and `vocab/key2row`, whose row is a word's by its hash.

https://fasttext.cc/docs/en/crawl-vectors.html https://code.google.com/archive/p/word2vec https://spacy.io/api/vectors
"""

import ast
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from modelyard.model_folder import BadModel, read_json

TEXT, BINARY = (".vec", ".txt"), ".bin"
LONGEST_LINE = 1 << 20
"""Bytes of a word with its numbers as text."""
LONGEST_WORD = 1 << 10
"""Bytes of a word in the binary form."""
MAX_WORDS = 1 << 26
"""Words of a table: forty times as many as fastText's have."""

_FASTTEXT = struct.pack("<i", 793712314)
"""How a `.bin` of fastText begins."""
_LONGEST_HEADER = 10_000
"""Bytes of an array's header; NumPy's own limit."""
_LARGEST_KEYS = 1 << 30


@dataclass(frozen=True)
class WordTable:
    """A table of word vectors.

    path: the file of the vectors. size: numbers of a word. begin: bytes before the first. count: how many vectors the
    file tells of, 0 for text.
    """

    form: Literal["text", "binary", "spacy"]
    path: Path
    size: int
    begin: int
    count: int = 0

    @property
    def files(self) -> tuple[Path, ...]:
        """All that the vectors depend on."""
        return (self.path, self.path.with_name("key2row")) if self.form == "spacy" else (self.path,)


def find_table(folder: Path) -> WordTable:
    """The one table of word vectors in a folder; BadModel unless there is one whose sizes are true."""
    if not folder.is_dir():
        raise BadModel(f"{folder}: there is no such folder; give the one that has the word vectors")
    of_spacy = [*folder.glob("vocab/vectors"), *folder.glob("*/vocab/vectors")]
    if of_spacy:
        return _of_spacy(_only(of_spacy, folder, "vocab/vectors of spaCy"))
    files = [file for file in folder.iterdir() if file.is_file()]
    if texts := [file for file in files if file.suffix in TEXT]:
        return _of_text(_only(texts, folder, "files of the ending .vec or .txt"))
    binaries = [file for file in files if file.suffix == BINARY]
    return _of_binary(_only(binaries, folder, "files of the ending .vec, .txt or .bin"))


def _only(found: list[Path], folder: Path, what: str) -> Path:
    if len(found) != 1:
        raise BadModel(f"{folder}: has {len(found)} {what}, where one is needed")
    return found[0]


def _of_text(path: Path) -> WordTable:
    with path.open("rb") as file:
        lines = [file.readline(LONGEST_LINE) for _ in range(2)]
    first, second = (line.split() for line in lines)
    if len(second) < 2 or not _is_number(second[-1]):
        raise BadModel(f"{path}, line 2: is no word with its vector, numbers with spaces between")
    if len(first) == 2 and all(field.isdigit() for field in first):
        return WordTable("text", path, int(first[1]), len(lines[0]))
    return WordTable("text", path, len(second) - 1, 0)


def _of_binary(path: Path) -> WordTable:
    with path.open("rb") as file:
        line = file.readline(64)
    if line.startswith(_FASTTEXT):
        reason = "fastText's own .bin makes vectors out of parts of words, which is not read here"
        raise BadModel(f"{path}: {reason}; take the .vec of the same name")
    fields = line.split()
    if len(fields) != 2 or not line.endswith(b"\n") or not all(field.isdigit() for field in fields):
        raise BadModel(f"{path}: does not begin with a line of two sizes, as word2vec's binary form does")
    count, size = map(int, fields)
    _check_sizes(path, count, size)
    held, least = path.stat().st_size - len(line), count * (2 + 4 * size)
    if not least <= held <= least + count * LONGEST_WORD:
        raise BadModel(f"{path}: {held + len(line)} bytes are not {count} words of {size} numbers; copy it again")
    return WordTable("binary", path, size, len(line), count)


def _of_spacy(path: Path) -> WordTable:
    settings = read_json(path.parent, path.name + ".cfg", "") if path.with_name("vectors.cfg").is_file() else {}
    if (mode := settings.get("mode", "default")) != "default":
        raise BadModel(f"{path}.cfg: vectors of the mode {str(mode)[:80]} are not read, only spaCy's default ones")
    with path.open("rb") as file:
        count, size = _shape(path, file)
        begin = file.tell()
    _check_sizes(path, count, size)
    if path.stat().st_size != begin + count * size * 4:
        raise BadModel(f"{path}: {path.stat().st_size} bytes are not {count} rows of {size} numbers; copy it again")
    keys = path.with_name("key2row")
    if not keys.is_file() or keys.stat().st_size > _LARGEST_KEYS:
        raise BadModel(f"{keys}: there is no such file, or it is too large; spaCy 2 and 3 write it")
    return WordTable("spacy", path, size, begin, count)


def _shape(path: Path, file: BinaryIO) -> tuple[int, int]:
    """Of a NumPy array of float32 in rows; the file is left where its numbers begin. See `numpy.lib.format`."""
    start = file.read(8)
    wide = start[6:7] != b"\x01"
    length = int.from_bytes(file.read(4 if wide else 2), "little")
    try:
        if not start.startswith(b"\x93NUMPY") or length > _LONGEST_HEADER:
            raise ValueError
        header: dict[str, Any] = ast.literal_eval(file.read(length).decode("latin-1"))
        kind, in_columns, shape = header["descr"], header["fortran_order"], header["shape"]
        rows, columns = (int(number) for number in shape)
    except (ValueError, TypeError, LookupError, SyntaxError, MemoryError, RecursionError):
        raise BadModel(f"{path}: is no array of NumPy with rows and columns; copy it again") from None
    if kind != "<f4" or in_columns:
        raise BadModel(f"{path}: has numbers of the kind {str(kind)[:80]}, where rows of float32 are needed")
    return rows, columns


def _check_sizes(path: Path, count: int, size: int) -> None:
    if count < 1 or size < 1:
        raise BadModel(f"{path}: has no word vectors, as spaCy's packages that end in _sm have none")
    if count > MAX_WORDS or size * 4 > LONGEST_LINE:
        raise BadModel(f"{path}: {count} words of {size} numbers are too many; {MAX_WORDS} words are read at most")


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
