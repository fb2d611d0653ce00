import json
from pathlib import Path
from typing import Any

import pytest
from tests.archives import entry, layer, write_archive, write_layout

from modelyard.images.adding import add
from modelyard.images.folder import BadImage, open_image

SHELL = entry("bin/sh", b"#!")
PLACES = {"proc", "sys", "dev", "tmp", "run", "etc", "opt"}


def take(path: Path, tmp_path: Path, **options: Any) -> Any:
    folder = tmp_path / f"kept-{path.name}"
    folder.mkdir(parents=True)
    added, _ = add(path, folder, **options)
    assert open_image(folder) == added
    return added


class TestOCI:
    def test_says_the_manifests_digest_and_how_to_start(self, tmp_path: Path) -> None:
        config = {"Entrypoint": ["python"], "Cmd": ["serve"], "Env": ["A=b=c"], "WorkingDir": "/app"}
        digest = write_layout(tmp_path / "layout", [layer(SHELL), layer(entry("app/x", b"1"))], config)
        for path in (tmp_path / "layout", write_archive(tmp_path / "layout", tmp_path / "image.tar")):
            image = take(path, tmp_path)
            assert (image.form, image.digest, image.workdir) == ("oci", digest, "/app")
            assert (image.entrypoint, image.command, image.environment) == (["python"], ["serve"], {"A": "b=c"})
            assert (image.files / "app" / "x").read_bytes() == b"1"
            assert {path.name for path in image.files.iterdir()} == {"bin", "app", *PLACES}

    def test_refuses_a_blob_that_is_not_what_its_name_says(self, tmp_path: Path) -> None:
        write_layout(tmp_path / "layout", [layer(SHELL)])
        for blob in (tmp_path / "layout" / "blobs" / "sha256").iterdir():
            before = blob.read_bytes()
            blob.write_bytes(before + b" ")
            with pytest.raises(BadImage, match="holds something else"):
                take(tmp_path / "layout", tmp_path / blob.name[:4])
            blob.write_bytes(before)

    def test_refuses_an_image_for_another_machine(self, tmp_path: Path) -> None:
        write_layout(tmp_path / "layout", [layer(SHELL)], architecture="s390x")
        with pytest.raises(BadImage, match="s390x"):
            take(tmp_path / "layout", tmp_path)

    @pytest.mark.parametrize("digest", ["sha256:../../../../etc/passwd", "md5:0", None, "sha256:" + "A" * 64])
    def test_refuses_digests_that_are_none(self, tmp_path: Path, digest: Any) -> None:
        write_layout(tmp_path / "layout", [layer(SHELL)])
        (tmp_path / "layout" / "index.json").write_text(json.dumps({"manifests": [{"digest": digest}]}))
        with pytest.raises(BadImage, match="no digest"):
            take(tmp_path / "layout", tmp_path)

    def test_a_tag_chooses_among_several(self, tmp_path: Path) -> None:
        first = write_layout(tmp_path / "layout", [layer(SHELL)])
        index = json.loads((tmp_path / "layout" / "index.json").read_text())
        (one,) = index["manifests"]
        other = write_layout(tmp_path / "other", [layer(SHELL, entry("b", b""))])
        for blob in (tmp_path / "other" / "blobs" / "sha256").iterdir():
            blob.replace(tmp_path / "layout" / "blobs" / "sha256" / blob.name)
        tagged = [
            {**one, "annotations": {"org.opencontainers.image.ref.name": "v1"}},
            {**one, "digest": other, "annotations": {"org.opencontainers.image.ref.name": "registry/app:v2"}},
        ]
        (tmp_path / "layout" / "index.json").write_text(json.dumps({"manifests": tagged}))
        assert take(tmp_path / "layout", tmp_path / "1", tag="v1").digest == first
        assert take(tmp_path / "layout", tmp_path / "2", tag="v2").digest == other
        with pytest.raises(BadImage, match="2 images"):
            take(tmp_path / "layout", tmp_path / "3", tag="v3")

    def test_what_a_container_has_of_its_own_is_made_of_whatever_is_there(self, tmp_path: Path) -> None:
        links = [entry(name, kind=b"2", linkname="/etc") for name in ("proc", "tmp", "opt/ml", "etc/hosts")]
        write_layout(tmp_path / "layout", [layer(SHELL, entry("opt"), entry("etc"), *links)])
        files = take(tmp_path / "layout", tmp_path).files
        assert all((files / name).is_dir() and not (files / name).is_symlink() for name in ("proc", "tmp", "opt/ml"))
        assert (files / "etc" / "hosts").is_file()
        assert not (files / "etc" / "hosts").is_symlink()

    @pytest.mark.parametrize("name", ["etc", "opt"])
    def test_refuses_links_where_folders_must_be(self, tmp_path: Path, name: str) -> None:
        write_layout(tmp_path / "layout", [layer(SHELL, entry(name, kind=b"2", linkname="/usr"))])
        with pytest.raises(BadImage, match="is a link"):
            take(tmp_path / "layout", tmp_path)


class TestRootFileSystem:
    def test_is_taken_from_a_folder_or_an_archive(self, tmp_path: Path) -> None:
        source = tmp_path / "source"
        (source / "bin").mkdir(parents=True)
        (source / "bin" / "sh").write_bytes(b"#!")
        (source / "bin" / "sh").chmod(0o4755)
        (source / "out").symlink_to("/etc/passwd")
        (source / "modelyard-image.json").write_text('{"Entrypoint": ["/bin/sh"]}')
        folder = take(source, tmp_path)
        archive = take(write_archive(source, tmp_path / "rootfs.tar"), tmp_path)
        assert folder.digest == archive.digest
        assert (folder.form, folder.entrypoint, folder.workdir) == ("rootfs", ["/bin/sh"], "/")
        assert (folder.files / "out").is_symlink()
        assert (folder.files / "bin" / "sh").stat().st_mode & 0o7777 == 0o755

    def test_a_link_in_the_place_of_its_configuration_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "secret.json").write_text('{"Entrypoint": ["secret"]}')
        link = entry("modelyard-image.json", kind=b"2", linkname=str(tmp_path / "secret.json"))
        (tmp_path / "rootfs.tar").write_bytes(layer(SHELL, link))
        assert take(tmp_path / "rootfs.tar", tmp_path).entrypoint == []

    def test_one_may_say_elsewhere_how_it_starts(self, tmp_path: Path) -> None:
        (tmp_path / "rootfs.tar").write_bytes(layer(SHELL))
        (tmp_path / "config.json").write_text('{"Cmd": ["x"], "WorkingDir": "/srv"}')
        image = take(tmp_path / "rootfs.tar", tmp_path, config=tmp_path / "config.json")
        assert (image.command, image.workdir) == (["x"], "/srv")


class TestProject:
    def test_is_copied_without_what_is_no_part_of_it(self, tmp_path: Path) -> None:
        source = tmp_path / "source"
        for name in (".git/config", "pkg/__pycache__/a.pyc", "main.py", "pkg/a.py"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(name)
        (source / "modelyard-image.json").write_text('{"entrypoint": ["python", "main.py"]}')
        image = take(source, tmp_path)
        assert (image.form, image.entrypoint, image.workdir) == ("project", ["python", "main.py"], "/opt/program")
        found = {str(path.relative_to(image.files)) for path in image.files.rglob("*")}
        assert found == {"main.py", "pkg", "pkg/a.py", "modelyard-image.json"}

    def test_changes_its_digest_with_any_of_names_rights_and_bytes(self, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.mkdir()
        (source / "modelyard-image.json").write_text('{"entrypoint": ["python", "main.py"]}')
        main, digests = source / "main.py", []
        main.write_text("a")
        for number, change in enumerate(
            (lambda: None, lambda: main.write_text("b"), lambda: main.chmod(0o755), lambda: main.rename(source / "x"))
        ):
            change()
            (tmp_path / str(number)).mkdir()
            digests.append(take(source, tmp_path / str(number)).digest)
        assert len(set(digests)) == len(digests)

    @pytest.mark.parametrize(
        ("pyproject", "entrypoint"),
        [
            ('[tool.modelyard]\nentrypoint = ["python", "-m", "bank"]', ["python", "-m", "bank"]),
            (
                '[project.scripts]\nbank = "bank.run:main"',
                ["python", "-c", "import sys; from bank.run import main; sys.exit(main())"],
            ),
        ],
    )
    def test_may_say_its_start_in_pyproject(self, tmp_path: Path, pyproject: str, entrypoint: list[str]) -> None:
        source = tmp_path / "source"
        source.mkdir()
        (source / "pyproject.toml").write_text(pyproject)
        assert take(source, tmp_path).entrypoint == entrypoint

    @pytest.mark.parametrize(
        "text", ["", "[project.scripts]\na='a:b'\nb='a:b'", "tool = 1", "[", "[tool]\nmodelyard=1"]
    )
    def test_refuses_a_project_that_does_not_say_it(self, tmp_path: Path, text: str) -> None:
        source = tmp_path / "source"
        source.mkdir()
        (source / "pyproject.toml").write_text(text)
        with pytest.raises(BadImage, match=r"pyproject\.toml"):
            take(source, tmp_path)


def test_refuses_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadImage, match="neither an OCI layout"):
        take(tmp_path / "empty", tmp_path)
    (tmp_path / "text").write_text("text")
    with pytest.raises(BadImage, match="no tar archive"):
        take(tmp_path / "text", tmp_path)
    (tmp_path / "old.tar").write_bytes(layer(entry("manifest.json", b"[]")))
    with pytest.raises(BadImage, match="skopeo"):
        take(tmp_path / "old.tar", tmp_path)


@pytest.mark.parametrize(
    "config",
    ['{"Entrypoint": "sh"}', '{"Cmd": [1]}', '{"Env": ["=x"]}', '{"Env": {"A": 1}}', '{"WorkingDir": "x"}', "[]", "{"],
)
def test_refuses_configurations_of_other_types(tmp_path: Path, config: str) -> None:
    (tmp_path / "rootfs.tar").write_bytes(layer(SHELL, entry("modelyard-image.json", config.encode())))
    with pytest.raises(BadImage):
        take(tmp_path / "rootfs.tar", tmp_path)
