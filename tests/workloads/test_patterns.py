import time

import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.patterns import compiled


def test_a_pattern_that_explodes_elsewhere_takes_linear_time() -> None:
    began = time.monotonic()
    assert compiled("(x+x+)+y", "here").search("x" * 100_000) is None
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("pattern", ["(", "(?=x)", r"(x)\1", "x{10000000}"])
def test_what_is_none_is_named_with_its_place(pattern: str) -> None:
    with pytest.raises(InputError, match="here"):
        compiled(pattern, "here")
