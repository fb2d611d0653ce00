from pathlib import Path

import pytest
import torch
from tests.workloads.language.models import build_adapter, build_model

from modelyard.workloads.language.tiny import MINI, build

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of 0.2 million parameters that has read a little."""
    folder = tmp_path_factory.mktemp("base") / "mini"
    build(folder, services=["sns", "sqs"], seconds=600, steps=80, recipe=MINI)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small Llama of random weights."""
    return build_model(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="session")
def adapters(base: Path) -> list[Path]:
    """Two adapters of `base`."""
    return [build_adapter(base.parent / f"adapter-{seed}", base, seed) for seed in (1, 2)]
