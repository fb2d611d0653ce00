"""Loads what users bring: weights from safetensors only, no pickle, and no code of a model's own unless allowed."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.utils.logging import disable_progress_bar

from modelyard.model_folder import may_run_code
from modelyard.runner.context import InputError
from modelyard.workloads.language.precision import has_bfloat16

disable_progress_bar()  # a task's log is no terminal
get_checkpoint_conversion_mapping("llama")  # compiles a thousand patterns: once, before processes are forked

EXACT_BYTES = 512 * 1024 * 1024
"""Weights up to this size are computed with in float32, where a batch gives the tokens that a request alone gives."""

ONE_THREAD_BYTES = 64 * 1024 * 1024
"""Weights up to this size are computed with on one thread."""


def device() -> torch.device:
    """The accelerator if there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_model(folder: Path) -> list[Path]:
    """The weights in a Hugging Face folder; InputError if there are none that hold no code."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder.name} is no model: it has no config.json")
    weights = list(folder.glob("*.safetensors"))
    if not weights:
        raise InputError(
            f"the model {folder.name} has no *.safetensors file; weights in other formats are not loaded, since they "
            "can hold code: save it again with save_pretrained(..., safe_serialization=True)"
        )
    return weights


def weights_dtype(weights: Iterable[Path]) -> torch.dtype:
    """What to compute with: float32 with small weights, else bfloat16 where that is faster."""
    large = sum(file.stat().st_size for file in weights) > EXACT_BYTES
    return torch.bfloat16 if large and has_bfloat16(device().type) else torch.float32


def load_model(folder: Path, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The model in a Hugging Face folder, ready to answer; InputError if it cannot be loaded safely.

    dtype: of its weights; None for what its size allows.
    """
    weights = check_model(folder)
    dtype = dtype or weights_dtype(weights)
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, trust_remote_code=may_run_code(folder), use_safetensors=True, local_files_only=True, dtype=dtype
        )
    except Exception as error:  # of a library that raises whatever a file makes it
        raise InputError(f"the model {folder.name} cannot be loaded ({type(error).__name__}: {error})") from error
    model.requires_grad_(False).eval().to(device())
    assert isinstance(model, PreTrainedModel)
    return model


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer in a Hugging Face folder, which gives all tokens of a text, and no others.

    InputError if there is none of the fast kind.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=may_run_code(folder), local_files_only=True)
    except Exception as error:
        raise InputError(
            f"the tokenizer of {folder.name} cannot be loaded ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InputError(f"the tokenizer of {folder.name} is a {type(tokenizer).__name__}; a tokenizer.json is needed")
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def check_adapter(folder: Path) -> None:
    """InputError unless the folder holds a LoRA adapter in safetensors."""
    try:
        config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder.name} is no adapter: its adapter_config.json cannot be read ({error})") from None
    if config.get("peft_type") != "LORA":
        raise InputError(f"the adapter {folder.name} is of the type {config.get('peft_type')}; only LORA is served")
    for name in ("auto_mapping", "megatron_config"):
        if config.get(name):
            raise InputError(f"the adapter {folder.name} sets {name}, which names code to run; remove it")
    if not (folder / "adapter_model.safetensors").is_file():
        raise InputError(f"the adapter {folder.name} has no adapter_model.safetensors; other formats are not loaded")


def load_adapter(model: PreTrainedModel | PeftModel, folder: Path, name: str) -> PeftModel:
    """Adds a LoRA adapter to a model under a name; InputError if it cannot be loaded safely, or does not fit.

    The model's own layers are replaced by layers that hold the adapters.
    """
    check_adapter(folder)
    try:
        if isinstance(model, PeftModel):
            model.load_adapter(str(folder), name, torch_device=str(device()))
            return model
        return PeftModel.from_pretrained(model, str(folder), name, torch_device=str(device())).eval()
    except Exception as error:
        raise InputError(
            f"the adapter {folder.name} does not fit the model ({type(error).__name__}: {error})"
        ) from error


def limit_threads(model: PreTrainedModel, cores: int) -> None:
    """Computes on as many threads as there are cores for it, and with a small model on one.

    To hand out parts of such small products costs more than it gains, the more so the busier the machine is (measured:
    2.6 million parameters on two cores that others used too, two threads gave half the tokens a second of one).
    """
    small = sum(weights.nbytes for weights in model.parameters()) <= ONE_THREAD_BYTES
    torch.set_num_threads(1 if small else cores)
