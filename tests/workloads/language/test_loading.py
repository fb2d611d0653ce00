import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.workloads.language.models import SHAPE, build_adapter, build_model
from transformers import LlamaConfig

from modelyard.runner.context import InputError
from modelyard.workloads.language import loading
from modelyard.workloads.language.loading import limit_threads, load_adapter, load_model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "is of the type IA3; only LORA is served"),
        ({"auto_mapping": {"parent_library": "os"}}, "sets auto_mapping, which names code to run"),
        ({"megatron_config": {"a": 1}, "megatron_core": "os"}, "sets megatron_config, which names code to run"),
    ],
)
def test_an_adapter_that_could_run_code_is_refused(
    base: Path, adapters: list[Path], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(adapters[0], folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))
    with pytest.raises(InputError, match=message):
        load_adapter(load_model(base), folder, "adapter")


def test_a_pickled_adapter_is_refused(base: Path, adapters: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(adapters[0], folder)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(InputError, match=r"has no adapter_model.safetensors; other formats are not loaded"):
        load_adapter(load_model(base), folder, "adapter")


def test_an_adapter_of_another_model_is_refused(base: Path, tmp_path: Path) -> None:
    config = LlamaConfig(**SHAPE | {"hidden_size": 2 * SHAPE["hidden_size"]})
    wider = build_model(tmp_path / "wider", config)
    adapter = build_adapter(tmp_path / "adapter", wider, 1)
    with pytest.raises(InputError, match="the adapter adapter does not fit the model"):
        load_adapter(load_model(base), adapter, "adapter")


@pytest.fixture
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_threads")
def test_a_small_model_takes_one_thread_and_a_large_one_its_cores(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(base)
    limit_threads(model, 2)
    assert torch.get_num_threads() == 1
    monkeypatch.setattr(loading, "ONE_THREAD_BYTES", 0)
    limit_threads(model, 2)
    assert torch.get_num_threads() == 2
