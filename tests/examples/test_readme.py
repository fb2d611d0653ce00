import json
import re
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.graphs import write_communities
from tests.system.server import Server

README = (ROOT / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.system
def test_the_whole_flow_runs_as_it_is_written(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [flow] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    write_communities(tmp_path / "export")
    monkeypatch.chdir(tmp_path)
    server = Server(data).start()
    try:
        exec(flow.replace("http://127.0.0.1:8080", server.url), {})  # the page's own code, on purpose
    finally:
        server.close()
    processed, trained, serving, answer = capsys.readouterr().out.splitlines()
    assert processed == "Completed"
    assert trained.startswith("Completed s3://graphs/model/")
    assert serving == "InService"
    output = json.loads(answer.replace("'", '"'))["output"]
    assert [item["id"] for item in output] == ["p1", "p2"]
    assert all(item["predictions"][0]["value"] in ("a", "b") for item in output)


def test_every_file_that_the_page_names_exists() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    assert linked
    assert [path for path in linked if not (ROOT / path).exists()] == []
