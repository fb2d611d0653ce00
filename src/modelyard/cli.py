"""The command line. What a command needs is imported when it runs, so that the server starts fast and stays small."""

import logging
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import click

from modelyard.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])
DEFAULTS = Settings()


def setting(flag: str, **options: Any) -> Callable[[Command], Command]:
    """An option that is read from `MODELYARD_…` too."""
    variable = "MODELYARD_" + flag.removeprefix("--").replace("-", "_").upper()
    return click.option(flag, envvar=variable, show_envvar=True, show_default=True, **options)


data_dir = setting(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULTS.data_dir,
    help="The folder that holds everything the server keeps.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Answers AWS's own clients for managed machine-learning jobs, and really runs them."""


@main.command()
@setting("--host", default=DEFAULTS.host, help="Where to listen.")
@setting("--port", default=DEFAULTS.port, type=click.IntRange(0, 65535), help="0 picks a free one.")
@data_dir
@setting("--slots", default=DEFAULTS.slots, type=click.IntRange(1), help="Cores that jobs may keep busy.")
@setting("--max-body", default=DEFAULTS.max_body, type=click.IntRange(1), help="Bytes of a request's body.")
@setting("--allow-remote", is_flag=True, help="Listen beyond this machine: whoever connects can be any account.")
def serve(host: str, port: int, data_dir: Path, slots: int, max_body: int, allow_remote: bool) -> None:
    """Serve until SIGTERM or Ctrl-C. Jobs that run then go on, and the next server finds them."""
    if not (allow_remote or _is_loopback(host)):
        raise click.UsageError(
            f"{host} can be reached from other machines, and whoever connects can be any account: signatures are not "
            "checked. Listen on 127.0.0.1, or say --allow-remote if all who reach it may do everything."
        )
    from modelyard.app import DataFolderTaken
    from modelyard.app import serve as run

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run(Settings(data_dir, host, port, slots, max_body))
    except DataFolderTaken as taken:
        raise click.ClickException(str(taken)) from None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    main()
