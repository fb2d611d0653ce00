"""`modelyard jobs`."""

import sys
from typing import TYPE_CHECKING

import click

from modelyard.commands.options import Command, asks_server

if TYPE_CHECKING:
    from modelyard.console.client import Client


@click.group()
def jobs() -> None:
    """Look at jobs, and stop them."""


def one_job(command: Command) -> Command:
    """Has a command name one job."""
    kind = click.option("--kind", help="Needed only where jobs of several kinds have the id.")
    return click.argument("id")(kind(command))


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
