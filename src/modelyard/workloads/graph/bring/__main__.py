"""The command line's part that needs libraries: a process of its own does what its second argument, JSON, says."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring.check import check
from modelyard.workloads.graph.bring.export import open_graph, plan
from modelyard.workloads.graph.bring.findings import document as findings_document
from modelyard.workloads.graph.bring.findings import shown as shown_findings
from modelyard.workloads.graph.bring.place import Door
from modelyard.workloads.graph.bring.summary import shown
from modelyard.workloads.graph.bring.tables import Source, tables

_PIPE_WIDTH = 200


def main() -> int:
    """Runs one command; its exit status."""
    command, given = sys.argv[1], json.loads(sys.argv[2])
    try:
        return _COMMANDS[command](given, _console())
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _export(given: Mapping[str, Any], console: Console) -> int:
    export = plan(_source(given), **given["wishes"])
    if given["configuration"]:
        _configure(export.configuration, Path(given["configuration"]))
    if given["json"]:
        print(json.dumps(export.document(), indent=2, ensure_ascii=False))
    else:
        console.print(shown(export.plan))
    if given["to"]:
        export.write(given["to"], given["replace"], door=Door(**given["door"]))
        if not given["json"]:
            console.print(f"Written to {given['to']}", markup=False, soft_wrap=True)
    return 0


def _source(given: Mapping[str, Any]) -> Source:
    if given["graph"]:
        return open_graph(given["graph"], given["node_type"], given["relation"])
    return tables(_typed(given["nodes"]), _typed(given["edges"]), given["database"])


def _typed(specs: list[str]) -> dict[Any, Any]:
    """`TYPE=TABLE:COLUMNS`, each type with all of its tables."""
    every: dict[Any, Any] = {}
    for spec in specs:
        name, equals, table = spec.partition("=")
        if not equals:
            raise InputError(
                f"{spec!r} must be TYPE=TABLE:ID for nodes, SOURCE-RELATION->TARGET=TABLE:FROM,TO for edges"
            )
        every.setdefault(name.strip(), []).append(table)
    return every


def _configure(configuration: dict[str, Any], path: Path) -> None:
    """Takes a configuration that somebody changed in the place of the inferred one."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        read = read.get("configuration", read)
        dict(read["graph"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is no configuration: {error}; --dry-run --json prints one") from None
    configuration.clear()
    configuration.update(read)


def _check(given: Mapping[str, Any], console: Console) -> int:
    found = check(given["place"], given["configuration"], Door(**given["door"]))
    if given["json"]:
        print(json.dumps(findings_document(found), indent=2, ensure_ascii=False))
    else:
        console.print(shown_findings(found))
    return int(not found.fine)


def _console() -> Console:
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


_COMMANDS: Mapping[str, Callable[[Mapping[str, Any], Console], int]] = {"export": _export, "check": _check}

if __name__ == "__main__":
    sys.exit(main())
