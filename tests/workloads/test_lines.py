from modelyard.workloads.lines import LONGEST_LINE, Lines


def cut(*pieces: bytes) -> list[bytes]:
    taken: list[bytes] = []
    lines = Lines(taken.append)
    for piece in pieces:
        lines.add(piece)
    lines.end()
    return taken


def test_lines_are_whole_however_they_come() -> None:
    assert cut(b"one\ntw", b"o\r", b"\nthree") == [b"one", b"two", b"three"]


def test_a_bar_that_draws_itself_anew_is_a_line_each_time() -> None:
    assert cut(b"1 %\r2 %\r") == [b"1 %", b"2 %"]


def test_what_never_ends_is_cut() -> None:
    assert [len(line) for line in cut(b"x" * LONGEST_LINE, b"x" * 10 + b"\n")] == [LONGEST_LINE, 10]
