"""Channels as named pipes: Pipe mode, `/opt/ml/input/data/<channel>_<epoch>`, from epoch 0 on.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

import os
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

POLL_SECONDS = 0.02


class Pipes:
    """Feeds pipes for a `with` statement: whoever opens one reads all files of its channel, one after the other.

    The next epoch's pipe is there before this one's has been read. Leave it when no reader lives any more.
    """

    def __init__(self, folder: Path, channels: Sequence[tuple[str, Sequence[Path]]]) -> None:
        self._folder = folder
        self._ended = threading.Event()
        for name, _ in channels:
            self._make(name, 0)
        self._threads = [threading.Thread(target=self._feed, args=channel, daemon=True) for channel in channels]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _make(self, name: str, epoch: int) -> Path:
        path = self._folder / f"{name}_{epoch}"
        os.mkfifo(path)
        path.chmod(0o644)
        return path

    def _feed(self, name: str, files: Sequence[Path]) -> None:
        for epoch in count():
            if (descriptor := self._opened(self._folder / f"{name}_{epoch}")) is None:
                return
            self._make(name, epoch + 1)
            with suppress(BrokenPipeError), open(descriptor, "wb", buffering=0) as pipe:
                for path in files:
                    with path.open("rb") as file:
                        shutil.copyfileobj(file, pipe, 1 << 20)

    def _opened(self, path: Path) -> int | None:
        """The pipe once somebody reads it; None when the end came first."""
        while not self._ended.is_set():
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # ENXIO: nobody reads yet
                time.sleep(POLL_SECONDS)
                continue
            os.set_blocking(descriptor, True)
            return descriptor
        return None
