"""Folders of images: `image.json`, which says how the program starts, and beside it `rootfs/` or `project/`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Form = Literal["oci", "rootfs", "project"]
FORMS: Sequence[Form] = ("oci", "rootfs", "project")
"""An OCI image; a root file system and its configuration; a Python project, which runs with the server's own Python."""

DESCRIPTION = "image.json"


class BadImage(Exception):
    """A folder or an archive is no image that can be used here; the message names the file and the way out."""


@dataclass(frozen=True)
class OpenedImage:
    """An image, and how its program starts.

    folder: where `image.json` lies. digest: `sha256:` and 64 hexadecimal digits. entrypoint and command: arguments of
    one program; who starts the image may put others in the place of the latter, or of both. workdir: absolute.
    """

    folder: Path
    form: Form
    digest: str
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"

    @property
    def files(self) -> Path:
        """The root file system, or the project."""
        return self.folder / ("project" if self.form == "project" else "rootfs")

    def write(self) -> None:
        """Describes the image in its folder."""
        described: dict[str, Any] = {name: value for name, value in asdict(self).items() if name != "folder"}
        (self.folder / DESCRIPTION).write_text(json.dumps(described, indent=1))


def open_image(folder: Path) -> OpenedImage:
    """The image in a folder that the server keeps; BadImage if there is none."""
    try:
        return OpenedImage(folder, **json.loads((folder / DESCRIPTION).read_text()))
    except (OSError, ValueError, TypeError):
        raise BadImage(f"{folder / DESCRIPTION}: it does not describe an image; add the image again") from None
