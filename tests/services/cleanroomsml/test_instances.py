from typing import Any

import pytest

from modelyard.services.cleanroomsml.instances import GIB, instance
from modelyard.wire.models import Model


@pytest.mark.parametrize("operation", ["create_trained_model", "start_trained_model_inference_job"])
def test_every_type_of_the_model_is_known(operation: str) -> None:
    shape: Any = Model("cleanroomsml").operations[operation].input_shape
    types = shape.members["resourceConfig"].members["instanceType"].enum
    assert len(types) > 90
    for type in types:
        found = instance(type, 1, 1000)
        assert 2 <= found.cores <= 192, type
        assert found.memory >= GIB, type


@pytest.mark.parametrize(
    ("type", "cores", "memory"),
    [("ml.t3.medium", 2, 4), ("ml.m5.large", 2, 8), ("ml.c5.xlarge", 4, 8), ("ml.r5.large", 2, 16)],
)
def test_small_ones_are_as_large_as_they_are_called(monkeypatch: Any, type: str, cores: int, memory: int) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 2**20 if name == "SC_PAGE_SIZE" else 2**16)
    found = instance(type, 1, 64)
    assert (found.cores, found.memory) == (cores, memory * GIB)


def test_several_share_this_machine() -> None:
    alone, shared = instance("ml.m5.24xlarge", 1, 8), instance("ml.m5.24xlarge", 4, 8)
    assert (alone.cores, shared.cores) == (8, 2)
    assert shared.memory <= alone.memory // 4 + 1
    assert instance("ml.m5.large", 5, 2).cores == 1
