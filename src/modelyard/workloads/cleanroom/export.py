"""Export: a trained model, or what its training wrote beside it, packed for the one member who may take it out."""

from typing import Any

from modelyard.runner.context import Context


def run(context: Context) -> dict[str, Any]:
    """Packs `model/` into `model.tar.gz` (MODEL) and `output/` into `output.tar.gz` (OUTPUT).

    Inputs: `trained`, the output of the training.
    Parameters: `files` (of MODEL, OUTPUT), `max_bytes` (what the files and their names may come to, unpacked).
    Result: `bytes` (of the archives), `size` (unpacked), and `failure` with `code` EXPORT_TOO_LARGE and `message`; then
    nothing is written.
    """
    raise NotImplementedError
