"""Images as files, written by hand so that they can be as bad as an attacker's."""

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def entry(name: str, content: bytes | None = None, kind: bytes | None = None, **values: Any) -> tuple[Any, bytes]:
    """An entry of a layer: a file with the content, a folder without, or of another kind."""
    info = tarfile.TarInfo(name)
    info.type = kind or (tarfile.DIRTYPE if content is None else tarfile.REGTYPE)
    info.size = len(content or b"")
    info.mode = 0o755
    for attribute, value in values.items():
        setattr(info, attribute, value)
    return info, content or b""


def layer(*entries: tuple[Any, bytes]) -> bytes:
    """A layer, or any other archive, of these entries."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def write_layout(folder: Path, layers: Sequence[bytes], config: Mapping[str, Any] = {}, **changes: Any) -> str:
    """An OCI layout with one image, and the digest of its manifest. changes: of the image's configuration."""
    folder.mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    described = {"os": "linux", "architecture": MACHINE, "config": dict(config), **changes}
    manifest = {
        "schemaVersion": 2,
        "config": _blob(folder, json.dumps(described).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [_blob(folder, gzip.compress(one), "application/vnd.oci.image.layer.v1.tar+gzip") for one in layers],
    }
    found = _blob(folder, json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [found]}))
    return str(found["digest"])


def write_archive(folder: Path, path: Path) -> Path:
    """A layout as an archive, as `podman save --format oci-archive` writes it."""
    with tarfile.open(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.add(file, str(file.relative_to(folder)), recursive=False)
    return path


def _blob(folder: Path, content: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    place = folder / "blobs" / "sha256" / digest
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}
