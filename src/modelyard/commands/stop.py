"""`modelyard stop`."""

from pathlib import Path

import click

from modelyard.commands.options import data_dir


@click.command()
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
