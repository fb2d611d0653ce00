"""How good models are with default settings: searches chosen on validation, tested once.

`python benchmarks/graph_quality.py EXPORT...` where each EXPORT is a folder as Neptune's exporter writes it, such as
`../shared/data/cora`. Prints a table and, as the last line, JSON.
"""

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from graph_tasks import processed, searched
from rich.console import Console
from rich.table import Table

TESTED = ("accuracy", "mrr", "rmse", "roc_auc_score")


@click.command()
@click.argument("exports", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--searches", default=3)
@click.option("--trials", default=10)
@click.option("--parallel", default=2)
def main(exports: tuple[Path, ...], searches: int, trials: int, parallel: int) -> None:
    table = Table("data", "metric", "search", "validation", "test", "seconds")
    found: list[dict[str, Any]] = []
    for export in exports:
        with tempfile.TemporaryDirectory() as folder:
            graph = processed(export, Path(folder) / "processed")
            rows = [search(graph, Path(folder) / str(seed), trials, parallel, seed) for seed in range(searches)]
        for row in rows:
            table.add_row(
                export.name, row["metric"], *(f"{row[key]:.4g}" for key in ("seed", "valid", "test", "seconds"))
            )
        median = statistics.median(row["test"] for row in rows)
        table.add_row(export.name, rows[0]["metric"], "median", "", f"{median:.4f}", "")
        found.append({"data": export.name, "median": median, "searches": rows})
    Console().print(table)
    print(json.dumps({"trials": trials, "parallel": parallel, "results": found}))


def search(graph: Path, folder: Path, trials: int, parallel: int, seed: int) -> dict[str, Any]:
    began = time.perf_counter()
    result = searched(graph, folder, trials, parallel, seed)
    seconds = time.perf_counter() - began
    tested = json.loads((folder / "output" / "test_metrics_info.json").read_text())
    metric = next(name for name in TESTED if name in tested)
    return {"metric": metric, "seed": seed, "valid": result["value"], "test": tested[metric], "seconds": seconds} | {
        name: result[name] for name in ("hyperparameters", "trials")
    }


if __name__ == "__main__":
    main()
