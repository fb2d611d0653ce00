"""A customization job's first stage: reads every row before anything is trained, and names all that cannot be used."""

from collections.abc import Mapping
from typing import Any

from modelyard.runner.context import Context
from modelyard.workloads.language.rows import Problems
from modelyard.workloads.language.sources import Sources, splits


def run(context: Context) -> Mapping[str, Any]:
    """Counts rows and tokens of the inputs `training`, `validation-0` and so on: files, or folders of .jsonl files.

    Parameters: see `Sources.of`. InputError names the bad lines: file, line, and why.
    """
    sources, problems = Sources.of(context), Problems()
    records: dict[str, int] = {}
    tokens: dict[str, int] = {}
    for split in splits(context):
        found = [row.tokens for row in sources.read(context, split, problems)]
        records[split], tokens[split] = len(found), sum(found)
    problems.check()
    return {
        "training_records": records["training"],
        "training_tokens": tokens["training"],
        "validation_records": [records[split] for split in splits(context)[1:]],
    }
