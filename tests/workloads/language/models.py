"""Very small models with random weights, and adapters of theirs, made as users make them."""

import os
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CONTEXT = 256
SHAPE = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
WIDE = {**SHAPE, "head_dim": 32}
"""vLLM's attention has no narrower heads on a processor."""
ENGINE = os.environ.get("MODELYARD_LANGUAGE_ENGINE", "auto")
"""What generates in tests of served models."""


def build_tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer: a character such as 😀 takes several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPE["vocab_size"], special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["the crew of the north station keeps the light"] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = template
    return fast


def build_model(folder: Path, config: PreTrainedConfig | None = None, template: str | None = TEMPLATE) -> Path:
    """Saves a model of random weights with its tokenizer; a Llama of some 60,000 parameters unless told otherwise."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config or LlamaConfig(**WIDE))
    spread(model)
    model.save_pretrained(folder)
    build_tokenizer(template).save_pretrained(folder)
    return folder


def build_adapter(folder: Path, base: Path, seed: int, targets: list[str] | str = "all-linear", rank: int = 4) -> Path:
    """Saves a LoRA adapter of random weights."""
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="CAUSAL_LM")
    model = get_peft_model(LlamaForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_" in name:
                weights.normal_(0, 0.3)
    model.save_pretrained(folder)
    return folder


def spread(model: PreTrainedModel) -> None:
    """Larger weights than a new model's, so that its answers vary and are not decided by rounding."""
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.mul_(8)
