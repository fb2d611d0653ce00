"""The id maps that Neptune's notebooks and toolkit read: pickled, since that is their format. Written here, never read.

A pickle of millions of ids would need all of them in a dictionary, and as many again in the pickler's memo.
The few instructions that maps of text and numbers need are written one after another instead, and name no
class or function but NumPy's for its arrays, so that readers which refuse those accept the file.
"""

import pickle
import struct
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, BinaryIO

import numpy as np

PIECE = 1000
"""Items that a reader holds on its stack before it stores them; the pickle module's own number."""


class Items:
    """A dictionary that exists only as the items that `pairs` yields."""

    def __init__(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        self.pairs = pairs


def dump(value: Any, file: BinaryIO) -> None:
    """Pickles nested dictionaries (or `Items`), lists and tuples of text, numbers, booleans, None and arrays."""
    file.write(pickle.PROTO + b"\x03")
    _write(value, file)
    file.write(pickle.STOP)


def _write(value: Any, file: BinaryIO) -> None:
    if isinstance(value, Items | Mapping):
        pairs = iter(value.items() if isinstance(value, Mapping) else value.pairs)
        file.write(pickle.EMPTY_DICT)
        while piece := list(islice(pairs, PIECE)):
            file.write(pickle.MARK)
            for key, item in piece:
                _write(key, file)
                _write(item, file)
            file.write(pickle.SETITEMS)
    elif isinstance(value, tuple):
        file.write(pickle.MARK)
        for item in value:
            _write(item, file)
        file.write(pickle.TUPLE)
    elif isinstance(value, list):
        file.write(pickle.EMPTY_LIST + pickle.MARK)
        for item in value:
            _write(item, file)
        file.write(pickle.APPENDS)
    elif isinstance(value, np.ndarray):
        file.write(pickle.dumps(value, protocol=3)[2:-1])  # without its own PROTO and STOP; it names NumPy's classes
    else:
        file.write(_scalar(value))


def _scalar(value: Any) -> bytes:
    if isinstance(value, str):
        encoded = value.encode()
        return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded
    if value is None:
        return pickle.NONE
    if isinstance(value, bool):
        return pickle.NEWTRUE if value else pickle.NEWFALSE
    if isinstance(value, float):
        return pickle.BINFLOAT + struct.pack(">d", value)
    assert isinstance(value, int), f"no pickle instruction for {type(value)}"
    return pickle.BININT + struct.pack("<i", value)
