"""`modelyard models`: base models, and models for the text of graphs."""

import functools
from typing import TYPE_CHECKING, Any

import click

from modelyard.commands.options import Command, asks_server

if TYPE_CHECKING:
    from modelyard.console.client import Client


@click.group()
def models() -> None:
    """Register, build and fetch base models, which all accounts can then customize and ask."""


def describes_model(command: Command) -> Command:
    """The options that say what a base model is to look like to clients."""
    options = (
        click.option("--family", help="Whose bodies and hyperparameters it has; without it, as the ID tells."),
        click.option(
            "--customizations", help="Some of fine-tuning, continued-pre-training, distillation; commas between."
        ),
        click.option("--name", help="What people call it, in up to 20 characters."),
        click.option("--allow-remote-code", is_flag=True, help="Let the model's own code run; implies a copy."),
    )
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


@models.command("list")
@asks_server
def list_models(client: "Client") -> None:
    """Show the base models."""
    from modelyard.console import tables

    tables.console().print(tables.models(client.get("models/")["models"]))
    if of_text := client.get("text-models/")["models"]:
        tables.console().print(tables.text_models(of_text))


@models.command("add")
@asks_server
@click.argument("id")
@click.argument("path", type=click.Path(exists=True, file_okay=False, resolve_path=True))
@describes_model
@click.option("--copy", is_flag=True, help="Copy the folder into the data folder, so that it may go or change.")
def add_model(client: "Client", id: str, path: str, copy: bool, **facts: Any) -> None:
    """Register the Hugging Face folder PATH as the base model ID, which may be one of AWS's own.

    The folder stays where it is, and must stay as it is, unless --copy is given. It needs safetensors, config.json and
    a tokenizer.json; folders with pickles are refused.

    An ID that begins with text_ is no base model, but a model for the text of graphs: text_sbert for a sentence
    encoder, text_fasttext.en (zh, hi, es, fr) and text_word2vec for a folder with word vectors: a .vec
    file, word2vec's .bin or those of spaCy.
    """
    from modelyard.console import models

    if id.startswith("text_"):
        click.echo(models.add_of_text(client, id, path, {**facts, "copy": copy}))
        return
    click.echo(models.add(client, id, path, copy, **facts))


@models.command("pull")
@asks_server
@click.argument("id")
@click.argument("repository", metavar="HUB_REPO")
@click.option("--revision", help="A branch, a tag or a commit.")
@describes_model
def pull_model(client: "Client", id: str, repository: str, revision: str | None, **facts: Any) -> None:
    """Fetch HUB_REPO from the Hugging Face Hub (or HF_ENDPOINT) into the data folder, as the base model ID."""
    from modelyard.console import models

    click.echo(models.pull(client, id, repository, revision, **facts))


@models.command("build")
@asks_server
@click.argument("what", type=click.Choice(["tiny"]))
@click.option("--id", default="modelyard.tiny-v1:0", show_default=True)
@click.option("--services", metavar="A,B", help="Read what botocore says of these services alone.")
@click.option("--services-out", metavar="A,B", help="Leave out what it says of these.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="How long to train.")
@click.option("--steps", type=click.IntRange(1), help="How many steps to train, instead of how long.")
@click.option("--mini", is_flag=True, help="A far smaller model, for a try.")
def build_model(client: "Client", what: str, id: str, **options: Any) -> None:
    """Build a small model of English from botocore's documentation, here and now: five minutes on two cores."""
    from modelyard.console import models

    click.echo(models.build_tiny(client, id, **options))


@models.command("remove")
@asks_server
@click.argument("id")
@click.option("--force", is_flag=True, help="Even if custom models need it, which do not work without it.")
def remove_model(client: "Client", id: str, force: bool) -> None:
    """Forget a base model. Its folder is deleted if it lies in the data folder, and stays where it is otherwise."""
    if id.startswith("text_"):
        removed = client.post("text-models/remove", timeout=None, id=id)
        click.echo(f"{removed['id']} is forgotten; {removed['path']} is as it was.")
        return
    removed = client.post("models/remove", timeout=None, id=id, force=1 if force else None)
    click.echo(f"{removed['id']} is forgotten; {removed['path']} is {'deleted' if removed['own'] else 'as it was'}.")
