"""`modelyard query`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from modelyard.commands.options import asks_server

if TYPE_CHECKING:
    from modelyard.console.client import Client


@click.group()
def query() -> None:
    """Look at queries over the tables of a collaboration."""


@query.command("check")
@asks_server
@click.argument("sql", required=False)
@click.option("--membership", required=True, metavar="ID", help="One of the account's.")
@click.option("--model-association", metavar="ARN", help="For an ML input channel of that algorithm's association.")
@click.option("--receiver", metavar="ACCOUNT", help="Who would get the result; the one who asks, or the first who may.")
@click.option("--template", metavar="ARN", help="An analysis template instead of SQL.")
@click.option(
    "--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="Of the template; may be repeated."
)
def check_query(client: "Client", parameters: tuple[str, ...], **asked: str | None) -> None:
    """Tell whether SQL would be allowed, or which rule says no. Nothing is run. Exits with 1 if it is refused.

    It is judged as one of the member who can query, whichever member asks here.
    """
    from modelyard.console import tables

    if bool(asked["sql"]) == bool(asked["template"]):
        raise click.UsageError("Give either SQL or --template.")
    values: dict[str, Any] = {f"parameter.{name}": text for name, _, text in (one.partition("=") for one in parameters)}
    verdict = client.post("query-check/", timeout=None, **asked, **values)
    tables.console().print(tables.verdict(verdict))
    sys.exit(not verdict["allowed"])
