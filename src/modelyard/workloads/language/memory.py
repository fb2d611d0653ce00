"""How much of a model's work fits into memory at once."""

import os
from pathlib import Path
from typing import Any

import torch

MOST = {"cpu": 4096, "cuda": 16384}
"""Tokens beyond which a larger batch is no faster."""
LEAST = 512
SHARE = {"cpu": 0.5, "cuda": 0.3}
"""Of all memory, for what the backward pass needs; weights and their gradients lie beside it."""


def batch_tokens(config: Any, device: torch.device, cores: int) -> int:
    """How many tokens a training step takes at once: it takes more in several batches.

    config: the model's. cores: those of the task; the processor's memory is shared as its cores are. The answer is the
    same each time on one machine, whatever else it does, so that a run that goes on repeats the same sums.
    """
    numbers = 4 if device.type == "cpu" else 2
    a_token = numbers * config.num_hidden_layers * (12 * config.hidden_size + 4 * config.intermediate_size)
    room = SHARE[device.type] * _all_bytes(device, cores)
    return max(LEAST, min(MOST[device.type], int(room // a_token)))


def free_bytes(device: torch.device) -> int:
    """Memory of a device that nobody uses, or uses only to cache files."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def _all_bytes(device: torch.device, cores: int) -> float:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    share = min(1.0, cores / (os.cpu_count() or 1))
    return share * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
