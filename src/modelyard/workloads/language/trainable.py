"""The model that a customization job trains: a base with an adapter, or all its weights; and how it is kept."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from modelyard.runner.context import InputError
from modelyard.workloads.language.head_loss import head_loss
from modelyard.workloads.language.loading import check_adapter, load_model
from modelyard.workloads.language.memory import batch_tokens
from modelyard.workloads.language.packing import Batch


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


class Trainable:
    """A model of which some weights learn: those that ask for gradients.

    weights: they, by name. model: on its device, with or without an adapter.
    """

    def __init__(self, model: PreTrainedModel | PeftModel) -> None:
        self.model = model
        self.weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._own: Any = model.get_base_model() if isinstance(model, PeftModel) else model
        self._plain = _has_plain_head(self._own)
        model.train()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    def batch_tokens(self, cores: int) -> int:
        """How many tokens fit into one batch."""
        return batch_tokens(self._own.config.get_text_config(), self.device, cores)

    def loss_sum(self, batch: Batch) -> Tensor:
        """The summed negative log-likelihood, in nats, of all targets of a batch.

        There is no mask and no cache: either would let the examples of a row see each other.
        """
        inputs = {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "use_cache": False}
        if self._plain:
            hidden = self._own.base_model(**inputs).last_hidden_state.flatten(0, 1)[batch.places]
            return head_loss(hidden, self._own.get_output_embeddings().weight, batch.targets)
        logits = self.model(**inputs).logits.flatten(0, 1)[batch.places]
        return functional.cross_entropy(logits.float(), batch.targets, reduction="sum")

    def save(self, tokenizer: PreTrainedTokenizerFast, origin: Origin, name: str, folder: Path) -> None:
        """Writes the adapter, or the whole model, as Hugging Face's libraries read it; `name` is that of the base."""
        if isinstance(self.model, PeftModel):
            self.model.peft_config[self.model.active_adapter].base_model_name_or_path = name
            self.model.save_pretrained(str(folder), save_embedding_layers=False)
        else:
            self.model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        origin.write(folder)


@torch.no_grad()
def _has_plain_head(model: Any) -> bool:
    """Whether logits are the last hidden states times the head's weights, and nothing else (no scale, no cap)."""
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear or head.bias is not None or model.base_model is model:
        return False
    ids = torch.arange(4, device=model.device)[None]
    model.eval()
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    return bool(torch.equal(head(hidden), model(input_ids=ids, use_cache=False).logits))


def load_trainable(base: Path, adapter: Path | None, rank: int, full_weights: bool) -> Trainable:
    """The model with the weights that are to learn; a new adapter begins with torch's random numbers.

    adapter: what an earlier job trained, to go on from. rank: that of a new adapter (LoRA, Hu et al., 2021: on every
    linear layer, with alpha = 2 rank). Weights that learn are float32.
    """
    model = load_model(base, torch.float32 if full_weights else None)
    if adapter is not None:
        check_adapter(adapter)
        earlier = PeftModel.from_pretrained(model, str(adapter), is_trainable=not full_weights)
        if not full_weights:
            return Trainable(earlier)
        model = earlier.merge_and_unload()
    if full_weights:
        return Trainable(model.requires_grad_(True))
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    try:
        return Trainable(get_peft_model(model, config))
    except ValueError as error:
        raise InputError(f"no adapter fits the base model ({error}); train full weights") from error
