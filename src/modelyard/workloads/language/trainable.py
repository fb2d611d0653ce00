"""The model that a customization job trains: a base with an adapter, or all its weights; and how it is kept."""

import inspect
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from modelyard.runner.context import InputError
from modelyard.workloads.language.loading import check_adapter, load_model
from modelyard.workloads.language.packing import IGNORED, Batch

Model = PreTrainedModel | PeftModel


@dataclass(frozen=True)
class Origin:
    """What a trained model comes from.

    base: folder of the base model. kind: whether the model's folder holds an adapter of it, or a model of its own.
    prompts: whether a prompt is to be asked as a message of a chat, or as it stands.
    """

    base: str
    kind: Literal["adapter", "full"]
    prompts: Literal["chat", "text"]

    def write(self, folder: Path) -> None:
        """Writes `modelyard.json`."""
        (folder / "modelyard.json").write_text(json.dumps(asdict(self), indent=1))


def load_trainable(base: Path, adapter: Path | None, rank: int, full_weights: bool) -> Model:
    """The model with the weights that are to learn; a new adapter begins with torch's random numbers.

    adapter: what an earlier job trained, to go on from. rank: that of a new adapter (LoRA, Hu et al., 2021: on every
    linear layer, with alpha = 2 rank). Weights that learn are float32.
    """
    model = load_model(base, torch.float32 if full_weights else None)
    if adapter is not None:
        check_adapter(adapter)
        earlier = PeftModel.from_pretrained(model, str(adapter), is_trainable=not full_weights)
        if not full_weights:
            return earlier
        model = earlier.merge_and_unload()
    if full_weights:
        return model.requires_grad_(True)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise InputError(f"no adapter fits the base model ({error}); train full weights") from error


def loss_sum(model: Model, batch: Batch) -> Tensor:
    """The summed negative log-likelihood, in nats, of all targets of a batch.

    There is no mask and no cache: either would let the examples of a row see each other.
    """
    kept = {"logits_to_keep": batch.predicting} if _keeps_logits(model) else {}
    logits = model(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False, **kept).logits
    targets = batch.targets[:, batch.predicting] if kept else batch.targets
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def _keeps_logits(model: Model) -> bool:
    own = model.get_base_model() if isinstance(model, PeftModel) else model
    return "logits_to_keep" in inspect.signature(own.forward).parameters


def save_trained(model: Model, tokenizer: PreTrainedTokenizerFast, origin: Origin, name: str, folder: Path) -> None:
    """Writes the adapter, or the whole model, as Hugging Face's libraries read it; `name` is that of the base."""
    if isinstance(model, PeftModel):
        model.peft_config[model.active_adapter].base_model_name_or_path = name
        model.save_pretrained(str(folder), save_embedding_layers=False)
    else:
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    origin.write(folder)


def trained_weights(model: Model) -> dict[str, torch.nn.Parameter]:
    """The weights that learn, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
