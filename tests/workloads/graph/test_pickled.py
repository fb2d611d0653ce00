import io
import pickle
import pickletools
from typing import Any

import pytest

from modelyard.workloads.graph.pickled import Items, dump


def dumped(value: Any) -> bytes:
    file = io.BytesIO()
    dump(value, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"node_id_map": {"paper": {"p0": 0, "é\n": 1}}, "flag": True, "off": False, "none": None},
        {"classes": {0: "a", -1: "b"}, "list": ["x", 1.5, []], "large": 2**31 - 1},
        {"many": {str(number): number for number in range(2501)}},
    ],
)
def test_the_pickle_module_reads_what_was_written(value: Any) -> None:
    assert pickle.loads(dumped(value)) == value


def test_items_are_written_as_a_dictionary() -> None:
    assert pickle.loads(dumped({"a": Items((str(n), n) for n in range(3))})) == {"a": {"0": 0, "1": 1, "2": 2}}


def test_no_class_or_function_is_named() -> None:
    names = {opcode.name for opcode, _, _ in pickletools.genops(dumped({"a": Items([("b", [1])])}))}
    assert not names & {"GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "INST", "OBJ", "BUILD"}
