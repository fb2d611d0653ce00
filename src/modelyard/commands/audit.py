"""`modelyard audit`."""

from typing import TYPE_CHECKING

import click

from modelyard.commands.options import asks_server

if TYPE_CHECKING:
    from modelyard.console.client import Client


@click.command()
@asks_server
@click.argument("membership")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="How many, newest first.")
def audit(client: "Client", membership: str, limit: int) -> None:
    """Show what was done with the data and models that MEMBERSHIP's account brought, and what it did itself.

    An account that has left names the collaboration instead.
    """
    from modelyard.console import tables

    tables.console().print(tables.audit(client.get("audit/", membership=membership, limit=limit)["entries"]))
