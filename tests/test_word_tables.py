import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.model_folder import BadModel
from modelyard.word_tables import WordTable, find_table
from tests.encoder_folders import write_binary, write_spacy, write_vectors

VECTORS: dict[str, list[float]] = {"cat": [1, 2], "dog": [3, 4]}


@pytest.mark.parametrize(("header", "begin"), [(True, 4), (False, 0)])
def test_a_text(tmp_path: Path, header: bool, begin: int) -> None:
    table = find_table(write_vectors(tmp_path, VECTORS, header))
    assert table == WordTable("text", tmp_path / "words.vec", 2, begin)
    assert table.files == (tmp_path / "words.vec",)


@pytest.mark.parametrize("end", ["\n", ""])
def test_the_binary_form_of_word2vec(tmp_path: Path, end: str) -> None:
    assert find_table(write_binary(tmp_path, VECTORS, end)) == WordTable("binary", tmp_path / "words.bin", 2, 4, 2)


def test_a_text_beside_a_binary_form_is_taken(tmp_path: Path) -> None:
    (tmp_path / "words.bin").write_bytes(b"whatever")
    assert find_table(write_vectors(tmp_path, VECTORS)).form == "text"


def test_those_of_spacy_in_the_model_or_the_package(tmp_path: Path) -> None:
    write_spacy(tmp_path / "model-3.8.0", VECTORS)
    for folder in (tmp_path, tmp_path / "model-3.8.0"):
        table = find_table(folder)
        assert (table.form, table.size, table.count, table.begin) == ("spacy", 2, 2, 128)
        assert [file.name for file in table.files] == ["vectors", "key2row"]


def array(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


def files(**contents: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, data in contents.items():
            (folder / name.replace("_", ".")).write_bytes(data)

    return write


def spacy(vectors: bytes | None = None, **settings: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_spacy(folder, **settings)
        if vectors is not None:
            (folder / "vocab" / "vectors").write_bytes(vectors)

    return write


def spacy_without_keys(folder: Path) -> None:
    (write_spacy(folder) / "vocab" / "key2row").unlink()


FLOATS = "{'descr': '%s', 'fortran_order': False, 'shape': (%s)}"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder.rmdir(), "there is no such folder"),
        (lambda _: None, r"has 0 files of the ending \.vec, \.txt or \.bin, where one is needed"),
        (files(a_vec=b"a 1\nb 2\n", b_vec=b"a 1\nb 2\n"), "has 2 files of the ending .vec or .txt"),
        (files(a_vec=b""), "line 2: is no word with its vector"),
        (files(a_vec=b"PK\x03\x04\n\x00\x01\x02"), "line 2: is no word with its vector"),
        (files(a_vec=b"x" * (3 << 20)), "line 2: is no word with its vector"),
        (files(a_bin=struct.pack("<ii", 793712314, 12)), r"fastText's own \.bin .*; take the \.vec"),
        (files(a_bin=b"\x80\x04\x95 pickled\n"), "does not begin with a line of two sizes"),
        (files(a_bin=b"2 2" + b" " * 100 + b"\n"), "does not begin with a line of two sizes"),
        (files(a_bin=b"2 2\ncat " + b"\0" * 8 + b"dog "), "20 bytes are not 2 words of 2 numbers"),
        (files(a_bin=b"1 2\ncat " + b"\0" * 5000), "bytes are not 1 words of 2 numbers"),
        (files(a_bin=b"0 300\n"), "has no word vectors"),
        (files(a_bin=b"9999999999 300\n"), "9999999999 words of 300 numbers are too many"),
        (files(a_bin=b"1 99999999\n"), "1 words of 99999999 numbers are too many"),
        (spacy(mode="floret"), "vectors of the mode floret are not read"),
        (spacy_without_keys, "key2row: there is no such file"),
        (spacy(b"cnumpy\n"), "is no array of NumPy"),
        (spacy(array("__import__('os').getcwd()")), "is no array of NumPy"),
        (spacy(array("(" * 9000)), "is no array of NumPy"),
        (spacy(array("{'descr': '<f4'}")), "is no array of NumPy"),
        (spacy(array(FLOATS % ("|O", "1, 2"), b"\x80\x04.")), r"numbers of the kind \|O, where rows of float32"),
        (spacy(array(FLOATS % ("<f4", "0, 0"))), "has no word vectors, as spaCy's packages that end in _sm"),
        (spacy(array(FLOATS % ("<f4", "2, 3"), b"\0" * 20)), "bytes are not 2 rows of 3 numbers"),
    ],
)
def test_what_is_no_table_of_vectors(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    (tmp_path / "words").mkdir()
    make(tmp_path / "words")
    with pytest.raises(BadModel, match=reason):
        find_table(tmp_path / "words")
