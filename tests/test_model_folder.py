import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.model_folder import INDEX, BadModel, inspect
from tests.model_folders import write_model, write_weights


class TestInspect:
    def test_tells_what_the_files_say(self, tmp_path: Path) -> None:
        found = inspect(write_model(tmp_path / "model", values=1234))
        assert (found.architecture, found.parameters, found.context) == ("LlamaForCausalLM", 1234, 512)
        assert (found.instruct, found.remote_code) == (True, False)

    def test_adds_up_what_lies_in_several_files(self, tmp_path: Path) -> None:
        folder = write_model(tmp_path)
        (folder / "model.safetensors").unlink()
        for name, values in (("a.safetensors", 10), ("b.safetensors", 20)):
            write_weights(folder / name, values)
        (folder / INDEX).write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
        assert inspect(folder).parameters == 30
        (folder / "b.safetensors").unlink()
        with pytest.raises(BadModel, match=r"b\.safetensors: .*names this file, and it is not there"):
            inspect(folder)

    def test_knows_a_chat_template_in_a_file_of_its_own(self, tmp_path: Path) -> None:
        folder = write_model(tmp_path)
        (folder / "tokenizer_config.json").write_text("{}")
        assert not inspect(folder).instruct
        (folder / "chat_template.jinja").write_text("{{ messages }}")
        assert inspect(folder).instruct

    @pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
    def test_names_a_file_that_is_missing(self, tmp_path: Path, missing: str) -> None:
        (write_model(tmp_path) / missing).unlink()
        with pytest.raises(BadModel, match=missing.replace(".", r"\.")):
            inspect(tmp_path)

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "training_args.bin", "x.PT", "optimizer.pkl"])
    def test_refuses_pickles(self, tmp_path: Path, name: str) -> None:
        (write_model(tmp_path) / name).write_bytes(b"")
        with pytest.raises(BadModel, match="pickles"):
            inspect(tmp_path)

    def test_refuses_code_of_the_models_own_unless_it_is_allowed(self, tmp_path: Path) -> None:
        write_model(tmp_path, auto_map={"AutoModelForCausalLM": "evil.Model"})
        with pytest.raises(BadModel, match="auto_map"):
            inspect(tmp_path)
        assert inspect(tmp_path, allow_remote_code=True).remote_code

    @pytest.mark.parametrize(
        ("config", "word"),
        [
            ({"architectures": ["T5ForConditionalGeneration"]}, "T5ForConditionalGeneration"),
            ({"architectures": []}, "architectures"),
            ({"architectures": "LlamaForCausalLM"}, "architectures"),
            ({"architectures": [7]}, "architectures"),
            ({"quantization_config": {"bits": 4}}, "quantized"),
        ],
    )
    def test_refuses_what_cannot_be_trained_or_served(
        self, tmp_path: Path, config: dict[str, object], word: str
    ) -> None:
        with pytest.raises(BadModel, match=word):
            inspect(write_model(tmp_path, **config))

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda whole: whole[:-1],
            lambda whole: whole[:4],
            lambda whole: b"",
            lambda whole: struct.pack("<Q", 2**63) + whole[8:],
            lambda whole: struct.pack("<Q", 4) + b"null",
            lambda whole: struct.pack("<Q", 2) + b"[]",
            lambda whole: struct.pack("<Q", 8) + b'{"x": 1}',
            lambda whole: struct.pack("<Q", 36) + b'{"x":{"data_offsets":[0,"a"],"shape":[]}}'[:36],
            lambda whole: struct.pack("<Q", 41) + b'{"x":{"data_offsets":[0,"a"],"shape":[]}}',
            lambda whole: struct.pack("<Q", 40_000) + b"[" * 40_000,
            lambda whole: b"PK\x03\x04" + whole,
        ],
    )
    def test_refuses_weights_that_are_not_whole(self, tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
        file = write_model(tmp_path) / "model.safetensors"
        file.write_bytes(spoil(file.read_bytes()))
        with pytest.raises(BadModel, match=r"model\.safetensors"):
            inspect(tmp_path)

    @pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
    def test_refuses_settings_that_are_none(self, tmp_path: Path, content: bytes) -> None:
        (write_model(tmp_path) / "config.json").write_bytes(content)
        with pytest.raises(BadModel, match=r"config\.json"):
            inspect(tmp_path)

    def test_follows_no_name_out_of_the_folder(self, tmp_path: Path) -> None:
        folder = write_model(tmp_path / "model")
        (folder / "model.safetensors").rename(tmp_path / "other.safetensors")
        (folder / INDEX).write_text(json.dumps({"weight_map": {"x": "../other.safetensors"}}))
        with pytest.raises(BadModel, match="not there"):
            inspect(folder)
