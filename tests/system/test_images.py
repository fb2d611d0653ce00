"""The operator's images, by the command line, at a real server."""

import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from modelyard.cli import main
from tests.archives import entry, layer, write_archive, write_layout
from tests.system.server import Server

pytestmark = pytest.mark.system

URI = "123456789012.dkr.ecr.us-east-1.amazonaws.com/bank"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data").start()
    yield server
    server.kill()


def images(server: Server, *arguments: str, fails: bool = False) -> str:
    command, *rest = arguments
    found = CliRunner().invoke(main, ["images", command, f"--endpoint-url={server.url}", *rest])
    assert (found.exit_code != 0) is fails, found.output
    return " ".join(found.output.split())


def test_are_added_listed_and_removed(server: Server, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "layout", [layer(entry("bin/sh", b"#!"))], {"Cmd": ["serve"]})
    archive = write_archive(tmp_path / "layout", tmp_path / "image.tar")
    assert images(server, "add", URI, str(archive)) == f"{URI}:latest is {digest}: oci, 2 bytes"
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "modelyard-image.json").write_text('{"entrypoint": ["python", "main.py"]}')
    assert "project" in images(server, "add", f"{URI}:v2", str(tmp_path / "project"))
    listed = images(server, "list")
    assert f"{URI}:latest oci" in listed
    assert f"{URI}:v2 project" in listed
    server.kill()
    server.start()
    assert digest in images(server, "remove", URI)
    assert digest not in images(server, "list")
    assert f"There is no image '{URI}'" in images(server, "remove", URI, fails=True)


def test_what_cannot_be_used_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    assert "neither an OCI layout" in images(server, "add", URI, str(tmp_path / "nothing"), fails=True)
    assert "registry/repository" in images(server, "add", "nothing", str(tmp_path / "nothing"), fails=True)


class Registry(http.server.BaseHTTPRequestHandler):
    """Serves one layout, as the registry protocol asks a server to: https://github.com/opencontainers/distribution-spec."""

    layout: Path

    def do_GET(self) -> None:
        found = re.fullmatch(r"/v2/bank/(manifests|blobs)/(\S+)", self.path)
        if self.path == "/v2/":
            return self._answer(b"{}", "application/json")
        if found is None:
            return self.send_error(404)
        described = json.loads((self.layout / "index.json").read_text())["manifests"][0]
        digest = described["digest"] if found[2] == "v1" else found[2]
        kind = described["mediaType"] if found[1] == "manifests" else "application/octet-stream"
        content = (self.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
        self._answer(content, kind, digest)

    do_HEAD = do_GET

    def _answer(self, content: bytes, kind: str, digest: str = "") -> None:
        self.send_response(200)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", len(content)),
            ("Docker-Content-Digest", digest),
        ):
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed")
def test_are_pulled_from_a_registry(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = write_layout(
        tmp_path / "layout",
        [layer(entry("bin/sh", b"#!"))],
        {"Cmd": ["serve"]},
        rootfs={"type": "layers", "diff_ids": []},
    )
    handler = type("Handler", (Registry,), {"layout": tmp_path / "layout"})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as registry:
        threading.Thread(target=registry.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{registry.server_port}"
        (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n')
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "registries.conf"))
        (tmp_path / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n'
        )
        monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
        said = images(server, "pull", f"{host}/bank:v1")
        registry.shutdown()
    assert said == f"{host}/bank:v1 is {digest}: oci, 2 bytes"
