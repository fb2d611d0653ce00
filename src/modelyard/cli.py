"""The command line: a command's module is imported when the command is named, and what it needs when it runs."""

from importlib import import_module

import click

COMMANDS = (
    "audit",
    "buckets",
    "doctor",
    "endpoints",
    "graph",
    "images",
    "jobs",
    "keys",
    "models",
    "query",
    "serve",
    "stop",
    "tables",
)


class Commands(click.Group):
    """Finds a command in the module of its name, so that the server starts fast and stays small."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in order."""
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"modelyard.commands.{cmd_name}"), cmd_name)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="modelyard", prog_name="modelyard", message="%(prog)s %(version)s")
def main() -> None:
    """Answers AWS's own clients for managed machine-learning jobs, and really runs them."""
