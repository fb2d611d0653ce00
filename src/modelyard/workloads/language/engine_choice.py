"""Which engine generates for a model: ours, over transformers, or vLLM where it is installed."""

import gc
import logging
from importlib.util import find_spec
from pathlib import Path

import torch

from modelyard.runner.context import InputError
from modelyard.workloads.language.engine import LanguageEngine
from modelyard.workloads.language.generate import Generations
from modelyard.workloads.language.loading import limit_threads, load_model, load_tokenizer

_log = logging.getLogger(__name__)


def load_engine(base: Path, cores: int, wanted: str = "auto") -> LanguageEngine:
    """The model in a folder, ready to answer.

    wanted: `transformers`; `vllm`; or `auto`, which is vLLM on a GPU if it is installed and takes the model, else
    transformers. InputError if the model cannot be loaded safely, or not by the engine that is wanted.
    """
    if wanted == "vllm" or (wanted == "auto" and suits_vllm()):
        try:
            return _vllm(base)
        except InputError as error:
            if wanted == "vllm":
                raise
            _log.warning("%s; transformers serves it", error)
        gc.collect()  # what vLLM had taken before it failed is free, now that the error is forgotten
        torch.cuda.empty_cache()
    model = load_model(base)
    limit_threads(model, cores)
    return Generations(model, load_tokenizer(base))


def suits_vllm() -> bool:
    """Whether there is a GPU, and vLLM to use it."""
    return torch.cuda.is_available() and find_spec("vllm") is not None


def _vllm(base: Path) -> LanguageEngine:
    """Imports vLLM now: that takes seconds, and there is no need of it where it is not used."""
    try:
        from modelyard.workloads.language.vllm_engine import VllmEngine
    except Exception as error:  # of its many parts, each may not suit the machine in its own way
        raise InputError(
            f"vLLM cannot be used here ({type(error).__name__}: {error}): install modelyard[vllm], or serve with "
            "--language-engine transformers"
        ) from error
    return VllmEngine(base, load_tokenizer(base))
