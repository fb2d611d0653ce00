"""`modelyard keys`: those of a data folder, whether or not a server runs on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from modelyard.commands.options import data_dir, twelve_digits


@click.group()
def keys() -> None:
    """Make access keys, so that the server checks who calls: with the first one, every request must be signed."""


@keys.command("add")
@data_dir
@click.option("--account", required=True, callback=twelve_digits, help="Twelve digits: whose key it is.")
def add_key(data_dir: Path, account: str) -> None:
    """Make a key of an account, and print it this once."""
    from modelyard.keys import add

    key = _with_keys(add, data_dir, account)
    click.echo(f"export AWS_ACCESS_KEY_ID={key.id}\nexport AWS_SECRET_ACCESS_KEY={key.secret}")
    click.echo("The next start of the server knows it; a server that runs does not.", err=True)


@keys.command("list")
@data_dir
def list_keys(data_dir: Path) -> None:
    """Show the keys and their accounts, without their secrets."""
    from modelyard.console import tables
    from modelyard.keys import read

    found = _with_keys(read, data_dir)
    if found is None:
        raise click.ClickException(f"{data_dir} has no keys file, so that signatures are not checked")
    tables.console().print(tables.keys([(key.id, key.account) for key in found]))


@keys.command("remove")
@data_dir
@click.argument("id")
def remove_key(data_dir: Path, id: str) -> None:
    """Take a key away, from the next start of the server on."""
    from modelyard.keys import remove

    if _with_keys(remove, data_dir, id) is None:
        raise click.ClickException(f"{data_dir} has no key {id}")


def _with_keys(work: Callable[..., Any], *asked: Any) -> Any:
    from modelyard.keys import BadKeys

    try:
        return work(*asked)
    except BadKeys as error:
        raise click.ClickException(str(error)) from None
