import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from modelyard.workloads.graph.training.node_table import NodeTable, RowFile

CPU = torch.device("cpu")


@pytest.mark.parametrize("mapped", [False, True])
def test_a_step_is_that_of_sparse_adam(tmp_path: Path, mapped: bool) -> None:
    table = NodeTable(50, 4, 0, CPU, tmp_path / "table" if mapped else None)
    theirs = torch.nn.Embedding.from_pretrained(table.copy(), freeze=False, sparse=True)
    optimizer = torch.optim.SparseAdam(theirs.parameters(), lr=0.1)
    random = np.random.default_rng(0)
    for _ in range(20):
        rows = torch.from_numpy(random.choice(50, 9, replace=False))
        target = torch.randn(9, 4)
        optimizer.zero_grad()
        (theirs(rows) - target).square().sum().backward()
        optimizer.step()
        (table.rows(rows) - target).square().sum().backward()
        table.step(0.1)
    torch.testing.assert_close(table.copy(), theirs.weight.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_copy_does_not_change_with_later_steps(tmp_path: Path, mapped: bool) -> None:
    table = NodeTable(5, 2, 0, CPU, tmp_path / "table" if mapped else None)
    before = table.copy()
    kept = before.clone()
    table.rows(torch.tensor([1, 3])).sum().backward()
    table.step(0.5)
    torch.testing.assert_close(before, kept, rtol=0, atol=0)
    changed = (table.copy() != kept).any(1)
    assert changed.tolist() == [False, True, False, True, False]


def test_what_is_read_without_gradients_is_not_changed() -> None:
    table = NodeTable(5, 2, 0, CPU, None)
    before = table.copy()
    with torch.no_grad():
        table.rows(torch.arange(5))
    table.step(1.0)
    torch.testing.assert_close(table.copy(), before, rtol=0, atol=0)


def test_rows_in_a_file_are_those_in_memory(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    files = RowFile(5000, 3), RowFile(5000, 3, tmp_path / "rows")
    for _ in range(5):
        rows = random.choice(5000, 2500, replace=False)
        values = random.random((2500, 3), np.float32)
        for file in files:
            file.write(rows, values)
        np.testing.assert_array_equal(files[1].read(rows), values)
    np.testing.assert_array_equal(files[0].array, files[1].array)


_TRAIN = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from modelyard.workloads.graph.training.node_table import NodeTable
torch.set_num_threads(1)
nodes, random = int(sys.argv[1]), np.random.default_rng(0)
table = NodeTable(nodes, 64, 0, torch.device("cpu"), Path(sys.argv[2]))
for _ in range(10):
    rows = torch.from_numpy(np.unique(random.integers(0, nodes, 2000)))
    table.rows(rows).square().sum().backward()
    table.step(0.01)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    def peak(nodes: int) -> int:
        command = [sys.executable, "-c", _TRAIN, str(nodes), str(tmp_path / str(nodes))]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)

    table_mb = 1_000_000 * 64 * 4 // 2**20
    assert peak(1_000_000) - peak(10_000) < table_mb
