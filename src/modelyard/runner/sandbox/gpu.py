"""NVIDIA's GPUs on this machine, as the files by which CUDA reaches them. The libraries for it are the system's.

https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/
"""

import os
import re
import stat
from itertools import takewhile
from pathlib import Path

DEVICES = Path("/dev")
_GPU = re.compile(r"nvidia[0-9]+")
_NAMED = re.compile(r"\s*\w")
"""A number or an id, in CUDA_VISIBLE_DEVICES: not -1, and not nothing."""
_DRIVER = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")


def devices() -> list[Path]:
    """The files that a program needs for all of them; none where there is no GPU."""
    gpus = _gpus()
    return [*gpus, *filter(_is_device, (DEVICES / name for name in _DRIVER))] if gpus else []


def count() -> int:
    """How many a program may use: all, or what CUDA_VISIBLE_DEVICES names up to the first that is none."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = len(_gpus())
    return there if visible is None else min(there, len(list(takewhile(_NAMED.match, visible.split(",")))))


def _gpus() -> list[Path]:
    return sorted(path for path in DEVICES.iterdir() if _GPU.fullmatch(path.name) and _is_device(path))


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.lstat().st_mode)
    except OSError:
        return False
