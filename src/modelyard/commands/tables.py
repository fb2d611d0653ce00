"""`modelyard tables`."""

from typing import TYPE_CHECKING

import click

from modelyard.commands.options import asks_server

if TYPE_CHECKING:
    from modelyard.console.client import Client


@click.group()
def tables() -> None:
    """Name folders of CSV, Parquet or JSON lines as tables, for collaborations."""


@tables.command("list")
@asks_server
def list_tables(client: "Client") -> None:
    """Show the tables of an account."""
    from modelyard.console import tables

    tables.console().print(tables.catalog(client.get("tables/")["tables"]))


@tables.command("add")
@asks_server
@click.argument("name", metavar="DATABASE.TABLE")
@click.argument("uri", metavar="S3_URI")
@click.option("--format", type=click.Choice(["csv", "parquet", "jsonl"]), help="Without it, as names of files tell.")
def add_table(client: "Client", name: str, uri: str, format: str | None) -> None:
    """Call the folder or file at S3_URI a table. Its columns are read from the files now; run this again to renew them.

    The bucket has to be the account's, or shared. What has the name already is replaced.
    """
    table = client.post("tables/add", timeout=None, name=name, uri=uri, format=format)
    columns = ", ".join(f"{column} {type}" for column, type in table["columns"].items())
    click.echo(f"{table['database']}.{table['table']}: {table['format']} in {table['uri']} with {columns}")


@tables.command("remove")
@asks_server
@click.argument("name", metavar="DATABASE.TABLE")
def remove_table(client: "Client", name: str) -> None:
    """Forget a name. The data stays, and so do configured tables that were made from it."""
    table = client.post("tables/remove", name=name)
    click.echo(f"{table['database']}.{table['table']} is forgotten; {table['uri']} is as it was.")
