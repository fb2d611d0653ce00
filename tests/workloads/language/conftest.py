from pathlib import Path

import pytest
import torch

from modelyard.workloads.language.tiny import MINI, build

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of 0.2 million parameters that has read a little."""
    folder = tmp_path_factory.mktemp("base") / "mini"
    build(folder, services=["sns", "sqs"], seconds=3, recipe=MINI)
    return folder
