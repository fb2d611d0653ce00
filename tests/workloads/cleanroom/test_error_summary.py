from modelyard.workloads.cleanroom.error_summary import MOST_LINES, Summary, summarize

TRACEBACK = """starting with secret-7
Traceback (most recent call last):
  File "/opt/program/train.py", line 40, in <module>
    fit("secret-7")
  File "train.py", line 12, in fit
    raise ValueError("secret-7")
ValueError: secret-7

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/usr/lib/x/pandas/frame.py", line 3, in __getitem__
KeyError
after all
"""


def test_exceptions_are_told_by_class_and_place() -> None:
    summary = summarize(TRACEBACK.splitlines())

    assert summary == ["ValueError at train.py, line 12, in fit", "KeyError at frame.py, line 3, in __getitem__"]


def test_words_outside_a_traceback_are_never_told() -> None:
    assert summarize(["ValueError: secret", "Error", 'File "x.py", line 3, in f', "secret-7"]) == []


def test_only_the_last_errors_are_kept() -> None:
    summary = Summary()
    for number in range(MOST_LINES * 3):
        for line in ("Traceback (most recent call last):", f'  File "x.py", line {number}, in f', "ValueError: 1"):
            summary.read(line)

    assert len(summary.lines) == MOST_LINES
    assert summary.lines[-1] == f"ValueError at x.py, line {MOST_LINES * 3 - 1}, in f"
