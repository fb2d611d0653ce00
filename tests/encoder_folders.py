"""Tiny models of text for tests: a BERT with random weights and a tokenizer of a few words, tables of vectors, and
packages that bring such models.
"""

import io
import json
import struct
from pathlib import Path
from typing import Any

WORDS = (
    *("the", "cat", "dog", "sat", "on", "a", "mat", "and", "ran", "far"),
    *("away", "under", "blue", "sky", "red", "house", "two", "birds", "sing"),
)


def write_encoder(folder: Path, seed: int = 0, **modules: Any) -> Path:
    """A sentence encoder as transformers saves it; `modules` are sentence-transformers' pooling settings."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=140,
    )
    BertModel(config).save_pretrained(folder)
    if modules:
        kinds = ["Transformer", "Pooling", *(["Normalize"] if modules.pop("normalize", False) else [])]
        described = [
            {"idx": place, "name": str(place), "path": f"{place}_{kind}" if place else "", "type": f"st.models.{kind}"}
            for place, kind in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(described))
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(modules))
    return folder


def write_vectors(folder: Path, vectors: dict[str, list[float]], header: bool = True) -> Path:
    """A folder with a table of word vectors."""
    folder.mkdir(parents=True, exist_ok=True)
    size = len(next(iter(vectors.values())))
    lines = [f"{len(vectors)} {size}"] if header else []
    lines += [f"{word} {' '.join(map(str, vector))}" for word, vector in vectors.items()]
    (folder / "words.vec").write_text("\n".join(lines) + "\n")
    return folder


def write_binary(folder: Path, vectors: dict[str, list[float]], end: str = "\n") -> Path:
    """A folder with a table in word2vec's binary form; its program ends a vector by a line feed, gensim does not."""
    folder.mkdir(parents=True, exist_ok=True)
    size = len(next(iter(vectors.values())))
    entries = [
        word.encode() + b" " + struct.pack(f"<{size}f", *vector) + end.encode() for word, vector in vectors.items()
    ]
    (folder / "words.bin").write_bytes(f"{len(vectors)} {size}\n".encode() + b"".join(entries))
    return folder


SPACY_KEYS = {
    "cat": 5439657043933447811,
    "dog": 7562983679033046312,
    "mat": 11408774834842292007,
    "birds": 8320888495162731214,
    "Paris": 10427160276079242800,
    "number": 432,
    "birdhouses": 14273281286813031747,
    "\u00fcberraschungen": 12520304913939721219,
}
"""By what spaCy 3.8 knows words: its `get_string_id`."""


def write_spacy(folder: Path, vectors: dict[str, list[float]] | None = None, **settings: Any) -> Path:
    """A folder with word vectors as spaCy keeps them; the rows are in the reverse order of the words."""
    import msgpack
    import numpy as np

    vectors = vectors or {"cat": [1, 2]}
    vocabulary = folder / "vocab"
    vocabulary.mkdir(parents=True)
    buffer = io.BytesIO()
    np.save(buffer, np.array(list(vectors.values())[::-1], np.float32), allow_pickle=False)
    (vocabulary / "vectors").write_bytes(buffer.getvalue())
    rows = {SPACY_KEYS[word]: len(vectors) - 1 - place for place, word in enumerate(vectors)}
    (vocabulary / "key2row").write_bytes(msgpack.packb(rows))
    (vocabulary / "vectors.cfg").write_text(json.dumps({"mode": "default", **settings}))
    return folder


def write_package(site: Path, name: str, version: str, folder: str) -> Path:
    """An installed distribution whose module fails when it is imported; the folder that is to have its model."""
    description = site / f"{name}-{version}.dist-info"
    description.mkdir(parents=True)
    (description / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (site / name).mkdir()
    (site / name / "__init__.py").write_text("raise AssertionError('this is not to be imported')\n")
    return site / folder


def list_files(site: Path) -> None:
    """Writes what pip does of each distribution: the list of its files."""
    for description in site.glob("*.dist-info"):
        folder = site / description.name.partition("-")[0]
        files = sorted(file.relative_to(site) for file in folder.rglob("*") if file.is_file())
        (description / "RECORD").write_text("".join(f"{file},,\n" for file in files))
