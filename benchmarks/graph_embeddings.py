"""Learnable embeddings of ten million nodes in a mapped file: seconds a step, and the memory of the process.

A step reads and changes the rows of 20,000 nodes by Adam's rule; 64 channels, so the table and its two moments are 7.7
GB. Beside it the same with a table in memory, `torch.nn.Embedding` with `SparseAdam`, at a tenth of the size. Each
side runs in a process of its own; memory is its highest resident set.
"""

import json
import subprocess
import sys
import tempfile

from rounds import Bar, Report, main

CHANNELS, ROWS = 64, 20_000
_MEASURE = """
import json, resource, sys, time
from pathlib import Path
import numpy as np, torch
from modelyard.workloads.graph.training.node_table import NodeTable
torch.set_num_threads(1)
side, nodes, channels, rows, steps, folder = sys.argv[1], *map(int, sys.argv[2:6]), Path(sys.argv[6])
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
random, began = np.random.default_rng(0), time.perf_counter()
if side == "mapped":
    table = NodeTable(nodes, channels, 0, torch.device("cpu"), folder / "table")
else:
    table = torch.nn.Embedding(nodes, channels, sparse=True)
    optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.01)
start = time.perf_counter() - began
def step():
    index = torch.from_numpy(np.unique(random.integers(0, nodes, rows)))
    if side == "mapped":
        table.rows(index).square().sum().backward()
        table.step(0.01)
    else:
        optimizer.zero_grad()
        table(index).square().sum().backward()
        optimizer.step()
step()
began = time.perf_counter()
for _ in range(steps):
    step()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"start s": start, "ms a step": (time.perf_counter() - began) / steps * 1e3,
    "MB": (peak - base) / 1024}))
"""


def run(quick: bool) -> Report:
    """Measures each side once."""
    nodes, steps = (200_000, 3) if quick else (10_000_000, 20)
    report = Report(f"Embeddings, {CHANNELS} channels, {ROWS:,} rows a step")
    sides = {f"mapped, {nodes:,} nodes": ("mapped", nodes), f"in memory, {nodes // 10:,}": ("memory", nodes // 10)}
    for name, (side, count) in sides.items():
        report.measure({name: lambda side=side, count=count: measured(side, count, steps)}, 1)
    table = nodes * CHANNELS * 4 / 2**20
    megabytes = report.medians[f"mapped, {nodes:,} nodes"]["MB"]
    if not quick:
        report.bars.append(Bar("memory over the size of the table", megabytes / table, high=0.25))
    return report


def measured(side: str, nodes: int, steps: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        numbers = [str(number) for number in (nodes, CHANNELS, ROWS, steps)]
        command = [sys.executable, "-c", _MEASURE, side, *numbers, folder]
        found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


if __name__ == "__main__":
    main(run, __doc__)
