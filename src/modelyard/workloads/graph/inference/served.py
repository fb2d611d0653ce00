"""What a serving task knows of a model besides arrays: `serving/serving.json` of a transform's output.

Beside it lie `ids/` (`ids.write_index`), and

- for node tasks `scores.npy`: float32 `[num_nodes, num_classes]`, probabilities, or `[num_nodes, 1]`, predicted values;
- for link prediction `tail_vectors.npy` and `head_vectors.npy`: float32 `[targets, channels]`, and for target k
  `known/<k>/tails` and `known/<k>/heads` (`ranking.write_known`).

The vectors of all nodes, float32 `[num_nodes, channels]` by global row, are in `embeddings/entity.npy` of the output.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from modelyard.runner.serving import RequestError
from modelyard.workloads.graph.inference.ranking import Scorer
from modelyard.workloads.graph.inference.requests import Request


@dataclass(frozen=True)
class Target:
    """An edge type that link prediction or an edge task was trained for, by the numbers of its node types."""

    source: int
    relation: str
    dest: int

    def ends(self, mode: str | None) -> tuple[int, int]:
        """The node type that a request names, and the one that it asks for."""
        return (self.source, self.dest) if mode == "predict_tail" else (self.dest, self.source)


@dataclass(frozen=True)
class Served:
    """A served model's task and types; nodes of type t have the global rows `offsets[t]` to `offsets[t + 1]`."""

    task: str
    node_types: tuple[str, ...]
    offsets: tuple[int, ...]
    node_type: int = 0
    label_property: str | None = None
    classes: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    scorer: Scorer = "distmult"

    @property
    def num_nodes(self) -> int:
        """Nodes of all types."""
        return self.offsets[-1]

    def rows(self, node_type: int | None) -> slice:
        """The global rows of a node type, or all of them."""
        return slice(0, self.num_nodes) if node_type is None else slice(*self.offsets[node_type : node_type + 2])

    def type_number(self, name: str | None) -> int | None:
        """The number of a node type that a request names; RequestError if there is no such type."""
        if name is None:
            return None
        if name not in self.node_types:
            raise RequestError(f"no node type {name!r}; this endpoint knows {listed(self.node_types)}")
        return self.node_types.index(name)

    def targets_of(self, request: Request) -> list[int]:
        """The targets that a request can mean; RequestError if there is none, or if they ask for different types.

        There are several only where one relation leads from nodes of several types to those that are asked for.
        """
        relations = sorted({target.relation for target in self.targets})
        relation = request.edge_type or (relations[0] if len(relations) == 1 else None)
        if relation not in relations:
            said = f"no edgeType {relation!r}" if relation else "edgeType is missing"
            raise RequestError(f"{said}; this endpoint predicts {listed(relations)}")
        ends = {n: t.ends(request.mode) for n, t in enumerate(self.targets) if t.relation == relation}
        names, near, far = ("headNodeType", "tailNodeType"), request.head_type, request.tail_type
        if request.mode == "predict_head":
            names, near, far = names[::-1], far, near
        ends = self._narrowed(ends, 0, names[0], near)
        ends = self._narrowed(ends, 1, names[1], far)
        if len(asked := {self.node_types[far] for _, far in ends.values()}) > 1:
            raise RequestError(f"{names[1]} is missing; edgeType {relation!r} leads to {listed(sorted(asked))}")
        return list(ends)

    def _narrowed(
        self, ends: dict[int, tuple[int, int]], side: int, name: str, value: str | None
    ) -> dict[int, tuple[int, int]]:
        if value is None:
            return ends
        narrowed = {number: pair for number, pair in ends.items() if self.node_types[pair[side]] == value}
        if not narrowed:
            there = sorted({self.node_types[pair[side]] for pair in ends.values()})
            raise RequestError(f"{name} {value!r} does not fit the edgeType; it can be {listed(there)}")
        return narrowed

    def write(self, folder: Path) -> None:
        """Writes `serving.json`."""
        (folder / "serving.json").write_text(json.dumps({"version": 1, **asdict(self)}))


def read_served(folder: Path) -> Served:
    """Reads `serving.json`."""
    document = json.loads((folder / "serving.json").read_text())
    return Served(
        task=document["task"],
        node_types=tuple(document["node_types"]),
        offsets=tuple(document["offsets"]),
        node_type=document["node_type"],
        label_property=document["label_property"],
        classes=tuple(document["classes"]),
        targets=tuple(Target(**target) for target in document["targets"]),
        scorer=document.get("scorer", "distmult"),
    )


def listed(names: Iterable[str]) -> str:
    """The first twenty of some names, quoted, for a sentence."""
    shown = [repr(name) for name in names]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")
