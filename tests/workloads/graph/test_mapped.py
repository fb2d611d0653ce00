import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import save_file

from modelyard.workloads.graph.mapped import map_arrays, write_arrays

ARRAYS = {
    "edges": np.arange(10, dtype=np.int64).reshape(2, 5),
    "split": np.array([1, 2, 3], np.uint8),
    "features": np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32),
    "none": np.zeros((0, 4), np.float32),
    "own": np.array([True, False]),
    "indices": np.arange(3, dtype=np.int32),
}


def test_mapped_arrays_are_those_that_were_saved(tmp_path: Path) -> None:
    save_file(ARRAYS, tmp_path / "a.safetensors", {"note": "kept apart"})
    found = map_arrays(tmp_path / "a.safetensors")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
        assert torch.from_numpy(found[name]).shape == array.shape


def test_what_is_written_to_an_array_does_not_reach_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(ARRAYS, path)
    before = path.read_bytes()
    map_arrays(path)["edges"][:] = 0
    assert path.read_bytes() == before
    np.testing.assert_array_equal(map_arrays(path)["edges"], ARRAYS["edges"])


def test_a_file_whose_header_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    header = json.dumps({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(SafetensorError):
        map_arrays(path)


def test_a_file_may_be_read_by_whom_others_of_ours_may(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_arrays({"a": np.arange(3)}, tmp_path / "arrays")
    finally:
        os.umask(before)
    assert (tmp_path / "arrays").stat().st_mode & 0o777 == 0o640
    assert map_arrays(tmp_path / "arrays")["a"].tolist() == [0, 1, 2]
