import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelyard.runner.context import Channel, Context, Worker
from modelyard.runner.serving import RequestError
from modelyard.workloads.graph.inference.fresh import Computed, Fresh

_ANSWER = {"known": [True, False], "vectors": [[0.5, 0.5]], "features": []}


class Workers:
    """Forks workers that have answered already what they will be asked; `None` is one that has ended."""

    def __init__(self, *answers: Mapping[str, Any] | None) -> None:
        self._answers = list(answers)
        self.ends: list[socket.socket] = []
        self.forked: list[Mapping[str, Any]] = []

    def fork(self, entry_point: str, parameters: Mapping[str, Any]) -> Worker:
        ours, theirs = socket.socketpair()
        self.ends += [ours, theirs]
        self.forked.append(parameters)
        answer = self._answers.pop(0)
        if answer is None:
            theirs.close()
        else:
            Channel(theirs).send(**answer)
        return Worker(0, Channel(ours))

    def compute(self, folder: Path) -> Computed:
        (folder / "inductive").mkdir(exist_ok=True)
        context = Context({"text_models": {"text_sbert": "there"}}, {}, folder, folder, fork=self.fork)
        try:
            return asyncio.run(Fresh(context, folder).compute(graph={}))
        finally:
            for end in self.ends:
                end.close()


def test_vectors_are_those_of_the_known(tmp_path: Path) -> None:
    workers = Workers(_ANSWER)
    computed = workers.compute(tmp_path)
    assert (computed.known.tolist(), computed.vectors.tolist()) == ([True, False], [[0.5, 0.5]])
    assert workers.forked == [{"model": str(tmp_path), "text_models": {"text_sbert": "there"}}]


def test_a_worker_that_has_ended_is_started_again(tmp_path: Path) -> None:
    workers = Workers(None, _ANSWER)
    assert workers.compute(tmp_path).known.any()
    assert len(workers.forked) == 2


def test_one_that_ends_again_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="the endpoint's log says why") as ended:
        Workers(None, None).compute(tmp_path)
    assert ended.value.status == 500


def test_what_the_worker_refuses_is_the_clients_mistake(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such thing") as refused:
        Workers({"error": "no such thing"}).compute(tmp_path)
    assert refused.value.status == 400
