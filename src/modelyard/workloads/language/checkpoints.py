"""Where a training run stands, on disk: a folder for each checkpoint, whole or not there.

Weights, the optimizer's state and the random number generators are tensors in one safetensors file; all else is JSON.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

LONGEST_PAUSE = 10.0
"""Seconds of work that a kill may cost, unless writing takes so long that more is saved by writing less often."""
SHARE = 0.05
"""The share of the time that may go into writing."""
KEPT = 2


class Checkpoint(NamedTuple):
    """tensors: by name. document: JSON."""

    step: int
    tensors: Mapping[str, Tensor]
    document: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one run; the newest two stay."""

    def __init__(self, folder: Path, pause: float = LONGEST_PAUSE) -> None:
        self._folder = folder
        self._pause = self._next_pause = pause
        self._last = time.monotonic()
        folder.mkdir(exist_ok=True)

    @property
    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.monotonic() - self._last >= self._next_pause

    def write(self, checkpoint: Checkpoint) -> None:
        """Writes one beside the others, renames it to its place, and deletes those that are no longer needed."""
        began = time.monotonic()
        half = self._folder / ".half"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        save_file(
            {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, half / "tensors.safetensors"
        )
        document = {"step": checkpoint.step, "document": checkpoint.document}
        (half / "document.json").write_text(json.dumps(document))
        os.rename(half, self._folder / f"{checkpoint.step:09}")
        for old in self._newest_first()[KEPT:]:
            shutil.rmtree(old)
        self._last = time.monotonic()
        self._next_pause = max(self._pause, (self._last - began) / SHARE)

    def newest(self) -> Checkpoint | None:
        """The newest that can be read; those that cannot are deleted, and named in the log."""
        for folder in self._newest_first():
            try:
                saved = json.loads((folder / "document.json").read_bytes())
                return Checkpoint(saved["step"], load_file(folder / "tensors.safetensors"), saved["document"])
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                logging.warning("the checkpoint of step %s is torn (%s); an older one is taken", folder.name, error)
                shutil.rmtree(folder)
        return None

    def _newest_first(self) -> list[Path]:
        return sorted(self._folder.glob("[0-9]*"), reverse=True)
