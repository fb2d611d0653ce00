"""Arrays of a safetensors file, mapped into memory: all processes that read it share its pages, and none copies it."""

import json
import mmap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

_DTYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
}


def write_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Writes a file for whoever may read others of ours; the library itself (0.8) makes it its owner's alone."""
    path.touch()
    mode = path.stat().st_mode
    save_file(dict(arrays), path)
    path.chmod(mode)


def map_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name. A page that a process writes to is its own from then on; the file never changes.

    Raises SafetensorError where the file is not one, FileNotFoundError where there is none.
    """
    with safe_open(path, framework="np"):  # checks the header: its length, and that arrays fill the file one by one
        pass
    with path.open("rb") as file:
        begin = 8 + int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(begin - 8))
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    header.pop("__metadata__", None)
    arrays = {}
    for name, one in header.items():
        dtype, count = np.dtype(_DTYPES[one["dtype"]]), int(np.prod(one["shape"], dtype=np.int64))
        offset = begin + one["data_offsets"][0]
        flat = np.frombuffer(mapped, dtype, count, offset) if count else np.zeros(0, dtype)
        arrays[name] = flat.reshape(one["shape"])
    return arrays
