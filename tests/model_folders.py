"""Folders of models as far as the server looks at them: files that are in order, with no model in them."""

import json
import struct
from pathlib import Path
from typing import Any


def write_model(folder: Path, values: int = 1000, **config: Any) -> Path:
    """A folder that passes every check of the server's; its weights are zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 512, **config}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    write_weights(folder / "model.safetensors", values)
    return folder


def write_weights(file: Path, values: int) -> None:
    """One tensor of zeros."""
    header = json.dumps({"x": {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}}).encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * values))


def write_adapter(folder: Path, base: str) -> Path:
    """What a customization job leaves, as far as the server looks at it: an adapter of zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": base}))
    write_weights(folder / "adapter_model.safetensors", 10)
    return folder
