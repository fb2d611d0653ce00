"""A small made-up library, as Neptune's exporter writes a graph: who wrote a book, who borrowed it, what it is about.

Most authors keep to a genre, and most readers too. A book's pages tell a little of its genre; the genre is to be
predicted.
"""

import csv
import json
import random
from collections.abc import Iterable
from pathlib import Path

GENRES = ("crime", "history", "poetry")
PAGES = {"crime": 350, "history": 500, "poetry": 120}


def write_graph(folder: Path, books: int = 400, seed: int = 0) -> dict[str, str]:
    """Writes the files into `folder`, which must not exist; returns the genre of each book."""
    draw = random.Random(seed)
    authors = [draw.choice(GENRES) for _ in range(books // 5)]
    readers = [draw.choice(GENRES) for _ in range(books // 2)]
    wrote = [draw.randrange(len(authors)) for _ in range(books)]
    genres = [authors[author] if draw.random() < 0.8 else draw.choice(GENRES) for author in wrote]
    shelves = {genre: [book for book in range(books) if genres[book] == genre] for genre in GENRES}
    borrowed = [
        (reader, draw.choice(shelves[taste]) if draw.random() < 0.8 else draw.randrange(books))
        for reader, taste in enumerate(readers)
        for _ in range(8)
    ]
    pages = [round(draw.gauss(PAGES[genre], 200)) for genre in genres]
    _write(folder / "nodes/author.csv", ("~id", "~label"), ((f"a{n}", "author") for n in range(len(authors))))
    _write(folder / "nodes/reader.csv", ("~id", "~label"), ((f"r{n}", "reader") for n in range(len(readers))))
    rows = ((f"b{n}", "book", pages[n], genres[n]) for n in range(books))
    _write(folder / "nodes/book.csv", ("~id", "~label", "pages", "genre"), rows)
    header = ("~id", "~label", "~from", "~to")
    _write(folder / "edges/wrote.csv", header, ((f"w{n}", "wrote", f"a{a}", f"b{n}") for n, a in enumerate(wrote)))
    rows = ((f"l{n}", "borrowed", f"r{reader}", f"b{book}") for n, (reader, book) in enumerate(borrowed))
    _write(folder / "edges/borrowed.csv", header, rows)
    (folder / "training-data-configuration.json").write_text(json.dumps(_configuration(), indent=1))
    return {f"b{number}": genre for number, genre in enumerate(genres)}


def _configuration() -> dict[str, object]:
    book = {
        "file_name": "nodes/book.csv",
        "separator": ",",
        "node": ["~id", "book"],
        "features": [{"feature": ["pages", "pages", "numerical"], "norm": "min-max", "imputer": "median"}],
        "labels": [{"label": ["genre", "classification"], "split_rate": [0.5, 0.25, 0.25]}],
    }
    others = [
        {"file_name": f"nodes/{name}.csv", "separator": ",", "node": ["~id", name]} for name in ("author", "reader")
    ]
    edges = [
        {
            "file_name": f"edges/{relation}.csv",
            "separator": ",",
            "source": ["~from", source],
            "relation": ["", relation],
            "dest": ["~to", "book"],
        }
        for source, relation in (("author", "wrote"), ("reader", "borrowed"))
    ]
    return {
        "version": "v2.0",
        "query_engine": "gremlin",
        "graph": {"nodes": [book, *others], "edges": edges},
        "warnings": [],
    }


def _write(path: Path, header: Iterable[str], rows: Iterable[tuple[object, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
