"""`modelyard endpoints`."""

from typing import TYPE_CHECKING

import click

from modelyard.commands.options import asks_server

if TYPE_CHECKING:
    from modelyard.console.client import Client


@click.group()
def endpoints() -> None:
    """Look at endpoints."""


@endpoints.command("list")
@asks_server
def list_endpoints(client: "Client") -> None:
    """Show the endpoints of an account, newest first."""
    from modelyard.console import tables

    tables.console().print(tables.endpoints(client.get("endpoints/", limit=1000)["endpoints"]))
