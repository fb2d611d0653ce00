"""Tiny models of text for tests: a BERT with random weights and a tokenizer of a few words, and a table of vectors."""

import json
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
