"""What containers say, line by line: shown to each account as its policy allows, and kept nowhere else."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from modelyard.workloads.cleanroom.error_summary import Summary
from modelyard.workloads.cleanroom.log_policy import LogPolicy
from modelyard.workloads.cleanroom.metrics import Metrics
from modelyard.workloads.lines import Lines

MOST_BYTES = 64 * 1024 * 1024
"""Of a log; what comes after is dropped, and the log says so."""


class ContainerLog:
    """The logs of a task's containers: `folder/<account>.log` for each account, for a `with` statement.

    Each line begins with its time (UTC) and the container's name; empty lines are left out.
    """

    def __init__(
        self, folder: Path, policy: LogPolicy, accounts: Sequence[str], metrics: Metrics | None = None
    ) -> None:
        folder.mkdir()
        self._policy = policy
        self._logs = {account: _Log(folder / f"{account}.log") for account in policy.accounts(accounts)}
        self._metrics = metrics
        self._lock = threading.Lock()
        self._summaries: dict[str, Summary] = {}

    @property
    def accounts(self) -> list[str]:
        """Those that are given a log."""
        return list(self._logs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for account, log in self._logs.items():
            for name, summary in self._summaries.items():
                for line in self._policy.summary(account, summary.lines):
                    log.write(name, line)
            log.close()

    @contextmanager
    def reader(self, container: str) -> Iterator[Callable[[bytes], None]]:
        """What takes a container's output in pieces; at the end it takes the last line, even an unfinished one."""
        lines = Lines(lambda line: self._read(container, line))
        self._summaries[container] = Summary()
        yield lines.add if self._logs or self._metrics else lambda _: None
        lines.end()

    def say(self, container: str, text: str) -> None:
        """A line of our own, for all accounts that have a log."""
        with self._lock:
            for log in self._logs.values():
                log.write(container, text)

    def _read(self, container: str, line: bytes) -> None:
        text = line.decode(errors="replace")
        with self._lock:
            if self._metrics:
                self._metrics.read(text)
            self._summaries[container].read(text)
            for account, log in self._logs.items():
                if not log.full and (shown := self._policy.show(account, text)) is not None:
                    log.write(container, shown)


class _Log:
    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("xb")
        self._left = MOST_BYTES
        self.full = False

    def write(self, container: str, text: str) -> None:
        if self.full:
            return
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = f"{time} {container} {text}\n".encode(errors="replace")
        self._left -= len(line)
        if self._left < 0:
            self.full = True
            line = f"{time} {container} [the log ends here: it reached {MOST_BYTES:,} bytes]\n".encode()
        self._file.write(line)

    def close(self) -> None:
        self._file.close()
