"""Text as vectors, by models that are registered or installed: sentence encoders, and tables of word vectors.

- `text_sbert`, `text_sbert128`, `text_sbert512`: the mean of the last layer's vectors of the tokens, of length 1, as
  Sentence-BERT does (https://arxiv.org/abs/1908.10084), unless the model's folder says otherwise.
- `text_fasttext`: the mean of the words' vectors, each of length 1 before, as fastText makes sentence vectors.
- `text_word2vec`: the mean of the words' vectors. Words that the table lacks count in neither; case is dropped where
  only that helps. Chinese is cut into the longest words that the table has.

An empty text, and one without a known word, is a vector of zeros.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from modelyard.model_folder import BadModel
from modelyard.runner.context import InputError
from modelyard.text_models import MAX_TOKENS, SENTENCES, TextFolder, inspect, missing, model_id, pooling
from modelyard.word_tables import WordTable, find_table
from modelyard.workloads.graph.processing.export import FeatureSpec
from modelyard.workloads.graph.processing.word_index import Progress, WordIndex
from modelyard.workloads.graph.processing.word_vectors import detect, word_means

BATCH = 64
"""Texts that a sentence encoder sees at once; of like lengths, since the longest sets the cost of all."""
SAMPLE = 1000
"""Texts by which the language is told."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class TextModels:
    """The folders of models, what threads they may use, and who is told of texts encoded.

    Of several folders with one id the first is for new features; the others are for those that they encoded before.
    What was loaded of a folder is kept.
    """

    def __init__(self, folders: Sequence[TextFolder] = (), cores: int = 1, progress: Progress = lambda _: None) -> None:
        self._folders = folders
        self._cores = cores
        self._progress = progress
        self._digests: dict[TextFolder, str] = {}
        self._sentences: dict[str, Sentences] = {}
        self._words: dict[str, WordIndex] = {}

    def fit(self, spec: FeatureSpec) -> "TextVectors":
        """The encoder of a text feature. Raises InputError if its model is not there, or no more what it was."""
        id = model_id(spec.type, spec.options.get("language"))
        folder = next((one for one in self._folders if one.id == id), None)
        if folder is None:
            raise InputError(missing(spec.place, spec.type, id))
        try:
            inspect(id, folder.path)
        except BadModel as error:
            raise InputError(f"{spec.place}: the model {id} cannot be used any more: {error}") from None
        length = MAX_TOKENS.get(spec.type, spec.options.get("max_length"))
        return TextVectors(id, self._digest(folder), self._size(folder), length, folder.package, self)

    def again(self, encoder: "TextVectors", place: str) -> "TextVectors":
        """An earlier job's encoder, with the same model. Raises InputError if that is not there any more."""
        if self._folder(encoder) is None:
            there = [one for one in self._folders if one.id == encoder.model and one.path.is_dir()]
            known = (
                " and ".join(f"{self._digest(one)[:12]} is {_origin(one)}" for one in there)
                or "none is registered or installed"
            )
            package = f" of the package {encoder.package}" if encoder.package else ""
            raise InputError(
                f"{place}: the previous job encoded by the model {encoder.model} of SHA-256 {encoder.digest[:12]}"
                f"{package}, and {known}; {'install' if package else 'register'} that one again, or process without "
                "previousDataProcessingJobId"
            )
        return replace(encoder, models=self)

    def chosen(self, spec: FeatureSpec, column: pl.Series) -> FeatureSpec:
        """What a text that `auto` found is encoded by: fastText in its language, else sentences, else as it is."""
        language = detect(column.filter(column != "").head(SAMPLE).to_list())
        kept = {key: value for key, value in spec.options.items() if key == "set"}
        ids = {folder.id for folder in self._folders}
        if language and model_id("text_fasttext", language) in ids:
            return replace(spec, type="text_fasttext", options={**kept, "language": language})
        return replace(spec, type=SENTENCES, options=kept) if SENTENCES in ids else spec

    def vectors(self, encoder: "TextVectors", texts: Sequence[str]) -> np.ndarray:
        """float32 `[len(texts), size]`."""
        folder = self._folder(encoder)
        assert folder is not None
        if encoder.model == SENTENCES:
            return self._encoder(folder).encode(texts, encoder.length or MAX_TOKENS[SENTENCES], self._progress)
        unit = encoder.model.startswith("text_fasttext")
        return word_means(self._index(folder), texts, encoder.length, unit)

    def _folder(self, encoder: "TextVectors") -> TextFolder | None:
        same_id = (folder for folder in self._folders if folder.id == encoder.model)
        return next((folder for folder in same_id if self._digest(folder) == encoder.digest), None)

    def _encoder(self, folder: TextFolder) -> "Sentences":
        return _kept(self._sentences, self._digest(folder), lambda: Sentences(folder.path, self._cores))

    def _index(self, folder: TextFolder) -> WordIndex:
        return _kept(self._words, self._digest(folder), lambda: WordIndex(_table(folder), self._progress))

    def _digest(self, folder: TextFolder) -> str:
        return _kept(self._digests, folder, lambda: digest(folder.id, folder.path))

    def _size(self, folder: TextFolder) -> int:
        return self._encoder(folder).size if folder.id == SENTENCES else _table(folder).size


@dataclass(frozen=True)
class TextVectors:
    """The encoder of a text: a model by id and SHA-256, the `size` of its vectors, and tokens that count.

    package: the name and the version of the package that brought the model, None if it was registered.
    """

    model: str
    digest: str
    size: int
    length: int | None = None
    package: str | None = None
    models: TextModels | None = field(default=None, repr=False, compare=False)

    @property
    def dim(self) -> int:
        """The size of the vectors."""
        return self.size

    def encode(self, column: pl.Series) -> np.ndarray:
        """Of text `[num_rows]`. Raises InputError where the model is not at hand, unless all texts are empty."""
        distinct = column.unique(maintain_order=True)
        filled = distinct.filter(distinct.str.strip_chars() != "")
        if filled.is_empty():
            return np.zeros((len(column), self.size), np.float32)
        if self.models is None:
            raise InputError(f"text encoded by the model {self.model} cannot be encoded here: the model is not at hand")
        vectors = np.zeros((len(filled) + 1, self.size), np.float32)
        vectors[:-1] = self.models.vectors(self, filled.to_list())
        places = pl.DataFrame({"text": filled, "place": pl.arange(0, len(filled), eager=True, dtype=pl.Int64)})
        found = column.rename("text").to_frame().join(places, on="text", how="left", maintain_order="left")["place"]
        rows: np.ndarray = vectors[found.fill_null(len(filled)).to_numpy()]
        return rows


class Sentences:
    """A sentence encoder, loaded from safetensors; no code of its own is run."""

    def __init__(self, folder: Path, cores: int) -> None:
        os.environ.setdefault("RAYON_NUM_THREADS", str(cores))  # the tokenizer's threads
        import torch  # seconds to import, seldom needed

        try:
            from transformers import AutoModel, AutoTokenizer
            from transformers.utils.logging import disable_progress_bar
        except ImportError:
            raise InputError('text_sbert needs more libraries: pip install "modelyard[language]"') from None
        disable_progress_bar()  # a task's log is no terminal
        torch.set_num_threads(cores)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._pooling, self._unit = pooling(folder)
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            model = AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **options)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"the model {SENTENCES} in {folder} cannot be loaded: {reason}") from error
        self._model: Any = model.requires_grad_(False).eval().to(self._device)
        self.size = int(model.config.hidden_size)
        """Of a vector."""
        self._context = int(
            min(self._tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512))
        )

    def encode(self, texts: Sequence[str], max_tokens: int, progress: Progress) -> np.ndarray:
        """float32 `[len(texts), size]`; what comes after `max_tokens` is left out."""
        vectors = np.empty((len(texts), self.size), np.float32)
        order = sorted(range(len(texts)), key=lambda one: -len(texts[one]))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            vectors[batch] = self._batch([texts[one] for one in batch], min(max_tokens, self._context))
            progress(len(batch))
        return vectors

    def _batch(self, texts: list[str], max_tokens: int) -> np.ndarray:
        import torch

        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
        tokens = tokens.to(self._device)
        with torch.inference_mode():
            hidden = self._model(**tokens).last_hidden_state
            weights = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
            vectors = mean if self._pooling == "mean" else hidden[:, 0]
            vectors = torch.nn.functional.normalize(vectors) if self._unit else vectors
        return np.asarray(vectors.float().cpu().numpy())


def digest(id: str, folder: Path) -> str:
    """SHA-256 of all that a model's vectors depend on; empty if there is no such model any more."""
    total, files = hashlib.sha256(), _files(id, folder)
    for name, path in files:
        with path.open("rb") as file:
            total.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return total.hexdigest() if files else ""


def _files(id: str, folder: Path) -> list[tuple[str, Path]]:
    if id == SENTENCES:
        names = ("*.safetensors", "*.json", "*/config.json", "*.txt")
        paths = sorted({path for name in names for path in folder.glob(name)})
        return [(str(path.relative_to(folder)), path) for path in paths]
    try:
        return [(path.name, path) for path in find_table(folder).files]
    except BadModel:
        return []


def _table(folder: TextFolder) -> WordTable:
    try:
        return find_table(folder.path)
    except BadModel as error:
        raise InputError(f"the model {folder.id} cannot be used any more: {error}") from None


def _origin(folder: TextFolder) -> str:
    return f"installed ({folder.package})" if folder.package else "registered"


def _kept(kept: dict[_Key, _Value], key: _Key, make: Callable[[], _Value]) -> _Value:
    if key not in kept:
        kept[key] = make()
    return kept[key]
