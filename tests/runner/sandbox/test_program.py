from typing import Any

import pytest

from modelyard.runner.sandbox.limits import Limits
from modelyard.runner.sandbox.program import Program

INJECTED = "x\0--bind\0/\0/opt/ml/model"


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": ["python", INJECTED]},
        {"environment": {"A": INJECTED}},
        {"environment": {INJECTED: "a"}},
        {"workdir": INJECTED},
        {"environment": {"A": "\ud800"}},
    ],
)
def test_no_text_can_become_an_option_of_the_sandbox(changes: dict[str, Any]) -> None:
    members: dict[str, Any] = {"arguments": ["python"], "environment": {}, "workdir": "/", **changes}
    with pytest.raises(ValueError, match="no program can be given that"):
        Program(name="x", hostname="algo-1", view=[], limits=Limits(memory=1, cores=1), **members)
