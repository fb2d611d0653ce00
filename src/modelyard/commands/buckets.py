"""`modelyard buckets`."""

from typing import TYPE_CHECKING

import click

from modelyard.commands.options import asks_server

if TYPE_CHECKING:
    from modelyard.console.client import Client


@click.group()
def buckets() -> None:
    """Look at buckets, and tell whose they are."""


@buckets.command("list")
@asks_server
def list_buckets(client: "Client") -> None:
    """Show the buckets that an account may use."""
    from modelyard.console import tables

    tables.console().print(tables.buckets(client.get("buckets/")["buckets"]))


@buckets.command()
@asks_server
@click.argument("bucket")
@click.argument("owner", metavar="ACCOUNT")
def own(client: "Client", bucket: str, owner: str) -> None:
    """Make ACCOUNT (twelve digits) the owner of BUCKET: no other account may use it then."""
    owned = client.post("buckets/own", bucket=bucket, account=owner)
    click.echo(f"{owned['name']} belongs to {owned['owner']}.")
