"""Base models by the command line, against a real server."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.encoder_folders import write_vectors
from tests.model_folders import write_model
from tests.system.server import Server

from modelyard.cli import main

pytestmark = pytest.mark.system
ID = "meta.llama3-2-1b-instruct-v1:0"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data").start()
    yield server
    server.close()


def models(server: Server, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", *arguments], env={"MODELYARD_DATA_DIR": str(server.folder)})


class TestAdd:
    def test_registers_for_everyone_and_removes(self, server: Server, tmp_path: Path) -> None:
        folder = write_model(tmp_path / "model", values=1_500_000)
        added = models(server, "add", ID, str(folder), "--name", "Small", "--customizations", "fine-tuning")
        assert added.output == f"{ID}: LlamaForCausalLM of 1,500,000 parameters in {folder}\n"
        (shown,) = server.client("bedrock").list_foundation_models()["modelSummaries"]
        assert (shown["modelId"], shown["modelName"], shown["customizationsSupported"]) == (
            ID,
            "Small",
            ["FINE_TUNING"],
        )
        listed = models(server, "list").output
        assert re.search(rf"{ID} +llama +1\.5M +512 +fine-tuning +{folder}", listed)
        assert models(server, "remove", ID).output == f"{ID} is forgotten; {folder} is as it was.\n"
        assert models(server, "remove", ID).exit_code == 1

    def test_registers_models_of_text_apart(self, server: Server, tmp_path: Path) -> None:
        folder = write_vectors(tmp_path / "vectors", {"cat": [1, 2], "dog": [3, 4]})
        refused = models(server, "add", "text_fasttext.de", str(folder))
        assert (refused.exit_code, "'text_fasttext.de' is no model of text" in refused.output) == (1, True)
        assert models(server, "add", "text_fasttext.en", str(folder), "--copy").exit_code == 2
        assert models(server, "add", "text_fasttext.en", str(folder)).output == f"text_fasttext.en: {folder}\n"
        assert server.client("bedrock").list_foundation_models()["modelSummaries"] == []
        assert re.search(rf"text_fasttext\.en +{folder}", models(server, "list").output)
        removed = models(server, "remove", "text_fasttext.en")
        assert removed.output == f"text_fasttext.en is forgotten; {folder} is as it was.\n"
        assert "TEXT MODEL" not in models(server, "list").output
        assert folder.is_dir()

    def test_copies_if_that_is_said(self, server: Server, tmp_path: Path) -> None:
        models(server, "add", ID, str(write_model(tmp_path / "model")), "--copy")
        kept = server.folder / "models" / "base" / ID.replace(":", "_")
        assert (kept / "model.safetensors").is_file()
        assert models(server, "remove", ID).output == f"{ID} is forgotten; {kept} is deleted.\n"
        assert not kept.exists()

    def test_copies_code_that_may_run(self, server: Server, tmp_path: Path) -> None:
        folder = write_model(tmp_path / "model", auto_map={"AutoModelForCausalLM": "own.Model"})
        (folder / "own.py").write_text("class Model: ...")
        refused = models(server, "add", ID, str(folder))
        assert (refused.exit_code, "auto_map" in refused.output) == (1, True)
        assert models(server, "add", ID, str(folder), "--allow-remote-code").exit_code == 0
        assert (server.folder / "models" / "base" / ID.replace(":", "_") / "own.py").is_file()

    @pytest.mark.parametrize(
        ("id", "options", "word"),
        [
            ("Qwen/Qwen2.5", (), "qwen.qwen2-5 would do"),
            (ID, ("--family", "bert"), "'bert' is none of"),
            (ID, ("--customizations", "magic"), "'magic' is none of"),
        ],
    )
    def test_refuses_what_clients_would_not_understand(
        self, server: Server, tmp_path: Path, id: str, options: tuple[str, ...], word: str
    ) -> None:
        refused = models(server, "add", id, str(write_model(tmp_path / "model")), *options)
        assert (refused.exit_code, word in refused.output) == (1, True)

    def test_refuses_another_folder_for_an_id(self, server: Server, tmp_path: Path) -> None:
        models(server, "add", ID, str(write_model(tmp_path / "model")))
        refused = models(server, "add", ID, str(write_model(tmp_path / "other")))
        assert (refused.exit_code, f"modelyard models remove {ID}" in refused.output) == (1, True)


class TestRemove:
    def test_is_refused_while_somebody_needs_the_model(self, server: Server, tmp_path: Path) -> None:
        models(server, "add", ID, str(write_model(tmp_path / "model")))
        server.client("bedrock").create_provisioned_model_throughput(
            modelUnits=1, provisionedModelName="kept", modelId=ID
        )
        refused = models(server, "remove", ID)
        assert refused.exit_code == 1
        assert "is needed by provisioned model kept of 111122223333; --force" in refused.output
        assert models(server, "remove", ID, "--force").exit_code == 0


class Hub(BaseHTTPRequestHandler):
    """A hub with one repository, as huggingface_hub asks for it."""

    folder: Path

    def do_GET(self) -> None:
        files = [{"path": path.name, "size": path.stat().st_size} for path in self.folder.iterdir()]
        if self.path.startswith("/api/models/someone/small/revision/"):
            names = [{"rfilename": file["path"]} for file in files]
            self._answer(json.dumps({"id": "someone/small", "sha": COMMIT, "siblings": names}).encode())
        elif self.path.startswith("/api/models/someone/small/tree/"):
            self._answer(json.dumps([{"type": "file", "oid": COMMIT, **file} for file in files]).encode())
        else:
            self._file(body=True)

    def do_HEAD(self) -> None:
        self._file(body=False)

    def log_message(self, *_: object) -> None:
        pass

    def _file(self, body: bool) -> None:
        path = self.folder / self.path.rpartition("/")[2]
        if not self.path.startswith("/someone/small/resolve/") or not path.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._answer(path.read_bytes(), body, ETag=f'"{path.name}"', **{"X-Repo-Commit": COMMIT})

    def _answer(self, content: bytes, body: bool = True, **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """The address of a hub, whose model has pickles beside it too."""
    handler = type("OneHub", (Hub,), {"folder": write_model(tmp_path / "hub")})
    (tmp_path / "hub" / "pytorch_model.bin").write_bytes(b"never fetched")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def pull(server: Server, hub: str, tmp_path: Path, repository: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the library reads its settings when it is imported."""
    settings = {
        "HF_ENDPOINT": hub,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "home"),
        "MODELYARD_DATA_DIR": str(server.folder),
    }
    command = [sys.executable, "-m", "modelyard", "models", "pull", ID, repository]
    return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60)


class TestPull:
    def test_fetches_safetensors_and_no_pickles(self, server: Server, hub: str, tmp_path: Path) -> None:
        pulled = pull(server, hub, tmp_path, "someone/small")
        assert pulled.returncode == 0, pulled.stderr
        kept = server.folder / "models" / "base" / ID.replace(":", "_")
        assert sorted(path.name for path in kept.iterdir()) == [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
        (shown,) = server.client("bedrock").list_foundation_models()["modelSummaries"]
        assert shown["modelId"] == ID

    def test_says_what_is_not_there(self, server: Server, hub: str, tmp_path: Path) -> None:
        pulled = pull(server, hub, tmp_path, "someone/else")
        assert pulled.returncode == 1
        assert "someone/else was not fetched" in pulled.stderr
        assert "Traceback" not in pulled.stderr
        assert server.client("bedrock").list_foundation_models()["modelSummaries"] == []


class TestBuild:
    @pytest.mark.slow
    def test_makes_a_small_model_once_and_says_so(self, server: Server, capfd: pytest.CaptureFixture[str]) -> None:
        pytest.importorskip("transformers")
        arguments = ("build", "tiny", "--mini", "--seconds", "1", "--services", "sqs,sns")
        built = models(server, *arguments)
        assert built.exit_code == 0, built.output
        (shown,) = server.client("bedrock").list_foundation_models()["modelSummaries"]
        assert shown["modelId"] == "modelyard.tiny-v1:0"
        assert "Writing" not in capfd.readouterr().err
        again = models(server, *arguments).output
        assert again.startswith(built.output.rstrip())
        assert "It had been built before; `modelyard models remove modelyard.tiny-v1:0` makes room" in again
