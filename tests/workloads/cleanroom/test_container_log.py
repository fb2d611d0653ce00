from pathlib import Path

import pytest

from modelyard.workloads.cleanroom.container_log import ContainerLog
from modelyard.workloads.cleanroom.log_policy import LogPolicy
from modelyard.workloads.lines import LONGEST_LINE

BANK, SHOP = "111111111111", "222222222222"


def written(folder: Path, *pieces: bytes, account: str = BANK) -> list[str]:
    """What the log holds of pieces of output, without the times."""
    policy = LogPolicy([{"allowedAccountIds": [BANK]}])
    with ContainerLog(folder / "logs", policy, [BANK, SHOP]) as log, log.reader("algo-1") as read:
        for piece in pieces:
            read(piece)
    lines = (folder / "logs" / f"{account}.log").read_text().splitlines()
    return [line.split(" ", 1)[1] for line in lines]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ((b"one\ntwo\n",), ["one", "two"]),
        ((b"on", b"e\ntw", b"o"), ["one", "two"]),
        ((b"one\r\ntwo\r", b"\nthree\r"), ["one", "two", "three"]),
        ((b"\n\n\none\n\n",), ["one"]),
        ((b"\xff\xe9t\xc3\xa9\n",), ["��té"]),
        ((b"caf\xc3", b"\xa9\n"), ["café"]),
        ((), []),
    ],
)
def test_output_is_cut_into_lines(pieces: tuple[bytes, ...], lines: list[str], tmp_path: Path) -> None:
    assert written(tmp_path, *pieces) == [f"algo-1 {line}" for line in lines]


def test_a_line_without_end_is_shown_in_parts(tmp_path: Path) -> None:
    lines = written(tmp_path, *[b"x" * 65536] * 9)

    assert [len(line) - len("algo-1 ") for line in lines] == [LONGEST_LINE, LONGEST_LINE, 65536]


def test_each_line_tells_its_time(tmp_path: Path) -> None:
    written(tmp_path, b"one\n")
    time, name, line = (tmp_path / "logs" / f"{BANK}.log").read_text().split()

    assert (time[10], time[-6:], name, line) == ("T", "+00:00", "algo-1", "one")


def test_accounts_without_a_policy_have_no_log(tmp_path: Path) -> None:
    written(tmp_path, b"one\n")

    assert [path.name for path in (tmp_path / "logs").iterdir()] == [f"{BANK}.log"]
