from pathlib import Path

import pytest

from modelyard import events
from modelyard.engines.local import LocalEngine
from modelyard.events import MAX_BYTES, Event, Position
from modelyard.jobs.model import StageRecord, Status
from tests.jobs.test_supervisor import stage


@pytest.fixture
def engine(data: Path) -> LocalEngine:
    return LocalEngine(data / "tasks", data / "residents", 2)


def record(attempt: int = 1) -> StageRecord:
    return StageRecord("task", stage("succeed"), Status.RUNNING, attempt)


def write(engine: LocalEngine, data: bytes, attempt: int = 1) -> None:
    folder = engine.attempt_folder("task", attempt)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.jsonl").open("ab") as file:
        file.write(data)


def read_all(engine: LocalEngine, record: StageRecord) -> list[Event]:
    found, position, moved = [], Position(), True
    while moved:
        piece, following = events.read(engine, record, position)
        found += piece
        moved, position = following != position, following
    return found


def test_are_read_from_where_the_last_read_ended(engine: LocalEngine) -> None:
    write(engine, b'{"step": 1}\n{"step": 2}\n')
    found, position = events.read(engine, record(), Position())
    assert found == [{"step": 1}, {"step": 2}]
    assert events.read(engine, record(), position) == ([], position)
    write(engine, b'{"step": 3}\n')
    assert events.read(engine, record(), position)[0] == [{"step": 3}]


def test_half_a_line_waits_for_its_other_half(engine: LocalEngine) -> None:
    write(engine, b'{"step": 1}\n{"st')
    found, position = events.read(engine, record(), Position())
    assert found == [{"step": 1}]
    assert events.read(engine, record(), position) == ([], position)
    write(engine, b'ep": 2}\n')
    assert events.read(engine, record(), position)[0] == [{"step": 2}]


def test_of_all_attempts_follow_each_other(engine: LocalEngine) -> None:
    write(engine, b'{"step": 1}\n{"cut o', attempt=1)
    write(engine, b'{"step": 2}\n', attempt=3)
    assert read_all(engine, record(attempt=3)) == [{"step": 1}, {"step": 2}]


def test_come_in_bounded_pieces(engine: LocalEngine) -> None:
    write(engine, b"".join(b'{"step": %d}\n' % step for step in range(60_000)))
    assert len(events.read(engine, record(), Position())[0]) <= MAX_BYTES / len('{"step": 0}\n')
    assert [event["step"] for event in read_all(engine, record())] == list(range(60_000))


def test_what_is_no_event_is_left_out(engine: LocalEngine) -> None:
    write(engine, b'nonsense\n[1]\n\xff\n\n{"step": 1}\n' + b"x" * (2 * MAX_BYTES) + b'\n{"step": 2}\n')
    assert read_all(engine, record()) == [{"step": 1}, {"step": 2}]


def test_the_latest_is_rather_one_that_tells_a_phase(engine: LocalEngine) -> None:
    assert events.latest(engine, record()) is None
    write(engine, b'{"step": 1, "trial": 0}\n')
    assert events.latest(engine, record()) == {"step": 1, "trial": 0}
    write(engine, b'{"step": 1, "phase": "search"}\n{"step": 2, "trial": 0}\n' + b'{"step": 9, "trial": 1}\n' * 100)
    assert events.latest(engine, record()) == {"step": 1, "phase": "search"}
    write(engine, b'{"step": 9, "trial": 1}\n' * 10_000)
    assert events.latest(engine, record()) == {"step": 9, "trial": 1}


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "-1.0", "1.-5", "a.b", "1.0.0", "²." + "9" * 99])
def test_a_position_is_checked(text: str) -> None:
    with pytest.raises(ValueError, match="no position"):
        Position.parse(text)


def test_a_position_beyond_everything_has_no_events(engine: LocalEngine) -> None:
    write(engine, b'{"step": 1}\n')
    for text in ("9" * 50 + ".0", "1." + "9" * 50):
        position = Position.parse(text)
        assert events.read(engine, record(), position) == ([], position)
    assert Position.parse(str(Position(3, 4))) == Position(3, 4)
