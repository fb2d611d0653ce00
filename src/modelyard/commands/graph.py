"""`modelyard graph`: what it asks a process for that has the libraries."""

import functools
import sys
from pathlib import Path
from typing import Any

import click

from modelyard.commands.options import Command, server_of, with_server


@click.group()
def graph() -> None:
    """Bring graphs that never saw Neptune, and check exports."""


def at_place(command: Command) -> Command:
    """Gives a command the server that an s3:// address means, and as whom to ask it."""

    @functools.wraps(command)
    def placed(endpoint_url: str | None, data_dir: Path, account: str, region: str, **others: Any) -> Any:
        place = (not others.get("dry_run") and others.get("to")) or others.get("place") or ""
        url = endpoint_url or (server_of(data_dir)["url"] if place.startswith("s3://") else None)
        return command({"endpoint_url": url, "account": account, "region": region}, **others)

    return with_server(placed, "The server of s3:// addresses; without it, that of the data folder.")


@graph.command("export")
@at_place
@click.argument("graph", required=False)
@click.option("--nodes", multiple=True, metavar="TYPE=TABLE:ID", help="Nodes of a type, and the column of their ids.")
@click.option(
    "--edges",
    multiple=True,
    metavar="'SOURCE-RELATION->TARGET=TABLE:FROM,TO'",
    help="Edges of a type, and the columns of both ends. A relation in brackets is the column that holds it.",
)
@click.option("--database", type=click.Path(exists=True, dir_okay=False), help="DuckDB's file that TABLEs are in.")
@click.option("--to", metavar="FOLDER|S3_URI", help="Where the export is to be.")
@click.option("--replace", is_flag=True, help="In the place of an export that is there.")
@click.option("--dry-run", is_flag=True, help="Only show what would be written.")
@click.option("--json", is_flag=True, help="Show it as JSON.")
@click.option(
    "--target", multiple=True, metavar="TYPE.COLUMN[:TASK]", help="Learn it, by classification or regression."
)
@click.option(
    "--task", metavar="link_prediction[:SOURCE-RELATION->TARGET]", help="Learn links, of some types of edges."
)
@click.option("--split", metavar="TRAIN,VALID,TEST", help="Parts of 1 for each; 0.8,0.1,0.1 for a target.")
@click.option("--split-column", metavar="TYPE.COLUMN", help="Holds train, valid or test for each row instead.")
@click.option("--feature", multiple=True, metavar="TYPE.COLUMN:ENCODING", help="Encode it so, and not as inferred.")
@click.option("--exclude", multiple=True, metavar="TYPE.COLUMN", help="Leave it out.")
@click.option("--nodes-from-edges", is_flag=True, help="Make nodes of ends of edges that no table of nodes has.")
@click.option("--skip-bad-rows", is_flag=True, help="Leave out rows without an id or with another's, and loose edges.")
@click.option("--node-type", default="type", show_default=True, help="GRAPH's attribute with the type of a node.")
@click.option("--relation", default="relation", show_default=True, help="GRAPH's attribute with the type of an edge.")
@click.option(
    "--configuration", type=click.Path(exists=True, dir_okay=False), help="Instead of the inferred one; an edited one."
)
def export_graph(door: dict[str, Any], dry_run: bool, **asked: Any) -> None:
    """Write a graph as Neptune's exporter would: tables (CSV, TSV, Parquet, DuckDB), or a whole GRAPH.

    TABLE is a file, a folder of Parquet, a query of DuckDB's, or a table of --database. GRAPH is a file: GraphML, GML,
    GEXF or node-link JSON as NetworkX reads them, or a HeteroData or Data that torch.save wrote (.pt).

    \b
    modelyard graph export --nodes user=users.parquet:id --nodes item=items.csv:id \\
      --edges 'user-bought->item=orders.csv:user_id,item_id' \\
      --target user.tier:classification --to s3://bucket/exports/shop/
    """
    from modelyard.console import graph

    if bool(asked["graph"]) == bool(asked["nodes"] or asked["edges"]):
        raise click.UsageError("Give tables with --nodes and --edges, or the file of a whole graph.")
    if not (asked["to"] or dry_run):
        raise click.UsageError("Say where to with --to, or --dry-run to look only.")
    sys.exit(graph.export(door, dry_run, **asked))


@graph.command("check")
@at_place
@click.argument("place", metavar="FOLDER|S3_URI")
@click.option("--configuration", help="The file's name, unless training-data-configuration.json.")
@click.option("--json", is_flag=True, help="Tell it as JSON.")
def check_graph(door: dict[str, Any], **asked: Any) -> None:
    """Tell everything that is wrong with an export, ours or Neptune's. Exits with 1 if a job would fail."""
    from modelyard.console import graph

    sys.exit(graph.check(door, **asked))
