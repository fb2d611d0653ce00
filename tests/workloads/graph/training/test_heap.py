import subprocess
import sys

_FAULTS = """
import resource, sys
import torch
from modelyard.workloads.graph.training.heap import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
torch.set_num_threads(1)
def step():
    x = torch.ones(12 << 20)
    y = x * 2
    return float(((x + y) * y).sum())
for _ in range(6):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_memory_that_was_freed_is_taken_again_without_page_faults() -> None:
    def faults(how: str) -> int:
        command = [sys.executable, "-c", _FAULTS, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)

    assert 10 * faults("keep") < faults("give back")
