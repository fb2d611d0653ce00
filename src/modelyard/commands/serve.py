"""`modelyard serve`."""

import sys
from typing import Any

import click

from modelyard.commands.options import data_dir, setting
from modelyard.settings import Settings

DEFAULTS = Settings()


@click.command()
@setting("--host", default=DEFAULTS.host, help="Where to listen.")
@setting("--port", default=DEFAULTS.port, type=click.IntRange(0, 65535), help="0 picks a free one.")
@data_dir
@setting("--slots", default=DEFAULTS.slots, type=click.IntRange(1), help="Cores that jobs may keep busy.")
@setting("--max-body", default=DEFAULTS.max_body, type=click.IntRange(1), help="Bytes of a request's body.")
@setting("--s3-endpoint", help="The S3 service that keeps the objects, instead of the data folder.")
@setting(
    "--model-idle-minutes",
    default=DEFAULTS.model_idle_minutes,
    type=click.FloatRange(0, min_open=True),
    help="How long nobody asks a language model before it is unloaded.",
)
@setting(
    "--language-engine",
    default=DEFAULTS.language_engine,
    type=click.Choice(["auto", "transformers", "vllm"]),
    help="What generates text; auto is vllm on a GPU where it is installed.",
)
@setting("--strict-quotas", is_flag=True, help="Refuse jobs with fewer records than AWS wants.")
@setting(
    "--custom-model-memory",
    type=click.FloatRange(0, min_open=True),
    help="GiB that each run of a custom model's script may use.  [default: half of the machine's, shared out]",
)
@setting("--custom-model-network", is_flag=True, help="Let custom models' scripts reach what this machine reaches.")
@setting(
    "--custom-model-gpu/--no-custom-model-gpu",
    default=DEFAULTS.custom_model_gpu,
    help="Let custom models' scripts use this machine's GPUs.",
)
@setting("--glue", is_flag=True, help="Look tables up in AWS's Glue catalog too; AWS_ENDPOINT_URL_GLUE implies it.")
@setting("--allow-remote", is_flag=True, help="Listen beyond this machine: whoever connects can be any account.")
def serve(host: str, allow_remote: bool, **settings: Any) -> None:
    """Serve until SIGTERM or Ctrl-C. Jobs that run then go on, and the next server finds them."""
    from importlib.util import find_spec

    from modelyard.keys import NAME, BadKeys

    if not (allow_remote or _is_loopback(host) or (settings["data_dir"] / NAME).exists()):
        raise click.UsageError(
            f"{host} can be reached from other machines, and whoever connects can be any account: signatures are not "
            "checked without a keys file. Make keys with modelyard keys add, listen on 127.0.0.1, or say "
            "--allow-remote if all who reach it may do everything."
        )
    if settings["custom_model_network"] and not (settings["data_dir"] / NAME).exists():
        raise click.UsageError(
            "--custom-model-network lets users' scripts reach this server too, and without a keys file whoever reaches "
            "it can be any account. Make keys with modelyard keys add."
        )
    if settings["language_engine"] == "vllm" and find_spec("vllm") is None:
        raise click.UsageError(
            "--language-engine vllm: vLLM is not installed in this Python. Install it with pip install "
            "'modelyard[vllm]', or leave the option out: models are then served without it."
        )
    _import_botocore_alone()
    import logging

    from modelyard.app import BadDataFolder, CannotListen, DataFolderTaken
    from modelyard.app import serve as run
    from modelyard.database import BadDatabase
    from modelyard.storage.endpoint import BadEndpoint

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run(Settings(host=host, **settings))
    except (DataFolderTaken, BadDataFolder, BadDatabase, CannotListen, BadEndpoint, BadKeys) as error:
        raise click.ClickException(str(error)) from None


def _import_botocore_alone() -> None:
    """Without AWS's library in C, which it loads where it finds it, for signatures that a server does not make.

    That would be a tenth of the server's start. None in the place of a module says that there is none. Where the
    library is loaded already nothing is won, and a second copy of it would not know the objects of the first.
    """
    if "awscrt.auth" in sys.modules:
        return
    sys.modules["awscrt.auth"] = None  # type: ignore[assignment]  # see above
    import botocore.compat  # noqa: F401  # for what it imports

    del sys.modules["awscrt.auth"]


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
