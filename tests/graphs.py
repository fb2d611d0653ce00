"""Small graphs in the exporter's layout, for tests that need a real one."""

import json
import random
from pathlib import Path


def write_communities(folder: Path, people: int = 60) -> None:
    """Two communities of people who know each other, with ages that tell little and a group to predict."""
    draw = random.Random(0)
    (folder / "nodes").mkdir(parents=True)
    (folder / "edges").mkdir()
    group = [number % 2 for number in range(people)]
    rows = [f"p{n},person,{20 + 10 * group[n] + draw.random() * 30:.1f},{'ab'[group[n]]}" for n in range(people)]
    (folder / "nodes" / "person.csv").write_text("~id,~label,age,group\n" + "\n".join(rows) + "\n")
    pairs = [(draw.randrange(people), draw.randrange(people)) for _ in range(people * 20)]
    known = sorted({(a, b) for a, b in pairs if a != b and group[a] == group[b]})
    rows = [f"e{n},knows,p{a},p{b}" for n, (a, b) in enumerate(known)]
    (folder / "edges" / "knows.csv").write_text("~id,~label,~from,~to\n" + "\n".join(rows) + "\n")
    configuration = {
        "version": "v2.0",
        "query_engine": "gremlin",
        "graph": {
            "nodes": [
                {
                    "file_name": "nodes/person.csv",
                    "separator": ",",
                    "node": ["~id", "person"],
                    "features": [{"feature": ["age", "age", "numerical"], "norm": "min-max", "imputer": "median"}],
                    "labels": [{"label": ["group", "classification"], "split_rate": [0.6, 0.2, 0.2]}],
                }
            ],
            "edges": [
                {
                    "file_name": "edges/knows.csv",
                    "separator": ",",
                    "source": ["~from", "person"],
                    "relation": ["", "knows"],
                    "dest": ["~to", "person"],
                }
            ],
        },
        "warnings": [],
    }
    (folder / "training-data-configuration.json").write_text(json.dumps(configuration))


def write_statements(folder: Path, people: int = 60) -> None:
    """The like as an RDF export: people of http://example.org/, with ages and biographies, and a group to predict."""
    draw = random.Random(0)
    base, kind = "http://example.org/", "<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>"
    lines = []
    for n in range(people):
        person, words = f"<{base}p{n}>", " ".join(draw.choices(("tea", "coffee", "books", "films"), k=4))
        lines += [
            f"{person} {kind} <{base}Person> .",
            f'{person} <{base}age> "{20 + 10 * (n % 2) + draw.randrange(30)}" .',
            f'{person} <{base}bio> "person {n} likes {words}"@en .',
            f'{person} <{base}group> "{"ab"[n % 2]}" .',
        ]
        lines += [f"{person} <{base}knows> <{base}p{(n + 2 * draw.randrange(people)) % people}> ." for _ in range(8)]
    (folder / "statements").mkdir(parents=True)
    (folder / "statements" / "all.nt").write_text("\n".join(lines) + "\n")
    target = {"node": f"{base}Person", "predicate": f"{base}group", "split_rate": [0.6, 0.2, 0.2]}
    label = {"task_type": "classification", "targets": [target]}
    configuration = {
        "version": "v2.0",
        "query_engine": "sparql",
        "graph": {"rdfs": [{"file_name": "statements/all.nt", "label": label}]},
        "warnings": [],
    }
    (folder / "training-data-configuration.json").write_text(json.dumps(configuration))
