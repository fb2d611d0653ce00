from types import SimpleNamespace

import pytest
import torch

from modelyard.workloads.language import memory
from modelyard.workloads.language.memory import LEAST, batch_tokens

CPU = torch.device("cpu")
TINY = SimpleNamespace(num_hidden_layers=4, hidden_size=192, intermediate_size=512)
BILLION = SimpleNamespace(num_hidden_layers=16, hidden_size=2048, intermediate_size=8192)


@pytest.mark.parametrize(
    ("config", "gigabytes", "cores", "tokens"), [(TINY, 8, 1, 4096), (BILLION, 64, 8, 4096), (BILLION, 1, 8, LEAST)]
)
def test_a_batch_fits_into_half_of_the_memory(
    monkeypatch: pytest.MonkeyPatch, config: SimpleNamespace, gigabytes: int, cores: int, tokens: int
) -> None:
    monkeypatch.setattr(memory.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(memory.os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else gigabytes << 18)
    assert batch_tokens(config, CPU, cores) == tokens


def test_memory_is_shared_as_cores_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(memory.os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 32 << 18)
    assert batch_tokens(BILLION, CPU, 2) == pytest.approx(batch_tokens(BILLION, CPU, 4) / 2, abs=1)
