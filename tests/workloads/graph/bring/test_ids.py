import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from modelyard.workloads.graph.bring.ids import Hashes, Once, hashed


@given(st.lists(st.lists(st.integers(0, 30))), st.lists(st.integers(0, 40)))
def test_hashes_are_a_set_that_knows_what_repeats(pieces: list[list[int]], asked: list[int]) -> None:
    hashes = Hashes(keeps_repeated=True)
    for piece in pieces:
        hashes.add(np.array(piece, np.uint64))
        hashes.sorted()
    every = [value for piece in pieces for value in piece]
    assert len(hashes) == len(set(every))
    assert set(hashes.repeated.tolist()) == {value for value in every if every.count(value) > 1}
    assert (hashes.places(np.array(asked, np.uint64)) >= 0).tolist() == [value in every for value in asked]


@given(st.lists(st.lists(st.integers(0, 9))))
def test_each_passes_once(pieces: list[list[int]]) -> None:
    known = Hashes()
    known.add(np.arange(5, dtype=np.uint64))
    once = Once(known)
    passed = [
        v for piece in pieces for v in np.array(piece, np.uint64)[once.first(np.array(piece, np.uint64))].tolist()
    ]
    assert passed == [*dict.fromkeys(value for piece in pieces for value in piece if value < 5)]


def test_hashes_do_not_depend_on_the_piece() -> None:
    assert hashed(pl.Series(["a", "b"]))[1] == hashed(pl.Series(["b"]))[0]
