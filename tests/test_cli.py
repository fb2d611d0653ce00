import importlib.metadata
import pkgutil

from click import Command, Context, Group
from click.testing import CliRunner

from modelyard import commands
from modelyard.cli import COMMANDS, main
from tests.conftest import ROOT


def test_every_module_of_commands_is_found_by_its_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    assert modules - {"options"} == set(COMMANDS)
    assert main.get_command(Context(main), "options") is None


def test_every_command_and_setting_is_documented() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text()
    known: dict[str, Command] = {}
    for name in COMMANDS:
        command = main.get_command(Context(main), name)
        assert command is not None
        parts = command.commands if isinstance(command, Group) else {}
        known |= {f"{name} {part}": one for part, one in parts.items()} or {name: command}
    assert [name for name in known if f"`{name}" not in page] == []
    options = {flag for name in ("serve", "jobs list") for option in known[name].params for flag in option.opts}
    assert [flag for flag in options - {"--limit"} if f"`{flag}`" not in page] == []


def test_the_version_is_told() -> None:
    told = CliRunner().invoke(main, ["--version"])
    assert (told.exit_code, told.output) == (0, f"modelyard {importlib.metadata.version('modelyard')}\n")
