from pathlib import Path

import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.graph.custom import code


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "package").mkdir(parents=True)
    (folder / "training.py").write_text("print(1)")
    (folder / "package" / "__init__.py").write_text("")
    return folder


def missing(source: Path, text: str) -> list[str]:
    (source / "requirements.txt").write_text(text)
    return code.missing(code.take(source, source.parent / "code"))


def test_a_folder_is_taken_once(source: Path, tmp_path: Path) -> None:
    first = code.take(source, tmp_path / "code")
    (source / "training.py").write_text("print(2)")
    again = code.take(source, tmp_path / "code")

    assert (again.files / "training.py").read_text() == "print(1)"
    assert (first.files / "package" / "__init__.py").is_file()
    assert first.form == "project"


def test_a_folder_that_is_too_large_is_refused(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "MOST_BYTES", 10)
    with pytest.raises(InputError, match="the folder is too large"):
        code.take(source, tmp_path / "code")
    assert not (tmp_path / "code").exists()


@pytest.mark.parametrize("name", ["other.py", "package", "../source/training.py", "/etc/passwd", "-c", "./training.py"])
def test_only_files_of_the_folder_are_found(name: str, source: Path, tmp_path: Path) -> None:
    taken = code.take(source, tmp_path / "code")
    code.check(taken, "training.py", "package/__init__.py")
    with pytest.raises(InputError, match="the folder has no"):
        code.check(taken, name)


def test_what_is_installed_satisfies(source: Path) -> None:
    assert missing(source, "numpy\nTorch_Geometric>=2  # PyG\nnumpy>=1,!=1.5\n") == []


def test_what_is_not_installed_or_too_old_is_missing(source: Path) -> None:
    assert missing(source, "no.such_package\nnumpy>=99\n") == ["no.such_package", "numpy>=99"]


def test_what_another_python_needs_is_left_out(source: Path) -> None:
    assert missing(source, "no-such-package; python_version < '3'\n") == []


@pytest.mark.parametrize(
    "line",
    ["-r other.txt", "--index-url https://example.com", "git+https://example.com/x", "./wheel.whl", "x @ https://a/b"],
)
def test_what_names_no_version_is_refused_with_its_line(line: str, source: Path) -> None:
    with pytest.raises(InputError, match=r"requirements\.txt, line 2"):
        missing(source, f"numpy\n{line}\n")


def test_without_the_file_nothing_is_missing(source: Path, tmp_path: Path) -> None:
    assert code.missing(code.take(source, tmp_path / "code")) == []
