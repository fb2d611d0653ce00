import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.graphs import write_communities
from tests.system.server import Server

README = (ROOT / "README.md").read_text()
GRAPH, LANGUAGE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
@pytest.mark.system
def test_the_whole_flow_runs_as_it_is_written(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_communities(tmp_path / "export")
    monkeypatch.chdir(tmp_path)
    server = Server(data).start()
    try:
        exec(GRAPH.replace("http://127.0.0.1:8080", server.url), {})  # the page's own code, on purpose
    finally:
        server.close()
    processed, trained, serving, answer = capsys.readouterr().out.splitlines()
    assert processed == "Completed"
    assert trained.startswith("Completed s3://graphs/model/")
    assert serving == "InService"
    output = json.loads(answer.replace("'", '"'))["output"]
    assert [item["id"] for item in output] == ["p1", "p2"]
    assert all(item["predictions"][0]["value"] in ("a", "b") for item in output)


@pytest.mark.slow
@pytest.mark.system
def test_the_language_model_answers_as_it_is_written(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"prompt": "Who keeps the lamp?", "completion": "The Heron crew."}] * 16  # 80 steps
    (tmp_path / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    server = Server(data).start()
    try:
        build = [
            "models",
            "build",
            "tiny",
            "--mini",
            "--services",
            "sqs",
            "--seconds",
            "3",
            "--endpoint-url",
            server.url,
        ]
        subprocess.run([sys.executable, "-m", "modelyard", *build], check=True, stdout=subprocess.DEVNULL)
        before = GRAPH.replace("http://127.0.0.1:8080", server.url).partition("def wait")[0]
        exec(before + LANGUAGE, {})  # the page's own code, on purpose
    finally:
        server.close()
    assert capsys.readouterr().out.strip() == "The Heron crew."


def test_every_file_that_the_page_names_exists() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    assert linked
    assert [path for path in linked if not (ROOT / path).exists()] == []
