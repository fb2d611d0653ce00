"""The user's folder of scripts, taken over once, so that all trials of a search run the same code."""

import json
import os
import posixpath
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from modelyard.images.folder import OpenedImage
from modelyard.removal import remove
from modelyard.runner.context import InputError
from modelyard.runner.sandbox import artifacts

CONFIGURATION = "model-hpo-configuration.json"
REQUIREMENTS = "requirements.txt"
MOST_BYTES = 2**30
"""Of all files of the folder."""
_MOST_TEXT = 2**20


def take(source: Path, folder: Path) -> OpenedImage:
    """Copies the scripts to `folder` as a project that a sandbox runs; what is there already stays as it is.

    Links and devices are left out. InputError if the folder is too large.
    """
    image = OpenedImage(folder, "project", "sha256:" + "0" * 64, workdir="/opt/program")
    if folder.exists():
        return image
    half = folder.with_name(f".{folder.name}")
    remove(half)
    try:
        found = artifacts.contents(source, MOST_BYTES)
    except artifacts.TooLarge as error:
        raise InputError(f"sourceS3DirectoryPath: the folder is too large: {error}") from None
    artifacts.copy(source, found, half / "project")
    half.chmod(0o755)
    os.rename(half, folder)
    return image


def check(image: OpenedImage, *names: str) -> None:
    """InputError unless the files, by their paths below the folder, are there."""
    for name in names:
        if not (posixpath.normpath(name) == name and name[0] not in "/.-" and (image.files / name).is_file()):
            raise InputError(f"sourceS3DirectoryPath: the folder has no {name}")


def missing(image: OpenedImage) -> list[str]:
    """The lines of `requirements.txt` that what is installed here does not satisfy.

    InputError for a line that names no package, such as an option or an address.
    """
    path = image.files / REQUIREMENTS
    if not path.is_file():
        return []
    if path.stat().st_size > _MOST_TEXT:
        raise InputError(f"{REQUIREMENTS}: more than {_MOST_TEXT:,} bytes are too many for this file")
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return [
        text
        for number, line in enumerate(lines, start=1)
        if (text := line.partition(" #")[0].strip()) and not text.startswith("#") and not _satisfied(text, number)
    ]


def refusal(absent: Sequence[str]) -> InputError:
    """Says what is missing, and the two ways out."""
    listed = ", ".join(absent[:10]) + (f" and {len(absent) - 10} more" if len(absent) > 10 else "")
    return InputError(
        f"{REQUIREMENTS}: {listed}: not installed here, and nothing is downloaded for a job; have the operator install "
        f"it beside Modelyard (pip install {json.dumps(absent[0])}), or start the server with --custom-model-network"
    )


def _satisfied(text: str, number: int) -> bool:
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        reason = "only packages with versions are taken here, such as torch>=2.4; no options, files or addresses"
        raise InputError(f"{REQUIREMENTS}, line {number}: {text[:200]!r}: {reason}") from None
    if wanted.url:
        raise InputError(f"{REQUIREMENTS}, line {number}: {text[:200]!r}: name a version, not an address")
    if wanted.marker and not wanted.marker.evaluate():
        return True
    try:
        version = metadata.version(canonicalize_name(wanted.name))
    except metadata.PackageNotFoundError:
        return False
    return wanted.specifier.contains(version, prereleases=True)
