"""One container that answers files, several requests at once, as SageMaker's batch transform asks it."""

import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from modelyard.workloads.cleanroom.answers import AnswerFile, Answers, Budget
from modelyard.workloads.cleanroom.endpoint import Endpoint, NoAnswer, Refused
from modelyard.workloads.cleanroom.payloads import Payload, RecordTooLarge, Splitter

INVOCATION_SECONDS = 600.0
TRIES = 4
"""SageMaker's default: three more after the first."""
RETRY_SECONDS = 0.2
"""Before the second try; twice as long before each other."""
IN_MEMORY = 16 * 2**20
"""Bytes of an answer; larger ones wait on the disk."""


class Stopping(Exception):
    """The work is over, for a reason that others know."""


@dataclass(frozen=True)
class Bad:
    """A file that has no answers. code: of the failure; reason: ours, with the place in the file."""

    name: str
    code: str
    reason: str


@dataclass(eq=False)
class _File:
    path: Path
    answers: AnswerFile
    bad: Bad | None = None


@dataclass(frozen=True)
class _Asked:
    """A payload under way, the `number`th of its file."""

    number: int
    records: int
    answer: Future[IO[bytes]]


class Transform:
    """Asks one container for the answers to files.

    headers: of each request. scratch: a folder for large answers that wait for their turn. stop: set when the work is
    over, here or elsewhere. told: called with the number of records of each answered payload. failed: with what spoils
    a file.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        splitter: Splitter,
        concurrency: int,
        headers: Mapping[str, str],
        scratch: Path,
        stop: threading.Event,
        told: Callable[[int], None],
        failed: Callable[[Bad], None],
    ) -> None:
        self._endpoint = endpoint
        self._splitter = splitter
        self._concurrency = concurrency
        self._headers = headers
        self._scratch = scratch
        self._stop = stop
        self._told = told
        self._failed = failed
        self._waiting: deque[tuple[_File, _Asked | None]] = deque()
        self._open: set[_File] = set()

    def run(self, files: Iterator[Path], answers: Answers) -> None:
        """Answers the files that the iterator gives, which others may share. A bad one is told, the others go on.

        Stopping if the work is over before that; OutputTooLarge.
        """
        try:
            with ThreadPoolExecutor(self._concurrency, "requests") as pool:
                try:
                    self._run(pool, files, answers)
                except BaseException:
                    self._stop.set()
                    self._endpoint.close()
                    raise
        finally:
            self._drop()

    def _run(self, pool: ThreadPoolExecutor, files: Iterator[Path], answers: Answers) -> None:
        """One payload is read ahead, and answers are taken in the order of their records, over the ends of files."""
        for path in files:
            file = _File(path, answers.open(path.name))
            self._open.add(file)
            for number, payload in self._payloads(file):
                asked = _Asked(number, payload.records, pool.submit(self._ask, file, payload, answers.budget))
                self._waiting.append((file, asked))
                while len(self._waiting) > self._concurrency:
                    self._settle(answers.budget)
            self._waiting.append((file, None))
        while self._waiting:
            self._settle(answers.budget)

    def _payloads(self, file: _File) -> Iterator[tuple[int, Payload]]:
        """The payloads of a file, until it is bad."""
        try:
            for number, payload in enumerate(self._splitter.split(file.path), 1):
                if file.bad:
                    return
                yield number, payload
        except RecordTooLarge as error:
            most = self._splitter.most // 2**20
            reason = f"{error.place} is larger than a request may be ({most} MB)"
            file.bad = file.bad or Bad(file.path.name, "PAYLOAD_TOO_LARGE", reason)

    def _settle(self, budget: Budget) -> None:
        """Waits for the oldest of what waits: an answer, or the end of a file."""
        file, asked = self._waiting.popleft()
        if asked is not None:
            self._take(file, asked, budget)
            return
        self._open.remove(file)
        if file.bad:
            file.answers.discard()
            self._failed(file.bad)
        else:
            file.answers.finish()

    def _take(self, file: _File, asked: _Asked, budget: Budget) -> None:
        """Adds an answer to its file, unless that is bad."""
        try:
            with asked.answer.result() as body:
                if file.bad:
                    budget.spend(-body.seek(0, os.SEEK_END))
                else:
                    file.answers.add(body)
                    self._told(asked.records)
        except Refused as refused:
            self._spoil(file, asked, f"the container answered with HTTP status {refused.status}")
        except NoAnswer:
            self._spoil(file, asked, "the container gave no answer")

    def _spoil(self, file: _File, asked: _Asked, reason: str) -> None:
        file.bad = file.bad or Bad(file.path.name, "INVOCATION_FAILED", f"to request {asked.number} {reason}")

    def _ask(self, file: _File, payload: Payload, budget: Budget) -> IO[bytes]:
        """The answer to a payload, asked for again while that may help; Stopping, Refused or one of NoAnswer."""
        tries = TRIES
        while True:
            if self._stop.is_set():
                raise Stopping
            try:
                return self._invoke(payload, budget)
            except (*NoAnswer, Refused) as error:
                tries -= 1
                if self._stop.is_set():
                    raise Stopping from None
                if tries == 0 or file.bad or (isinstance(error, Refused) and not error.may_help):
                    raise
            self._stop.wait(RETRY_SECONDS * 2 ** (TRIES - 1 - tries))

    def _invoke(self, payload: Payload, budget: Budget) -> IO[bytes]:
        """The answer to one request. What the budget gave for one that is not whole, it gets back."""
        with ExitStack() as stack:
            body: IO[bytes] = stack.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(self._scratch)))

            def take(piece: bytes) -> None:
                budget.spend(len(piece))
                body.write(piece)

            try:
                self._endpoint.invoke(payload.body, self._headers, INVOCATION_SECONDS, take)
            except (*NoAnswer, Refused):
                budget.spend(-body.tell())
                raise
            stack.pop_all()
        return body

    def _drop(self) -> None:
        """Closes what has not come to its end."""
        for _, asked in self._waiting:
            if asked and not asked.answer.cancelled() and asked.answer.exception() is None:
                asked.answer.result().close()
        for file in self._open:
            file.answers.discard()
