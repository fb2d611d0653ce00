import json
from pathlib import Path

import pytest

from modelyard.model_folder import BadModel
from modelyard.text_models import inspect, model_id, pooling
from tests.encoder_folders import write_vectors
from tests.model_folders import write_model


def encoder(folder: Path, *kinds: str, **pooling: bool) -> Path:
    write_model(folder, architectures=["BertModel"])
    if kinds:
        described = [
            {"path": f"{n}_{kind}", "type": f"sentence_transformers.models.{kind}"} for n, kind in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(described))
    if pooling:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def test_each_feature_has_its_model() -> None:
    assert {model_id(name) for name in ("text_sbert", "text_sbert128", "text_sbert512")} == {"text_sbert"}
    assert model_id("text_fasttext", "hi") == "text_fasttext.hi"
    assert {model_id(name) for name in ("text_word2vec", "word2vec")} == {"text_word2vec"}


@pytest.mark.parametrize("id", ["text_fasttext.en", "text_word2vec"])
@pytest.mark.parametrize("header", [True, False])
def test_a_table_of_vectors(tmp_path: Path, id: str, header: bool) -> None:
    inspect(id, write_vectors(tmp_path, {"cat": [1, 2], "dog": [3, 4]}, header))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "has 0 files of the ending .vec or .txt, where one is needed$"),
        ({"cc.en.300.bin": b"x"}, r"has 0 files .*fastText's \.bin is not read"),
        ({"a.vec": b"a 1\nb 2\n", "b.vec": b"a 1\nb 2\n"}, "has 2 files"),
        ({"a.vec": b""}, "line 2: is no word with its vector"),
        ({"a.vec": b"PK\x03\x04\n\x00\x01\x02"}, "line 2: is no word with its vector"),
    ],
)
def test_what_is_no_table_of_vectors(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(BadModel, match=reason):
        inspect("text_fasttext.en", tmp_path)


def test_a_sentence_encoder_pools_as_its_folder_says(tmp_path: Path) -> None:
    assert pooling(encoder(tmp_path / "plain")) == ("mean", True)
    modules = encoder(tmp_path / "mean", "Transformer", "Pooling", pooling_mode_mean_tokens=True)
    assert pooling(modules) == ("mean", False)
    first = encoder(tmp_path / "cls", "Transformer", "Pooling", "Normalize", pooling_mode_cls_token=True)
    assert pooling(first) == ("cls", True)
    for folder in ("plain", "mean", "cls"):
        inspect("text_sbert", tmp_path / folder)


def test_what_is_no_sentence_encoder(tmp_path: Path) -> None:
    dense = encoder(tmp_path / "dense", "Transformer", "Pooling", "Dense", pooling_mode_mean_tokens=True)
    with pytest.raises(BadModel, match="the module Dense is not served"):
        inspect("text_sbert", dense)
    highest = encoder(tmp_path / "max", "Transformer", "Pooling", pooling_mode_max_tokens=True)
    with pytest.raises(BadModel, match="pools by max; mean or cls is served"):
        inspect("text_sbert", highest)
    outside = encoder(tmp_path / "outside")
    (outside / "modules.json").write_text(json.dumps([{"path": "../x", "type": "st.Pooling"}]))
    with pytest.raises(BadModel, match="is no folder within"):
        inspect("text_sbert", outside)
    pickled = encoder(tmp_path / "pickled")
    (pickled / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(BadModel, match="pickles"):
        inspect("text_sbert", pickled)
    with pytest.raises(BadModel, match="auto_map"):
        inspect("text_sbert", write_model(tmp_path / "code", auto_map={"AutoModel": "evil.Model"}))
    with pytest.raises(BadModel, match="there is no such folder"):
        inspect("text_sbert", tmp_path / "nothing")


def test_an_id_that_no_feature_has(tmp_path: Path) -> None:
    with pytest.raises(
        BadModel, match=r"'text_fasttext.de' is no model of text; there are text_sbert, text_fasttext.en"
    ):
        inspect("text_fasttext.de", tmp_path)
