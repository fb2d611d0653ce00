from pathlib import Path

import pytest

from modelyard.workloads.language.journal import Journal


def test_values_come_back_in_their_order_and_at_their_places(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    places = [journal.note(value) for value in ({"a": "é\n"}, [1], "x")]
    again = Journal(tmp_path / "journal")
    assert list(again.values()) == list(zip(places, [{"a": "é\n"}, [1], "x"], strict=True))
    assert again.at(places[1]) == [1]


@pytest.mark.parametrize("torn", [b'{"a"', b"[1]", b"\xff"])
def test_what_a_kill_left_of_a_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    Journal(tmp_path / "journal").note(1)
    with (tmp_path / "journal").open("ab") as file:
        file.write(torn)
    journal = Journal(tmp_path / "journal")
    journal.note(2)
    assert [value for _, value in journal.values()] == [1, 2]
