import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from modelyard import resident, sockets
from modelyard.processes import Process
from tests.conftest import wait_for


def test_a_parent_that_ends_before_it_answers_is_an_error_that_names_its_log(tmp_path: Path) -> None:
    listener = sockets.bind(tmp_path / "socket")

    def end_early() -> None:
        listener.accept()[0].close()

    thread = threading.Thread(target=end_early)
    thread.start()
    with pytest.raises(resident.ResidentError, match="log"):
        resident.fork(tmp_path, {"task": "t"})
    thread.join()
    listener.close()


def test_a_request_comes_whole_with_its_descriptors(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, (tmp_path / "file").open("w") as file:
        threading.Thread(target=resident._exchange, args=(ours, json.dumps({"a": 1}).encode(), [file.fileno()])).start()
        # the length that goes before a request is the exchange's own
        request, (descriptor,) = resident.receive(theirs)
        os.write(descriptor, b"here")
        os.close(descriptor)
    assert request == {"a": 1}
    assert (tmp_path / "file").read_text() == "here"


def test_two_who_find_no_parent_share_one(data: Path) -> None:
    folder = data / "residents" / "graph"
    request = {"entry_point": "tests.tasks:work", "parameters": {"number": 1}, "group": 0, "log": str(data / "log")}
    pids: list[int] = []

    def ask() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            pids.append(resident.fork(folder, request, [theirs.fileno()]))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parent = Process.read(folder / "process.json")
    assert parent is not None
    assert len(set(pids)) == 2
    os.kill(parent.pid, signal.SIGKILL)
    wait_for(lambda: not parent.alive())
