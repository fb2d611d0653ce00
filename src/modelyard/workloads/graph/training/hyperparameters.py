"""The hyperparameters of all models, by the names that Neptune ML gives them.

Source: Amazon Neptune User Guide, "Customizing model hyperparameter configurations in Neptune ML".
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from math import isfinite
from typing import Any

from modelyard.runner.context import InputError
from modelyard.workloads.graph.models.registry import model_class

_KINDS = {"bool": "true or false", "int": "an integer", "float": "a finite number"}


def _named(default: Any, text: str, at_least: float | None = None, below: float | None = None) -> Any:
    return field(default=default, metadata={"text": text, "at_least": at_least, "below": below})


@dataclass(frozen=True)
class Hyperparameters:
    """One setting of everything that a search may tune; a name that a file leaves out has the value written here.

    Each model takes some of them (`Model.hyperparameters`).
    """

    num_hidden: int = _named(64, "channels of hidden layers and of learnable embeddings", 1)
    num_layer: int = _named(2, "layers of message passing", 1)
    num_bases: int = _named(0, "weight bases shared by all relations; 0 gives each relation its own weight", 0)
    num_heads: int = _named(4, "attention heads, which share the hidden channels", 1)
    num_epochs: int = _named(30, "passes over the training targets, at most", 1)
    lr: float = _named(0.01, "Adam's learning rate", 0)
    sparse_lr: float | None = _named(None, "learning rate of the learnable embeddings; absent: `lr`", 0)
    l2norm: float = _named(0.0, "weight decay (L2) of every weight but the learnable embeddings", 0)
    dropout: float = _named(0.0, "share of hidden values, and of stored values of sparse features, zeroed", 0, 1)
    layer_norm: bool = _named(False, "layer normalisation after each layer but the last")
    use_self_loop: bool = _named(True, "a node's own vector takes part in its update")
    concat_node_embed: bool = _named(False, "learnable embeddings also for nodes that have features")
    per_feat_name_embed: bool = _named(False, "each feature is projected, with a ReLU, before they are summed")
    use_class_weight: bool = _named(False, "classes weigh inversely to their training labels")
    batch_size: int = _named(1024, "training targets (nodes or edges) of one optimizer step", 1)
    enable_early_stop: bool = _named(True, "stop when validation falls below its recent mean")
    window_for_early_stop: int = _named(3, "how many evaluations that mean covers", 1)
    num_negs: int = _named(0, "negatives of each positive edge; 0: every other node of the type", 0)
    neg_share: bool = _named(True, "the edges of a batch share their negatives")
    gamma: float = _named(9.0, "margin that negatives keep from a node, as distance (self-adversarial loss)", 0)
    rel_part: bool = _named(False, "without effect: relations are never divided among processes")
    regularization_coef: float = _named(0.0, "weight of the cubed L3 norm of scored vectors", 0)
    fanout: tuple[int, ...] | int | None = _named(
        None, "neighbours drawn per relation, one number a layer; absent: all"
    )
    low_mem: bool = _named(True, "with `fanout`: large embeddings lie in files, and blocks are smaller")
    use_edge_features: bool = _named(False, "features of edges gate and shift the messages along them")
    edge_num_hidden: int = _named(16, "channels that features of edges are projected to for that", 1)

    @classmethod
    def from_names(cls, values: Mapping[str, Any], model: str = "rgcn") -> "Hyperparameters":
        """Builds a model's setting from AWS's hyphenated names; InputError names what is unknown or out of bounds."""
        known = {one.name.replace("_", "-"): one for one in fields(cls)}
        taken = model_class(model).hyperparameters
        settings = {}
        for name, value in values.items():
            if name not in taken:
                raise InputError(f"hyperparameter {name!r} is not one of {model}'s; it has {', '.join(sorted(taken))}")
            settings[known[name].name] = _checked(name, known[name], value)
        return cls(**settings)

    def names(self, model: str = "rgcn") -> dict[str, Any]:
        """What a model takes of the setting, by AWS's names, as JSON."""
        every = {one.name.replace("_", "-"): getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in every.items() if name in model_class(model).hyperparameters}


def _checked(name: str, one: Field[Any], value: Any) -> Any:
    """The value in the field's own type; InputError where it does not fit."""
    kinds = str(one.type)
    if value is None and "None" in kinds:
        return None
    if name == "fanout":
        return _fanout(value)
    if name == "l2norm" and isinstance(value, bool):  # Neptune's own list of parameters prints it as a bool
        value = float(value)
    wanted = "bool" if "bool" in kinds else "int" if "int" in kinds else "float"
    fits = {
        "bool": isinstance(value, bool),
        "int": isinstance(value, int | float) and not isinstance(value, bool) and value == int(value),
        "float": isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value),
    }[wanted]
    if not fits:
        raise InputError(f"hyperparameter {name!r} must be {_KINDS[wanted]}, not {value!r}")
    low, high = one.metadata["at_least"], one.metadata["below"]
    if (low is not None and value < low) or (high is not None and value >= high):
        bounds = f"at least {low}" + (f" and below {high}" if high is not None else "")
        raise InputError(f"hyperparameter {name!r} must be {bounds}, not {value!r}")
    return {"bool": bool, "int": int, "float": float}[wanted](value)


def _fanout(value: Any) -> Any:
    layers = value if isinstance(value, list | tuple) else [value]
    fits = [isinstance(one, int) and not isinstance(one, bool) and (one > 0 or one == -1) for one in layers]
    if not layers or not all(fits):
        raise InputError(
            f"hyperparameter 'fanout' must be a number above 0, -1 (all neighbours), or a list of such, not {value!r}"
        )
    return tuple(value) if isinstance(value, list | tuple) else value
