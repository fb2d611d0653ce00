"""The page that says which operations of each service are served, out of the models and the handlers."""

from collections.abc import Iterable, Sequence

from .endpoint import Service

_HEAD = """# Operations

Which operations of each service are served. This page is generated from the service models and the handlers.

An operation that is not served answers the service's own error for unsupported operations where it models one, and
`UnknownOperationException` with status 404 otherwise. S3 answers `NotImplemented`, with status 400 instead of its 501
(clients repeat what ends with 5xx); STS answers `InvalidAction`.
"""


def operations_markdown(services: Sequence[Service]) -> str:
    """The page in Markdown."""
    return "\n".join([_HEAD, *(_section(service) for service in services)])


def _section(service: Service) -> str:
    operations = service.model.operations
    missing = [name for name in operations if name not in service.handlers]
    parts = [f"## {service.name}\n"]
    if service.handlers:
        parts += ["| operation | boto3 method | HTTP |", "|---|---|---|", *_rows(service), ""]
    if missing:
        parts.append(f"Not served: {_names(missing)}.\n")
    return "\n".join(parts)


def _rows(service: Service) -> Iterable[str]:
    for name, operation in service.model.operations.items():
        if name in service.handlers:
            http = operation.http
            yield f"| {operation.name} | `{name}` | {http['method']} `{http['requestUri']}` |"


def _names(methods: Sequence[str]) -> str:
    return ", ".join(f"`{method}`" for method in methods)
