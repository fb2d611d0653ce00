"""Brings images to a server of this machine: from its disk, or from a registry by Podman or Docker."""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from modelyard.console.client import Client

_SAVE = {"podman": ["save", "--format", "oci-archive", "--output"], "docker": ["save", "--output"]}
_DIGEST = {"podman": "{{.Digest}}", "docker": "{{index .RepoDigests 0}}"}
"""Where each keeps the registry's digest, which what it saves does not have: it is compressed again."""


def add(client: Client, uri: str, path: str, config: str | None = None, digest: str | None = None) -> str:
    """Has the server take an image in; a sentence about what came of it."""
    image = client.post("images/add", timeout=None, uri=uri, path=path, config=config, digest=digest)
    return f"{image['uri']} is {image['digest']}: {image['form']}, {image['size']:,} bytes"


def pull(client: Client, uri: str) -> str:
    """Fetches an image from its registry, with the credentials that the program has, and has the server take it in."""
    program = next((name for name in _SAVE if shutil.which(name)), None)
    if program is None:
        raise click.ClickException(
            "Neither podman nor docker is installed, which fetch images; modelyard images add takes what is here"
        )
    with TemporaryDirectory() as folder:
        archive = Path(folder) / "image.tar"
        _run([program, "pull", uri])
        _run([program, *_SAVE[program], str(archive), uri])
        digest = _run([program, "image", "inspect", "--format", _DIGEST[program], uri]).rpartition("@")[2]
        return add(client, uri, str(archive), digest=digest)


def _run(command: list[str]) -> str:
    """What a program says on its standard output."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise click.ClickException(f"{' '.join(command[:2])}: it ended with status {done.returncode}, see above")
    return done.stdout.strip()
