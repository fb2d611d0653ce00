"""A knowledge graph of 15,000 entities and 237 relations, made of botocore's service models.

Entities are names, the same in every service that uses them: of operations (`CreateBucket()`), of shapes (`Tag`), of
members (`.Name`), of values of enumerations (`=ACTIVE`), and the words that these consist of (`~bucket`). A triple
(one, service, other) says that in this service one name holds, takes, gives, raises or is made of the other; so the
relations are services.

The cut is the same for the same botocore. Of all triples, those of the 237 services that have most are kept, and those
between names that stand in many: round by round the rarest names go, until 15,000 are left. Then triples are put in the
order of their hashes: the first 20,000 are for the test, the next 20,000 for validation, and 270,000 are to train on.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from aws_api_graph import service_models

ENTITIES, RELATIONS, HELD_OUT, TRAIN = 15_000, 237, 20_000, 270_000
_KEPT = 0.93
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

Triple = tuple[str, str, str]


@dataclass(frozen=True)
class KnowledgeGraph:
    """Triples int64 `[n, 3]`: head, relation, tail."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    num_entities: int
    num_relations: int


def knowledge_graph() -> KnowledgeGraph:
    """Makes the graph; a quarter of a minute."""
    names: dict[str, int] = {}
    services: dict[str, int] = {}
    triples = sorted(set(all_triples()))
    numbers = np.array(
        [
            [table.setdefault(name, len(table)) for table, name in zip((names, services, names), triple, strict=True)]
            for triple in triples
        ]
    )
    kept = cut(numbers, len(names))
    order = np.argsort([_hash(triples[place]) for place in kept], kind="stable")[: TRAIN + 2 * HELD_OUT]
    chosen = numbers[kept[order]]
    entities, relations = np.unique(chosen[:, [0, 2]]), np.unique(chosen[:, 1])
    chosen = np.stack(
        [
            np.searchsorted(entities, chosen[:, 0]),
            np.searchsorted(relations, chosen[:, 1]),
            np.searchsorted(entities, chosen[:, 2]),
        ],
        axis=1,
    )
    test, valid, train = np.split(chosen, [HELD_OUT, 2 * HELD_OUT])
    return KnowledgeGraph(train, valid, test, len(entities), len(relations))


def all_triples() -> Iterator[Triple]:
    """Every triple of every service, and the words of the names in it."""
    for service, model, _ in service_models():
        for one, other in {*of_shapes(model["shapes"]), *of_operations(model)}:
            yield one, service, other
            for name in (one, other):
                if not name.startswith("="):
                    yield from ((name, service, f"~{word.lower()}") for word in _WORD.findall(name))


def of_shapes(shapes: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What shapes hold: members and their shapes, elements, keys and values, values of enumerations."""
    for name, shape in shapes.items():
        for member, held in shape.get("members", {}).items():
            yield from ((name, f".{member}"), (f".{member}", held["shape"]), (name, held["shape"]))
        yield from ((name, shape[part]["shape"]) for part in ("member", "key", "value") if part in shape)
        yield from ((name, f"={value}") for value in shape.get("enum", ()))


def of_operations(model: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What operations take, give and raise, and the members of that."""
    for name, operation in model["operations"].items():
        for part in ("input", "output"):
            if part in operation:
                shape = operation[part]["shape"]
                yield f"{name}()", shape
                yield from ((f"{name}()", f".{member}") for member in model["shapes"][shape].get("members", {}))
        yield from ((f"{name}()", error["shape"]) for error in operation.get("errors", ()))


def cut(numbers: np.ndarray, names: int) -> np.ndarray:
    """The places of the triples that are kept."""
    kept = np.arange(len(numbers))
    while True:
        triples = numbers[kept]
        most = np.argsort(-np.bincount(triples[:, 1]), kind="stable")[:RELATIONS]
        kept = kept[np.isin(triples[:, 1], most)]
        degree = np.bincount(numbers[kept][:, [0, 2]].ravel(), minlength=names)
        left = np.count_nonzero(degree)
        if left <= ENTITIES:
            return kept
        frequent = np.argsort(-degree, kind="stable")[: max(ENTITIES, int(left * _KEPT))]
        kept = kept[np.isin(numbers[kept][:, [0, 2]], frequent).all(axis=1)]


def _hash(triple: Triple) -> int:
    return int.from_bytes(blake2b("\t".join(triple).encode(), digest_size=7).digest())
