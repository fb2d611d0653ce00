"""Which model a request names."""

from collections.abc import Callable

from modelyard.jobs.on_demand import ServedModel

Resolve = Callable[[str, str, str], ServedModel]
"""`resolve(account, region, model_id)`: the model that the caller may use under that identifier; else a Fault."""
