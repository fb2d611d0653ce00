"""Models that turn text into vectors: which feature wants which, and what their folders must hold. No ML library.

They are the operator's, like base models, and apart from those: no client sees them, and their ids have no form that
Bedrock's may have. A folder of `text_sbert` holds a sentence-transformers or other Hugging Face encoder, the others a
table of word vectors as text (`.vec`), as fastText and word2vec write it.
https://www.sbert.net/docs/sentence_transformer/usage/custom_models.html https://fasttext.cc/docs/en/crawl-vectors.html
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelyard.model_folder import BadModel, inspect_encoder, read_json

LANGUAGES = ("en", "zh", "hi", "es", "fr")
"""Those for which Neptune ML has fastText's vectors."""
SENTENCES, WORDS = "text_sbert", "text_word2vec"
IDS = (SENTENCES, *(f"text_fasttext.{language}" for language in LANGUAGES), WORDS)

MAX_TOKENS: Mapping[str, int] = {SENTENCES: 128, "text_sbert128": 128, "text_sbert512": 512}
FEATURES = (*MAX_TOKENS, "text_fasttext", WORDS, "word2vec")
"""The types of features that need a model."""

MODULES = ("Transformer", "Pooling", "Normalize")
POOLINGS = ("mean", "cls")
VECTORS = (".vec", ".txt")


def model_id(feature: str, language: Any = None) -> str:
    """The id of the model that a feature needs; `language` is told by `text_fasttext`."""
    if feature in MAX_TOKENS:
        return SENTENCES
    return f"text_fasttext.{language}" if feature == "text_fasttext" else WORDS


def missing(place: str, feature: str, id: str) -> str:
    """What to say where no model is registered for a feature of the configuration."""
    what = "a folder of a sentence encoder" if id == SENTENCES else "a folder with word vectors, a .vec file"
    return (
        f"{place}: {feature} needs a model, and none is registered: modelyard models add {id} FOLDER, with {what}; "
        "text_tfidf needs none"
    )


def inspect(id: str, path: Path) -> None:
    """Looks at what a folder must hold to be the model `id`; BadModel names what is wrong."""
    if id not in IDS:
        raise BadModel(f"{id[:200]!r} is no model of text; there are {', '.join(IDS)}")
    if id != SENTENCES:
        vectors_file(path)
        return
    inspect_encoder(path)
    pooling(path)


def vectors_file(path: Path) -> Path:
    """The one table of word vectors in a folder; BadModel unless there is one."""
    if not path.is_dir():
        raise BadModel(f"{path}: there is no such folder; give the one that has the .vec file")
    found = sorted(file for file in path.iterdir() if file.suffix in VECTORS and file.is_file())
    if len(found) != 1:
        binary = " (fastText's .bin is not read: it is a format of its own)" if any(path.glob("*.bin")) else ""
        raise BadModel(f"{path}: has {len(found)} files of the ending .vec or .txt, where one is needed{binary}")
    with found[0].open("rb") as file:
        lines = [file.readline(1 << 20).split() for _ in range(2)]
    if len(lines[1]) < 2 or not _is_number(lines[1][-1]):
        raise BadModel(f"{found[0]}, line 2: is no word with its vector, numbers with spaces between")
    return found[0]


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


def _modules(path: Path) -> Iterator[Mapping[str, Any]]:
    modules = read_json(path, "modules.json", "sentence-transformers writes it", list)
    if not all(isinstance(module, dict) for module in modules):
        raise BadModel(f"{path / 'modules.json'}: is no list of modules")
    return iter(modules)


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
