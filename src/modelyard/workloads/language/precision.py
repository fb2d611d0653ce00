"""Which numbers a machine computes with: bfloat16 where it has instructions for it."""

from functools import cache
from pathlib import Path

import torch


@cache
def has_bfloat16(device: str) -> bool:
    """Whether bfloat16 is faster than float32 on `cpu` or `cuda` (without the instructions it is slower, measured)."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return " avx512_bf16" in flags or " amx_bf16" in flags


def autocast(device: str) -> torch.autocast:
    """Matrix products in bfloat16 where that is faster; weights, sums and norms stay as they are."""
    return torch.autocast(device, torch.bfloat16, enabled=has_bfloat16(device))
