"""The AWS API graph: how AWS's own API hangs together, written as Neptune's exporter writes a graph.

    python examples/aws_api_graph.py OUTDIR [--depth N] [--held-out N]

It is read from the service models that botocore ships, each time, so it is as new as the installed botocore:

- `service` nodes have `operation` nodes, which take an `input` shape, give an `output` shape and `raise` errors;
- `shape` nodes (structures, lists, strings ...) `require` or `allow` members, `list` items and `map` values;
- `error` nodes are the shapes that operations raise.

The task is node classification: **is this operation paginated?** The answers are those of botocore's paginator
files; services without such a file are unlabelled. Whole services are held out for validation and test, and
services that share a signing name (`rds`, `docdb` and `neptune` are near copies) fall on the same side.

No name of anything is a feature: not of an operation, not of a shape, not of a member (a member called
`NextToken` would give the answer away). What a model may know is the shape of the API. The `name` column is
there for people, and for the baseline that may use nothing else.
"""

import argparse
import csv
import gzip
import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

import orjson
from botocore.exceptions import DataNotFoundError
from botocore.loaders import Loader

LABEL = "paginated"
NODE_COLUMNS = {
    "service": ("protocol",),
    "operation": ("name", "http_method", LABEL),
    "shape": ("kind", "traits", "members"),
    "error": ("status", "fault"),
}
FEATURES: dict[str, list[dict[str, Any]]] = {
    "service": [{"feature": ["protocol", "protocol", "category"]}],
    "operation": [{"feature": ["http_method", "http_method", "category"]}],
    "shape": [
        {"feature": ["kind", "kind", "category"]},
        {"feature": ["traits", "traits", "category"], "separator": ";"},
        {"feature": ["members", "members", "bucket_numerical"], "range": [0, 20], "bucket_cnt": 10},
    ],
    "error": [
        {"feature": ["status", "status", "category"]},
        {"feature": ["fault", "fault", "category"]},
    ],
}
TRAITS = ("box", "enum", "max", "min", "pattern", "sensitive", "streaming", "union")
SPLITS = ("train", "valid", "test")
CONFIGURATION = "training-data-configuration.json"

EdgeType = tuple[str, str, str]


def write_graph(folder: Path, depth: int = 1, held_out: int = 0) -> Counter[str]:
    """Writes the export into `folder` and returns how many nodes and edges of each type it has.

    `depth` is how many steps are taken from an operation's input and output down into their members. A model of
    two layers sees one; with 20 every shape that an operation can reach is there. `held_out` is the fifth of the
    services that is kept for the test; the next fifth is for validation. The same botocore gives the same files,
    byte for byte.
    """
    for name in ("nodes", "edges"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        export = Export(folder, files)
        for service, model, paginators in service_models():
            split = split_of(model["metadata"], held_out)
            write_service(export, service, model, paginators, split, depth)
    (folder / CONFIGURATION).write_text(json.dumps(configuration(export.edge_types), indent=2) + "\n")
    return export.counts


def service_models() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each service's name, its newest model and its paginators by operation (empty if it has no paginator file)."""
    loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    for service in loader.list_available_services("service-2"):
        version = loader.determine_latest_version(service, "service-2")
        folder = Path(Loader.BUILTIN_DATA_PATH, service, version)
        model = read_json(folder / "service-2")
        try:
            paginators = read_json(folder / "paginators-1")["pagination"]
        except DataNotFoundError:
            paginators = {}
        yield service, model, paginators


def read_json(path: Path) -> dict[str, Any]:
    """Reads `path.json` or `path.json.gz`; botocore's own loader takes five times as long."""
    for suffix, opener in ((".json.gz", gzip.open), (".json", open)):
        candidate = path.with_name(path.name + suffix)
        if candidate.exists():
            with opener(candidate, "rb") as file:
                document: dict[str, Any] = orjson.loads(file.read())
                return document
    raise DataNotFoundError(data_path=str(path))


class Export:
    """The files of an export while they are written: a node file for each label, an edge file for each edge type."""

    def __init__(self, folder: Path, files: ExitStack) -> None:
        self.counts: Counter[str] = Counter()
        self.edge_types: list[EdgeType] = []
        self._folder = folder
        self._files = files
        self._nodes = {
            label: self._writer(node_file(label), ("~id", "~label", *columns))
            for label, columns in NODE_COLUMNS.items()
        }
        self._edges: dict[EdgeType, Any] = {}
        self._splits = {split: self._writer(f"{split}.csv", ("~id",)) for split in SPLITS}

    def node(self, label: str, id: str, *values: object) -> None:
        """Writes a node with the values of its label's columns."""
        self.counts[label] += 1
        self._nodes[label].writerow((id, label, *values))

    def edge(self, edge_type: EdgeType, source: str, dest: str) -> None:
        """Writes an edge."""
        if edge_type not in self._edges:
            self._edges[edge_type] = self._writer(
                edge_file(edge_type), ("~id", "~label", "~from", "~to", "~fromLabels", "~toLabels")
            )
            self.edge_types.append(edge_type)
        name = "-".join(edge_type)
        self.counts[name] += 1
        from_label, relation, to_label = edge_type
        id = f"{name}-{self.counts[name]}"
        self._edges[edge_type].writerow((id, relation, source, dest, from_label, to_label))

    def hold(self, split: str, id: str) -> None:
        """Puts a labelled operation into a split."""
        self.counts[split] += 1
        self._splits[split].writerow((id,))

    def _writer(self, name: str, header: tuple[str, ...]) -> Any:
        file: TextIO = self._files.enter_context((self._folder / name).open("w", newline="", encoding="utf-8"))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        return writer


def write_service(
    export: Export, service: str, model: dict[str, Any], paginators: dict[str, Any], split: str, depth: int
) -> None:
    """Writes a service, its operations, and the shapes within `depth` steps of their inputs and outputs."""
    export.node("service", service, model["metadata"]["protocol"])
    reached: dict[str, int] = {}
    for name, operation in sorted(model["operations"].items()):
        id = f"{service}:{name}"
        label = str(name in paginators).lower() if paginators else ""
        export.node("operation", id, name, operation["http"]["method"], label)
        export.edge(("service", "has", "operation"), service, id)
        if label:
            export.hold(split, id)
        for role in ("input", "output"):
            if role in operation:
                shape = operation[role]["shape"]
                export.edge(("operation", role, "shape"), id, f"{service}#{shape}")
                reached[shape] = 0
        for shape in sorted({error["shape"] for error in operation.get("errors", ())}):
            export.edge(("operation", "raises", "error"), id, f"{service}!{shape}")
    write_shapes(export, service, model["shapes"], reached, depth)
    write_errors(export, service, model)


def write_shapes(export: Export, service: str, shapes: dict[str, Any], reached: dict[str, int], depth: int) -> None:
    """Writes the shapes in `reached` and, breadth first, what they hold, down to `depth`."""
    queue = deque(reached)
    while queue:
        name = queue.popleft()
        shape = shapes[name]
        traits = ";".join(trait for trait in TRAITS if trait in shape)
        export.node("shape", f"{service}#{name}", shape["type"], traits, len(shape.get("members", ())))
        if reached[name] >= depth:
            continue
        for relation, held in held_by(shape):
            if held not in reached:
                reached[held] = reached[name] + 1
                queue.append(held)
            export.edge(("shape", relation, "shape"), f"{service}#{name}", f"{service}#{held}")


def write_errors(export: Export, service: str, model: dict[str, Any]) -> None:
    """Writes the errors that a service's operations raise."""
    raised = {error["shape"] for operation in model["operations"].values() for error in operation.get("errors", ())}
    for name in sorted(raised):
        shape = model["shapes"][name]
        status = shape.get("error", {}).get("httpStatusCode", "")
        export.node("error", f"{service}!{name}", status, "server" if shape.get("fault") else "client")


def held_by(shape: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a shape is made of, as (relation, name of the shape): each shape once for each relation."""
    required = set(shape.get("required", ()))
    members = [
        ("requires" if name in required else "allows", member["shape"])
        for name, member in shape.get("members", {}).items()
    ]
    if shape["type"] == "list":
        members = [("lists", shape["member"]["shape"])]
    if shape["type"] == "map":
        members = [("maps", shape["value"]["shape"])]
    yield from dict.fromkeys(members)


def split_of(metadata: dict[str, Any], held_out: int) -> str:
    """Which split a whole service belongs to: its signing name is hashed into one of five fifths, for ever the same."""
    signing_name = metadata.get("signingName") or metadata["endpointPrefix"]
    fifth = int.from_bytes(hashlib.sha256(signing_name.encode()).digest()[:8]) % 5
    return ("test", "valid", "train", "train", "train")[(fifth - held_out) % 5]


def node_file(label: str) -> str:
    """Where the exporter puts the nodes of a label."""
    return f"nodes/{label}.consolidated.csv"


def edge_file(edge_type: EdgeType) -> str:
    """Where the exporter puts the edges of a type; the percent signs are part of the name."""
    from_label, relation, to_label = edge_type
    return "edges/" + quote(f"({from_label})-{relation}-({to_label})", safe="-") + ".consolidated.csv"


def configuration(edge_types: list[EdgeType]) -> dict[str, Any]:
    """What the exporter tells Neptune ML: which files there are, which columns are features, what is to be learned."""
    labels = [
        {
            "label": [LABEL, "classification"],
            "custom_split_filenames": {split: f"{split}.csv" for split in SPLITS},
        }
    ]
    nodes = [
        {
            "file_name": node_file(label),
            "separator": ",",
            "node": ["~id", label],
            "features": FEATURES[label],
            **({"labels": labels} if label == "operation" else {}),
        }
        for label in NODE_COLUMNS
    ]
    edges = [
        {
            "file_name": edge_file((source, relation, dest)),
            "separator": ",",
            "source": ["~from", source],
            "relation": ["", relation],
            "dest": ["~to", dest],
        }
        for source, relation, dest in edge_types
    ]
    graph = {"nodes": nodes, "edges": edges}
    return {"version": "v2.0", "query_engine": "gremlin", "graph": graph, "warnings": []}


def service_of(operation: str) -> str:
    """The service of an operation's id."""
    return operation.partition(":")[0]


def words(name: str) -> str:
    """The words of an operation's name: `ListDBInstances` is `list db instances`."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)).lower()


def main() -> None:
    """Writes the graph into the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Write the AWS API graph in the layout of Neptune's exporter.")
    parser.add_argument("folder", type=Path, metavar="OUTDIR")
    parser.add_argument("--depth", type=int, default=1, help="steps into members (default: 1; everything: 20)")
    parser.add_argument(
        "--held-out", type=int, default=0, choices=range(5), help="which fifth is the test (default: 0)"
    )
    arguments = parser.parse_args()
    for name, count in write_graph(arguments.folder, arguments.depth, arguments.held_out).items():
        print(f"{count:>8,} {name}")


if __name__ == "__main__":
    main()
