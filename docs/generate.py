"""Writes the pages of `docs/` that come out of the code: `python docs/generate.py`."""

from pathlib import Path
from tempfile import TemporaryDirectory

from modelyard.app import Application
from modelyard.settings import Settings
from modelyard.wire.operations import operations_markdown


def operations() -> str:
    """The page that says which operations a server with all its parts answers."""
    with TemporaryDirectory() as folder:
        application = Application(Settings(data_dir=Path(folder)))
        try:
            return operations_markdown(application.endpoint.services)
        finally:
            application.close()


if __name__ == "__main__":
    (Path(__file__).parent / "operations.md").write_text(operations())
