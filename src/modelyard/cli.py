"""The command line. What a command needs is imported when it runs, so that the server starts fast and stays small."""

import functools
import json
import logging
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modelyard.settings import Settings

if TYPE_CHECKING:
    from modelyard.console.client import Client

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


def asks_server(command: Command) -> Command:
    """Gives a command a client of the server, which its options tell where to find and as whom to ask."""

    @functools.wraps(command)
    def asking(endpoint_url: str | None, data_dir: Path, account: str, region: str, **others: Any) -> Any:
        from modelyard.console.client import Client, own_credentials

        if endpoint_url:
            return command(Client(endpoint_url, account, region, own_credentials()), **others)
        server = _server(data_dir)
        operator = (account, server["operator"], None) if "operator" in server else None
        return command(Client(server["url"], account, region, operator), **others)

    return _with_server(asking, "The server's address; without it, that of the data folder's server.")  # type: ignore[return-value]


def _with_server(command: Callable[..., Any], address: str) -> Callable[..., Any]:
    """Gives a command the options that say which server is meant, and as whom to ask it."""
    options = (
        setting("--endpoint-url", help=address),
        data_dir,
        setting("--account", default="000000000000", callback=_account, help="Twelve digits."),
        setting("--region", default="us-east-1"),
    )
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


def one_job(command: Command) -> Command:
    """Has a command name one job."""
    kind = click.option("--kind", help="Needed only where jobs of several kinds have the id.")
    return click.argument("id")(kind(command))


def _account(_: click.Context, __: click.Parameter, value: str) -> str:
    if not (len(value) == 12 and value.isascii() and value.isdigit()):
        raise click.BadParameter(f"{value!r} is not twelve digits")
    return value


def _server(data_dir: Path) -> dict[str, Any]:
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Answers AWS's own clients for managed machine-learning jobs, and really runs them."""


@main.command()
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
@setting("--strict-quotas", is_flag=True, help="Refuse jobs with fewer records than AWS wants.")
@setting(
    "--custom-model-memory",
    type=click.FloatRange(0, min_open=True),
    help="GiB that each run of a custom model's script may use.  [default: half of the machine's, shared out]",
)
@setting("--custom-model-network", is_flag=True, help="Let custom models' scripts reach what this machine reaches.")
@setting("--glue", is_flag=True, help="Look tables up in AWS's Glue catalog too; AWS_ENDPOINT_URL_GLUE implies it.")
@setting("--allow-remote", is_flag=True, help="Listen beyond this machine: whoever connects can be any account.")
def serve(host: str, allow_remote: bool, **settings: Any) -> None:
    """Serve until SIGTERM or Ctrl-C. Jobs that run then go on, and the next server finds them."""
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
    _import_botocore_alone()
    from modelyard.app import CannotListen, DataFolderTaken
    from modelyard.app import serve as run
    from modelyard.storage.endpoint import BadEndpoint

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run(Settings(host=host, **settings))
    except (DataFolderTaken, CannotListen, BadEndpoint, BadKeys) as error:
        raise click.ClickException(str(error)) from None


def _import_botocore_alone() -> None:
    """Without AWS's library in C, which it loads where it finds it, for signatures that a server does not make.

    That would be a tenth of the server's start. None in the place of a module says that there is none. Where the
    library is loaded already nothing is won, and a second copy of it would not know the objects of the first.
    """
    if "awscrt.auth" in sys.modules:
        return
    sys.modules["awscrt.auth"] = None  # type: ignore[assignment]
    import botocore.compat  # noqa: F401

    del sys.modules["awscrt.auth"]


@main.command()
@data_dir
@click.option("--all", "everything", is_flag=True, help="End running tasks too. Their jobs go on at the next start.")
def stop(data_dir: Path, everything: bool) -> None:
    """Stop the server of a data folder; tasks go on without it."""
    from modelyard.console.stopping import stop_server, stop_tasks

    pid = stop_server(data_dir)
    click.echo(f"Stopped the server with pid {pid}." if pid else f"No server runs on {data_dir}.")
    if everything:
        tasks, parents = stop_tasks(data_dir)
        ended = f"{_count(tasks, 'task')} and {_count(parents, 'resident parent')}"
        click.echo(f"Ended {ended}; their jobs go on at the next start.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@main.group()
def jobs() -> None:
    """Look at jobs, and stop them."""


@jobs.command("list")
@asks_server
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many, newest first.")
def list_jobs(client: "Client", limit: int) -> None:
    """Show the jobs of an account, newest first."""
    from modelyard.console import tables

    tables.console().print(tables.jobs(client.get("jobs/", limit=limit)["jobs"]))


@jobs.command()
@asks_server
@one_job
def show(client: "Client", id: str, kind: str | None) -> None:
    """Show a job: stages, request, trials, results, failure, outputs and logs."""
    from modelyard.console import tables
    from modelyard.console.following import Following

    following = Following(client, id, kind)
    job = following.read()
    tables.console().print(tables.job(job, following.runs, client.url))


@jobs.command()
@asks_server
@one_job
def watch(client: "Client", id: str, kind: str | None) -> None:
    """Watch a job until it ends. Exits with 1 unless it completes."""
    from modelyard.console import tables
    from modelyard.console.following import Following
    from modelyard.console.watch import watch

    console = tables.console()
    job = watch(Following(client, id, kind), console)
    console.print(tables.ending(job))
    sys.exit(job["status"] != "completed")


@jobs.command()
@asks_server
@one_job
@click.option("--stage", help="Of this stage alone.")
@click.option("--follow", "-f", is_flag=True, help="Go on until the job ends.")
def logs(client: "Client", id: str, kind: str | None, stage: str | None, follow: bool) -> None:
    """Print a job's log."""
    from modelyard.console.following import Following

    for piece in Following(client, id, kind).logs(stage, follow):
        click.echo(piece, nl=False)


@jobs.command("stop")
@asks_server
@one_job
def stop_job(client: "Client", id: str, kind: str | None) -> None:
    """Stop a job."""
    job = client.post("jobs/stop", id=id, kind=kind)
    click.echo(f"{job['kind']} job {job['id']}: {job['status']}")


@main.group()
def endpoints() -> None:
    """Look at endpoints."""


@endpoints.command("list")
@asks_server
def list_endpoints(client: "Client") -> None:
    """Show the endpoints of an account, newest first."""
    from modelyard.console import tables

    tables.console().print(tables.endpoints(client.get("endpoints/", limit=1000)["endpoints"]))


@main.group()
def buckets() -> None:
    """Look at buckets, and tell whose they are."""


@buckets.command("list")
@asks_server
def list_buckets(client: "Client") -> None:
    """Show the buckets that an account may use."""
    from modelyard.console import tables

    tables.console().print(tables.buckets(client.get("buckets/")["buckets"]))


@buckets.command()
@asks_server
@click.argument("bucket")
@click.argument("owner", metavar="ACCOUNT")
def own(client: "Client", bucket: str, owner: str) -> None:
    """Make ACCOUNT (twelve digits) the owner of BUCKET: no other account may use it then."""
    owned = client.post("buckets/own", bucket=bucket, account=owner)
    click.echo(f"{owned['name']} belongs to {owned['owner']}.")


@main.group()
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
    encoder, text_fasttext.en (zh, hi, es, fr) and text_word2vec for a folder with word vectors, a .vec file.
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


@main.group()
def tables() -> None:
    """Name folders of CSV, Parquet or JSON lines as tables, for collaborations."""


@tables.command("list")
@asks_server
def list_tables(client: "Client") -> None:
    """Show the tables of an account."""
    from modelyard.console import tables

    tables.console().print(tables.catalog(client.get("tables/")["tables"]))


@tables.command("add")
@asks_server
@click.argument("name", metavar="DATABASE.TABLE")
@click.argument("uri", metavar="S3_URI")
@click.option("--format", type=click.Choice(["csv", "parquet", "jsonl"]), help="Without it, as names of files tell.")
def add_table(client: "Client", name: str, uri: str, format: str | None) -> None:
    """Call the folder or file at S3_URI a table. Its columns are read from the files now; run this again to renew them.

    The bucket has to be the account's, or shared. What has the name already is replaced.
    """
    table = client.post("tables/add", timeout=None, name=name, uri=uri, format=format)
    columns = ", ".join(f"{column} {type}" for column, type in table["columns"].items())
    click.echo(f"{table['database']}.{table['table']}: {table['format']} in {table['uri']} with {columns}")


@tables.command("remove")
@asks_server
@click.argument("name", metavar="DATABASE.TABLE")
def remove_table(client: "Client", name: str) -> None:
    """Forget a name. The data stays, and so do configured tables that were made from it."""
    table = client.post("tables/remove", name=name)
    click.echo(f"{table['database']}.{table['table']} is forgotten; {table['uri']} is as it was.")


@main.group()
def graph() -> None:
    """Bring graphs that never saw Neptune, and check exports."""


def at_place(command: Command) -> Command:
    """Gives a command the server that an s3:// address means, and as whom to ask it."""

    @functools.wraps(command)
    def placed(endpoint_url: str | None, data_dir: Path, account: str, region: str, **others: Any) -> Any:
        place = (not others.get("dry_run") and others.get("to")) or others.get("place") or ""
        url = endpoint_url or (_server(data_dir)["url"] if place.startswith("s3://") else None)
        return command({"endpoint_url": url, "account": account, "region": region}, **others)

    return _with_server(placed, "The server of s3:// addresses; without it, that of the data folder.")  # type: ignore[return-value]


@graph.command("export")
@at_place
@click.argument("graph", required=False)
@click.option("--nodes", multiple=True, metavar="TYPE=TABLE:ID", help="Nodes of a type, and the column of their ids.")
@click.option(
    "--edges",
    multiple=True,
    metavar="'SOURCE-RELATION->TARGET=TABLE:FROM,TO'",
    help="Edges of a type, and the columns of both ends. A relation in brackets is the column that holds it.",
)
@click.option("--database", type=click.Path(exists=True, dir_okay=False), help="DuckDB's file that TABLEs are in.")
@click.option("--to", metavar="FOLDER|S3_URI", help="Where the export is to be.")
@click.option("--replace", is_flag=True, help="In the place of an export that is there.")
@click.option("--dry-run", is_flag=True, help="Only show what would be written.")
@click.option("--json", is_flag=True, help="Show it as JSON.")
@click.option(
    "--target", multiple=True, metavar="TYPE.COLUMN[:TASK]", help="Learn it, by classification or regression."
)
@click.option(
    "--task", metavar="link_prediction[:SOURCE-RELATION->TARGET]", help="Learn links, of some types of edges."
)
@click.option("--split", metavar="TRAIN,VALID,TEST", help="Parts of 1 for each; 0.8,0.1,0.1 for a target.")
@click.option("--split-column", metavar="TYPE.COLUMN", help="Holds train, valid or test for each row instead.")
@click.option("--feature", multiple=True, metavar="TYPE.COLUMN:ENCODING", help="Encode it so, and not as inferred.")
@click.option("--exclude", multiple=True, metavar="TYPE.COLUMN", help="Leave it out.")
@click.option("--nodes-from-edges", is_flag=True, help="Make nodes of ends of edges that no table of nodes has.")
@click.option("--skip-bad-rows", is_flag=True, help="Leave out rows without an id or with another's, and loose edges.")
@click.option("--node-type", default="type", show_default=True, help="GRAPH's attribute with the type of a node.")
@click.option("--relation", default="relation", show_default=True, help="GRAPH's attribute with the type of an edge.")
@click.option(
    "--configuration", type=click.Path(exists=True, dir_okay=False), help="Instead of the inferred one; an edited one."
)
def export_graph(door: dict[str, Any], dry_run: bool, **asked: Any) -> None:
    """Write a graph as Neptune's exporter would: tables (CSV, TSV, Parquet, DuckDB), or a whole GRAPH.

    TABLE is a file, a folder of Parquet, a query of DuckDB's, or a table of --database. GRAPH is a file: GraphML, GML,
    GEXF or node-link JSON as NetworkX reads them, or a HeteroData or Data that torch.save wrote (.pt).

    \b
    modelyard graph export --nodes user=users.parquet:id --nodes item=items.csv:id \\
      --edges 'user-bought->item=orders.csv:user_id,item_id' \\
      --target user.tier:classification --to s3://bucket/exports/shop/
    """
    from modelyard.console import graph

    if bool(asked["graph"]) == bool(asked["nodes"] or asked["edges"]):
        raise click.UsageError("Give tables with --nodes and --edges, or the file of a whole graph.")
    if not (asked["to"] or dry_run):
        raise click.UsageError("Say where to with --to, or --dry-run to look only.")
    sys.exit(graph.export(door, dry_run, **asked))


@graph.command("check")
@at_place
@click.argument("place", metavar="FOLDER|S3_URI")
@click.option("--configuration", help="The file's name, unless training-data-configuration.json.")
@click.option("--json", is_flag=True, help="Tell it as JSON.")
def check_graph(door: dict[str, Any], **asked: Any) -> None:
    """Tell everything that is wrong with an export, ours or Neptune's. Exits with 1 if a job would fail."""
    from modelyard.console import graph

    sys.exit(graph.check(door, **asked))


@main.group()
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


@main.group()
def keys() -> None:
    """Make access keys, so that the server checks who calls: with the first one, every request must be signed."""


@keys.command("add")
@data_dir
@click.option("--account", required=True, callback=_account, help="Twelve digits: whose key it is.")
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


@main.command()
@asks_server
@click.argument("membership")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="How many, newest first.")
def audit(client: "Client", membership: str, limit: int) -> None:
    """Show what was done with the data and models that MEMBERSHIP's account brought, and what it did itself.

    An account that has left names the collaboration instead.
    """
    from modelyard.console import tables

    tables.console().print(tables.audit(client.get("audit/", membership=membership, limit=limit)["entries"]))


@main.group()
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


@main.command()
@data_dir
def doctor(data_dir: Path) -> None:
    """Tell whether this machine has what Modelyard needs. Exits with 1 if something is missing."""
    from modelyard.console.doctor import examine, report
    from modelyard.console.tables import console

    findings = examine(data_dir)
    console().print(report(findings))
    sys.exit(any(finding.missing for finding in findings))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
