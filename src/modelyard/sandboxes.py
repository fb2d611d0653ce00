"""What this machine lacks to keep users' programs apart. Sandboxes belong to tasks: a process of its own tries them."""

import asyncio
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

TRIAL = (sys.executable, "-m", "modelyard.runner.sandbox")
"""Prints what it found; with `--first` no more than it takes to find one that works."""
TITLES = {"bubblewrap": "bubblewrap", "podman": "Podman"}
NVIDIA, AMD = Path("/dev/nvidia0"), Path("/dev/kfd")

_log = logging.getLogger(__name__)


async def tell(network: bool, gpu: bool) -> None:
    """Says in the log what isolates custom models' scripts and containers here, and what it cannot do.

    network, gpu: whether scripts have the machine's.
    """
    process = await asyncio.create_subprocess_exec(*TRIAL, "--first", stdout=asyncio.subprocess.PIPE)
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    found = json.loads(said) if process.returncode == 0 else {}
    by = [title for name, title in TITLES.items() if name in found and found[name] is None]
    if by:
        _log.info("custom models' scripts and containers are isolated by %s", by[0])
    for sentence in lacking(found, network, gpu):
        _log.warning("%s", sentence)


def lacking(found: Mapping[str, Any], network: bool, gpu: bool) -> Iterator[str]:
    """What a sandbox cannot do, a sentence each. found: what the trial printed; empty if it failed."""
    reasons = [str(found.get(name, "the trial failed")) for name in TITLES if found.get(name, "") is not None]
    if len(reasons) == len(TITLES):
        yield (
            "nothing can isolate custom models' scripts and containers here, so that jobs with them will fail: "
            + "; ".join(dict.fromkeys(reasons))
        )
        return
    if not found["kernel"]:
        yield (
            "the kernel does not hold custom models' scripts and containers to their memory here, since we may make no "
            "control group: they are looked at 20 times a second, and may use more in between"
        )
    if NVIDIA.exists() and gpu:
        yield (
            "custom models' scripts share this machine's GPUs, of whose memory each may take all "
            "(--no-custom-model-gpu keeps them away); containers see none"
        )
    elif NVIDIA.exists() or AMD.exists():
        yield "custom models' scripts and containers see no GPU"
    if network:
        yield "custom models' scripts reach what this machine reaches, this server included (--custom-model-network)"
