"""Statements of an RDF export, read a second: Modelyard's pass beside rdflib's parser and a regular expression.

Ours numbers the nodes, keeps the edges and writes literals to disk; the whole processing, from statements to the
processed graph, stands beside it. The other two do nothing with what they read, and the expression checks little.
One file of people: of ten statements one is a class, one text, one number, seven are edges. Memory is what a process
of its own grows by at most, in bytes a statement, of which there is a node to ten.
"""

import multiprocessing
import random
import re
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from rounds import Bar, Report, main

EX = "http://example.org/"
LINE = re.compile(rb'(<[^>]*>|_:\S+)\s+<([^>]*)>\s+(<[^>]*>|_:\S+|"(?:[^"\\]|\\.)*"(?:@[\w-]+|\^\^<[^>]*>)?)\s*\.\s*')
CONFIGURATION = '{"query_engine": "sparql", "graph": {"rdfs": [{"file_name": "all.nt"}]}}'


def run(quick: bool) -> Report:
    report = Report("RDF: N-Triples read")
    with tempfile.TemporaryDirectory() as folder:
        export = Path(folder) / "export"
        people = write(export, 2_000 if quick else 30_000)
        sides = {
            "modelyard, statements": ours,
            "modelyard, all of processing": processing,
            "rdflib": by_rdflib,
            "re": by_re,
        }
        measures = {name: partial(apart, side, export, 10 * people) for name, side in sides.items()}
        report.measure(measures, 1 if quick else 3)
    report.bars.append(
        Bar("statements a second beside rdflib", report.round_ratio("triples/s", *list(sides)[::2]), low=3)
    )
    return report


def write(export: Path, people: int) -> int:
    """An export of ten statements for each of some people."""
    draw = random.Random(0)
    export.mkdir()
    with (export / "all.nt").open("w") as file:
        for n in range(people):
            person = f"<{EX}person/{n}>"
            file.write(f"{person} <http://www.w3.org/1999/02/22-rdf-syntax-ns#type> <{EX}Person> .\n")
            file.write(f'{person} <{EX}name> "Person of the number {n}"@en .\n')
            file.write(f'{person} <{EX}age> "{n % 90}"^^<http://www.w3.org/2001/XMLSchema#integer> .\n')
            file.writelines(f"{person} <{EX}knows> <{EX}person/{draw.randrange(people)}> .\n" for _ in range(7))
    (export / "training-data-configuration.json").write_text(CONFIGURATION)
    return people


def apart(side: Callable[[Path, Path], float], export: Path, statements: int) -> Mapping[str, float]:
    """Runs a side in a process of its own, so that memory is its own too."""
    with tempfile.TemporaryDirectory() as scratch:
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            seconds, grown = pool.apply(_measured, (side, export, Path(scratch)))
    return {"triples/s": statements / seconds, "bytes/triple": grown / statements}


def _measured(side: Callable[[Path, Path], float], export: Path, scratch: Path) -> tuple[float, float]:
    write(scratch / "tiny", 10)
    side(scratch / "tiny", scratch / "warm")  # imports, and pools of threads
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = side(export, scratch / "measured")
    return seconds, 1024 * max(0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def ours(export: Path, scratch: Path) -> float:
    from modelyard.workloads.graph.processing.statements import Statements

    scratch.mkdir()
    start = time.perf_counter()
    Statements(scratch, ()).read(export / "all.nt", "all.nt", lambda _: None)
    return time.perf_counter() - start


def processing(export: Path, scratch: Path) -> float:
    from modelyard.runner.context import Context
    from modelyard.workloads.graph.processing.process import run as process

    scratch.mkdir()
    start = time.perf_counter()
    process(Context({}, {"export": export}, state=scratch, output=scratch))
    seconds = time.perf_counter() - start
    shutil.rmtree(scratch)
    return seconds


def by_rdflib(export: Path, _: Path) -> float:
    from rdflib.plugins.parsers.ntriples import W3CNTriplesParser

    class Ignore:
        def triple(self, subject: object, predicate: object, object: object) -> None: ...

    start = time.perf_counter()
    with (export / "all.nt").open("rb") as file:
        W3CNTriplesParser(Ignore()).parse(file)
    return time.perf_counter() - start


def by_re(export: Path, _: Path) -> float:
    start = time.perf_counter()
    with (export / "all.nt").open("rb") as file:
        for line in file:
            match = LINE.fullmatch(line)
            assert match is not None
            match.groups()
    return time.perf_counter() - start


if __name__ == "__main__":
    main(run, __doc__)
