"""Folders of Hugging Face models: what they must have, and what their files say, read without any model library.

Nothing is executed or unpickled: JSON and the headers of safetensors are all that is looked at.
https://huggingface.co/docs/safetensors
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".msgpack", ".h5")
"""Endings of files that hold pickles or other weights that are never loaded here."""
INDEX = "model.safetensors.index.json"

REMOTE_CODE = "modelyard-runs-this-code"
"""An empty file in a folder of the data folder's own, whose code the operator has allowed. Nothing is taken from a user
that has this name."""

_LARGEST_HEADER = 100_000_000
"""Bytes; the format's own limit."""
_LARGEST_JSON = 256 * 1024 * 1024
_CONTEXT = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
_DEFAULT_CONTEXT = 2048


class BadModel(Exception):
    """A folder is no model that can be used here; the message names the file and the way out."""


@dataclass(frozen=True)
class ModelFolder:
    """What a folder's files say of its model.

    architecture: the class of its configuration, such as `LlamaForCausalLM`. context: tokens that it can see at once.
    instruct: whether it has a chat template. remote_code: whether it brings code of its own, which must be allowed.
    """

    path: Path
    architecture: str
    parameters: int
    context: int
    instruct: bool
    remote_code: bool


def inspect(path: Path, allow_remote_code: bool = False) -> ModelFolder:
    """What a folder says of its model; BadModel if it has pickles, lacks a file, or has one that cannot be read."""
    config, tokenizer = _settings(path)
    remote_code = any("auto_map" in settings for settings in (config, tokenizer))
    if remote_code and not allow_remote_code:
        reason = "the model brings code of its own (auto_map), which is not run unless it is allowed"
        raise BadModel(f"{path / 'config.json'}: {reason}")
    return ModelFolder(
        path=path,
        architecture=_architecture(path, config),
        parameters=sum(_parameters(file) for file in _weights(path)),
        context=_context(config),
        instruct=bool(tokenizer.get("chat_template")) or (path / "chat_template.jinja").is_file(),
        remote_code=remote_code,
    )


def may_run_code(path: Path) -> bool:
    """Whether the operator has allowed the code that a model brings."""
    return (path / REMOTE_CODE).is_file()


def inspect_adapter(path: Path) -> None:
    """BadModel unless the folder holds a PEFT adapter in safetensors."""
    if not path.is_dir():
        raise BadModel(f"{path}: there is no such folder")
    _refuse_pickles(path)
    read_json(path, "adapter_config.json", "PEFT's save_pretrained writes it")
    if not (path / "adapter_model.safetensors").is_file():
        raise BadModel(f"{path / 'adapter_model.safetensors'}: there is no such file; PEFT's save_pretrained writes it")
    _parameters(path / "adapter_model.safetensors")


def inspect_encoder(path: Path) -> None:
    """BadModel unless the folder holds a Hugging Face encoder of text in safetensors, with no code of its own."""
    config, tokenizer = _settings(path)
    if any("auto_map" in settings for settings in (config, tokenizer)):
        raise BadModel(f"{path / 'config.json'}: the model brings code of its own (auto_map), which is not run")
    for file in _weights(path):
        _parameters(file)


def _settings(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a model and of its tokenizer, in a folder that has no pickles, and a fast tokenizer."""
    if not path.is_dir():
        raise BadModel(f"{path}: there is no such folder; give the one that has the model's config.json")
    _refuse_pickles(path)
    config = read_json(path, "config.json", "every Hugging Face model has one")
    tokenizer = read_json(path, "tokenizer_config.json", "the tokenizer's save_pretrained writes it")
    read_json(path, "tokenizer.json", "the save_pretrained of a fast tokenizer writes it")
    return config, tokenizer


def _refuse_pickles(path: Path) -> None:
    found = sorted(file.name for file in path.iterdir() if file.suffix.lower() in PICKLES)
    if found:
        reason = "pickles and the like are never loaded, since they can run code: keep *.safetensors alone"
        raise BadModel(f"{path / found[0]}: {reason}" + (f" ({len(found)} such files)" if found[1:] else ""))


def _architecture(path: Path, config: Mapping[str, Any]) -> str:
    if config.get("quantization_config"):
        raise BadModel(f"{path / 'config.json'}: quantized weights cannot be trained; save the model without")
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if not (isinstance(name, str) and name.endswith("ForCausalLM")):
        reason = f"architectures is {json.dumps(names)[:200]}; only text models of the kind …ForCausalLM are served"
        raise BadModel(f"{path / 'config.json'}: {reason}")
    return name


def _context(config: Mapping[str, Any]) -> int:
    found = [config[name] for name in _CONTEXT if isinstance(config.get(name), int) and config[name] > 0]
    return found[0] if found else _DEFAULT_CONTEXT


def _weights(path: Path) -> Iterator[Path]:
    """The files of weights: one, or those that the index names."""
    if (path / "model.safetensors").is_file():
        yield path / "model.safetensors"
        return
    if not (path / INDEX).is_file():
        reason = f"neither model.safetensors nor {INDEX} is there"
        raise BadModel(f"{path}: {reason}; save_pretrained(…, safe_serialization=True) writes them")
    names = read_json(path, INDEX, "").get("weight_map")
    if not (isinstance(names, dict) and names and all(isinstance(name, str) for name in names.values())):
        raise BadModel(f"{path / INDEX}: weight_map does not map tensors to files")
    for name in sorted(set(names.values())):
        if "/" in name or not (path / name).is_file():
            raise BadModel(f"{path / name}: {INDEX} names this file, and it is not there")
        yield path / name


def _parameters(file: Path) -> int:
    """The number of values in a file of weights, whose header and length are checked."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size - 8, _LARGEST_HEADER):
            raise BadModel(f"{file}: this is no safetensors file, or only the beginning of one; copy it again")
        try:
            tensors = {name: entry for name, entry in json.loads(stream.read(length)).items() if name != "__metadata__"}
            told = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
            count: int = sum(math.prod(entry["shape"]) for entry in tensors.values())
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise BadModel(f"{file}: its header is no description of tensors; copy it again") from None
    if told != size:
        raise BadModel(f"{file}: it has {size} bytes, where its header tells of {told}; copy it again")
    return count


def read_json(path: Path, name: str, origin: str, kind: type = dict) -> Any:
    """An object, or what else `kind` is, out of a file that must be there; BadModel tells also its `origin`."""
    file = path / name
    if not file.is_file():
        raise BadModel(f"{file}: there is no such file; {origin}")
    if file.stat().st_size > _LARGEST_JSON:
        raise BadModel(f"{file}: {file.stat().st_size} bytes are too many for this file")
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadModel(f"{file}: it is no JSON: {error}") from None
    if not isinstance(content, kind):
        raise BadModel(f"{file}: it is no JSON {'object' if kind is dict else kind.__name__}")
    return content
