"""Options that several commands have."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from modelyard.settings import DEFAULT_DATA_DIR

Command = Callable[..., Any]


def setting(flag: str, **options: Any) -> Callable[[Command], Command]:
    """An option that is read from `MODELYARD_…` too."""
    variable = "MODELYARD_" + flag.removeprefix("--").partition("/")[0].replace("-", "_").upper()
    return click.option(flag, envvar=variable, show_envvar=True, show_default=True, **options)


data_dir = setting(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA_DIR,
    help="The folder that holds everything the server keeps.",
)


def twelve_digits(_: click.Context, __: click.Parameter, value: str) -> str:
    """Refuses what is no account."""
    if not (len(value) == 12 and value.isascii() and value.isdigit()):
        raise click.BadParameter(f"{value!r} is not twelve digits")
    return value


def with_server(command: Command, address: str) -> Command:
    """Gives a command the options that say which server is meant, and as whom to ask it."""
    options = (
        setting("--endpoint-url", help=address),
        data_dir,
        setting("--account", default="000000000000", callback=twelve_digits, help="Twelve digits."),
        setting("--region", default="us-east-1"),
    )
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


def asks_server(command: Command) -> Command:
    """Gives a command a client of the server, which its options tell where to find and as whom to ask."""

    @functools.wraps(command)
    def asking(endpoint_url: str | None, data_dir: Path, account: str, region: str, **others: Any) -> Any:
        from modelyard.console.client import Client, own_credentials

        if endpoint_url:
            return command(Client(endpoint_url, account, region, own_credentials()), **others)
        server = server_of(data_dir)
        operator = (account, server["operator"], None) if "operator" in server else None
        return command(Client(server["url"], account, region, operator), **others)

    return with_server(asking, "The server's address; without it, that of the data folder's server.")


def server_of(data_dir: Path) -> dict[str, Any]:
    """What the data folder's server wrote down: its address, and the operator's secret where it checks signatures."""
    try:
        found: dict[str, Any] = json.loads((data_dir / "server.json").read_text())
        return {**found, "url": str(found["url"])}
    except PermissionError:
        raise click.ClickException(
            f"{data_dir} is another user's. Name its server with --endpoint-url or MODELYARD_ENDPOINT_URL, and sign "
            "with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from None
    except (OSError, ValueError, KeyError):
        raise click.ClickException(
            f"No server has run on {data_dir}. Start one with: modelyard serve --data-dir {data_dir}; "
            "or name a server with --endpoint-url or MODELYARD_ENDPOINT_URL."
        ) from None
