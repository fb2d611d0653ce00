import sys
from pathlib import Path

import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.language import engine_choice
from modelyard.workloads.language.engine_choice import load_engine
from modelyard.workloads.language.generate import Generations


@pytest.fixture
def _refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vLLM that loads no model."""

    def refuse(base: Path) -> None:
        raise InputError(f"vLLM cannot load the model {base.name}")

    monkeypatch.setattr(engine_choice, "_vllm", refuse)


@pytest.mark.usefixtures("_refusing")
@pytest.mark.parametrize(("wanted", "suits"), [("transformers", True), ("auto", False)])
def test_vllm_is_not_tried_unless_it_suits(
    base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wanted: str, suits: bool
) -> None:
    monkeypatch.setattr(engine_choice, "suits_vllm", lambda: suits)
    assert isinstance(load_engine(base, 1, wanted), Generations)
    assert not caplog.messages


@pytest.mark.usefixtures("_refusing")
def test_a_model_that_vllm_does_not_take_is_served_by_transformers(
    base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_choice, "suits_vllm", lambda: True)
    assert isinstance(load_engine(base, 1), Generations)
    assert caplog.messages == ["vLLM cannot load the model base; transformers serves it"]
    with pytest.raises(InputError, match="vLLM cannot load the model base"):
        load_engine(base, 1, "vllm")


def test_vllm_that_cannot_be_imported_is_named_with_the_ways_out(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "modelyard.workloads.language.vllm_engine", raising=False)
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match=r"vLLM cannot be used here .*install modelyard\[vllm\], or serve with"):
        load_engine(base, 1, "vllm")
