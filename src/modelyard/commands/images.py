"""`modelyard images`."""

from typing import TYPE_CHECKING

import click

from modelyard.commands.options import asks_server

if TYPE_CHECKING:
    from modelyard.console.client import Client


@click.group()
def images() -> None:
    """Bring the images that containers run, under the URIs by which requests name them."""


@images.command("list")
@asks_server
def list_images(client: "Client") -> None:
    """Show the images."""
    from modelyard.console import tables

    tables.console().print(tables.images(client.get("images/")["images"]))


@images.command("add")
@asks_server
@click.argument("uri")
@click.argument("path", type=click.Path(exists=True, resolve_path=True))
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="JSON with Entrypoint, Cmd, Env and WorkingDir, instead of what PATH says itself.",
)
def add_image(client: "Client", uri: str, path: str, config: str | None) -> None:
    """Take in what lies at PATH as the image URI, of the form registry/repository[:tag]. It is copied.

    PATH is an OCI archive or layout, a root file system (a folder or a tar archive), or a Python project: a folder with
    a modelyard-image.json such as {"entrypoint": ["python", "main.py"]}, or a pyproject.toml with one script. A project
    runs with the server's own Python and packages.
    """
    from modelyard.console import images

    click.echo(images.add(client, uri, path, config))


@images.command("pull")
@asks_server
@click.argument("uri")
def pull_image(client: "Client", uri: str) -> None:
    """Fetch the image URI from its registry by Podman or Docker, and take it in."""
    from modelyard.console import images

    click.echo(images.pull(client, uri))


@images.command("remove")
@asks_server
@click.argument("uri")
def remove_image(client: "Client", uri: str) -> None:
    """Forget an image, and delete its files. Jobs that run it fail."""
    removed = client.post("images/remove", timeout=None, uri=uri)
    click.echo(f"{removed['uri']} is forgotten; it was {removed['digest']}.")
