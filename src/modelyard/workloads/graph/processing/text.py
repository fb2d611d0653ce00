"""Text as vectors, by the models that the operator registered: sentence encoders, and tables of word vectors.

- `text_sbert`, `text_sbert128`, `text_sbert512`: the mean of the last layer's vectors of the tokens, of length 1, as
  Sentence-BERT does (https://arxiv.org/abs/1908.10084), unless the model's folder says otherwise.
- `text_fasttext`: the mean of the words' vectors, each of length 1 before, as fastText makes sentence vectors.
- `text_word2vec`: the mean of the words' vectors. Words that the table lacks count in neither; case is dropped where
  only that helps. Chinese is cut into the longest words that the table has.

An empty text, and one without a known word, is a vector of zeros.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from modelyard.model_folder import BadModel
from modelyard.runner.context import InputError
from modelyard.text_models import MAX_TOKENS, SENTENCES, inspect, missing, model_id, pooling, vectors_file
from modelyard.workloads.graph.processing.export import FeatureSpec
from modelyard.workloads.graph.processing.word_vectors import Progress, detect, vector_size, word_means

BATCH = 64
"""Texts that a sentence encoder sees at once; of like lengths, since the longest sets the cost of all."""
SAMPLE = 1000
"""Texts by which the language is told."""


class TextModels:
    """The folders of the registered models by id, what threads they may use, and who is told of texts encoded."""

    def __init__(
        self, folders: Mapping[str, Path] | None = None, cores: int = 1, progress: Progress = lambda _: None
    ) -> None:
        self.folders = folders or {}
        self._cores = cores
        self._progress = progress
        self._digests: dict[str, str] = {}
        self._sentences: Sentences | None = None

    def fit(self, spec: FeatureSpec) -> "TextVectors":
        """The encoder of a text feature. Raises InputError if its model is not registered, or no more what it was."""
        id = model_id(spec.type, spec.options.get("language"))
        if id not in self.folders:
            raise InputError(missing(spec.place, spec.type, id))
        try:
            inspect(id, self.folders[id])
        except BadModel as error:
            raise InputError(f"{spec.place}: the model {id} cannot be used any more: {error}") from None
        length = MAX_TOKENS.get(spec.type, spec.options.get("max_length"))
        return TextVectors(id, self._digest(id), self._size(id), length, self)

    def again(self, encoder: "TextVectors", place: str) -> "TextVectors":
        """An earlier job's encoder, with the same model. Raises InputError if that is not registered."""
        known = self._digest(encoder.model) if encoder.model in self.folders else "none"
        if known != encoder.digest:
            raise InputError(
                f"{place}: the previous job encoded by the model {encoder.model} of SHA-256 {encoder.digest[:12]}, and "
                f"{known[:12]} is registered; register that one again, or process without previousDataProcessingJobId"
            )
        return replace(encoder, models=self)

    def chosen(self, spec: FeatureSpec, column: pl.Series) -> FeatureSpec:
        """What a text that `auto` found is encoded by: fastText in its language, else sentences, else as it is."""
        language = detect(column.filter(column != "").head(SAMPLE).to_list())
        kept = {key: value for key, value in spec.options.items() if key == "set"}
        if language and model_id("text_fasttext", language) in self.folders:
            return replace(spec, type="text_fasttext", options={**kept, "language": language})
        return replace(spec, type=SENTENCES, options=kept) if SENTENCES in self.folders else spec

    def vectors(self, encoder: "TextVectors", texts: Sequence[str]) -> np.ndarray:
        """float32 `[len(texts), size]`."""
        if encoder.model == SENTENCES:
            return self._encoder().encode(texts, encoder.length or MAX_TOKENS[SENTENCES], self._progress)
        table = vectors_file(self.folders[encoder.model])
        unit = encoder.model.startswith("text_fasttext")
        return word_means(table, texts, encoder.size, encoder.length, unit, self._progress)

    def _encoder(self) -> "Sentences":
        self._sentences = self._sentences or Sentences(self.folders[SENTENCES], self._cores)
        return self._sentences

    def _digest(self, id: str) -> str:
        if id not in self._digests:
            self._digests[id] = digest(id, self.folders[id])
        return self._digests[id]

    def _size(self, id: str) -> int:
        return self._encoder().size if id == SENTENCES else vector_size(vectors_file(self.folders[id]))


@dataclass(frozen=True)
class TextVectors:
    """The encoder of a text: a registered model by id and SHA-256, the `size` of its vectors, and tokens that count."""

    model: str
    digest: str
    size: int
    length: int | None = None
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
    """SHA-256 of all that a model's vectors depend on."""
    names = ["*.safetensors", "*.json", "*/config.json", "*.txt"] if id == SENTENCES else ["*.vec", "*.txt"]
    total = hashlib.sha256()
    for path in sorted({path for name in names for path in folder.glob(name)}):
        with path.open("rb") as file:
            total.update(f"{path.relative_to(folder)}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return total.hexdigest()
