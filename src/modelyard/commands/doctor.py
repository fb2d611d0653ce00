"""`modelyard doctor`."""

import sys
from pathlib import Path

import click

from modelyard.commands.options import data_dir


@click.command()
@data_dir
def doctor(data_dir: Path) -> None:
    """Tell whether this machine has what Modelyard needs. Exits with 1 if something is missing."""
    from modelyard.console.doctor import examine, report
    from modelyard.console.tables import console

    findings = examine(data_dir)
    console().print(report(findings))
    sys.exit(any(finding.missing for finding in findings))
