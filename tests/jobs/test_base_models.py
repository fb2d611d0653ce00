import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.model_folders import write_model

from modelyard.database import Database
from modelyard.jobs.base_models import BaseModels, check_id
from modelyard.jobs.model import AlreadyExists, NotFound
from modelyard.jobs.resources import Resources
from modelyard.model_folder import BadModel

ID = "meta.llama3-2-1b-instruct-v1:0"


@pytest.fixture
def models(tmp_path: Path) -> Iterator[BaseModels]:
    database = Database(tmp_path / "modelyard.db")
    yield BaseModels(Resources(database), tmp_path / "base")
    database.close()


class TestAdd:
    def test_refers_to_the_folder(self, models: BaseModels, tmp_path: Path) -> None:
        folder = write_model(tmp_path / "model")
        added = asyncio.run(models.add(ID, folder))
        assert models.get(ID) == added
        assert models.all() == [added]
        assert (added.path, added.own, added.family) == (str(folder), False, "llama")
        assert (added.provider, added.name) == ("Meta", "llama3-2-1b-instruct")
        asyncio.run(models.remove(ID))
        assert folder.is_dir()
        with pytest.raises(NotFound):
            models.get(ID)

    def test_may_copy_it(self, models: BaseModels, tmp_path: Path) -> None:
        folder = write_model(tmp_path / "model")
        added = asyncio.run(models.add(ID, folder, copy=True))
        assert (added.path, added.own) == (str(models.folder(ID)), True)
        assert sorted(path.name for path in models.folder(ID).iterdir()) == sorted(
            path.name for path in folder.iterdir()
        )
        asyncio.run(models.remove(ID))
        assert not models.folder(ID).exists()

    def test_of_a_copy_survives_that_the_data_folder_moves(self, tmp_path: Path) -> None:
        before, after = tmp_path / "before", tmp_path / "after"
        before.mkdir()
        for folder in (before, after):
            database = Database(folder / "modelyard.db")
            models = BaseModels(Resources(database), folder / "base")
            if folder is before:
                asyncio.run(models.add(ID, write_model(tmp_path / "model"), copy=True))
            else:
                assert Path(models.get(ID).path) == after / "base" / ID.replace(":", "_")
            database.close()
            if folder is before:
                before.rename(after)

    def test_again_looks_at_the_folder_again(self, models: BaseModels, tmp_path: Path) -> None:
        folder = write_model(tmp_path / "model")
        asyncio.run(models.add(ID, folder))
        write_model(folder, values=2000)
        assert asyncio.run(models.add(ID, folder, family="nova")).parameters == 2000
        assert models.get(ID).family == "nova"

    def test_refuses_an_id_that_is_another_folders(self, models: BaseModels, tmp_path: Path) -> None:
        asyncio.run(models.add(ID, write_model(tmp_path / "model")))
        with pytest.raises(AlreadyExists):
            asyncio.run(models.add(ID, write_model(tmp_path / "other")))

    def test_keeps_nothing_of_a_folder_that_is_no_model(self, models: BaseModels, tmp_path: Path) -> None:
        with pytest.raises(BadModel):
            asyncio.run(models.add(ID, tmp_path, copy=True))
        assert models.all() == []
        assert not models.folder(ID).exists()


class TestGet:
    @pytest.mark.parametrize("id", ["amazon.titan-v1", "amazon.titan-v1:0", "amazon.titan-v1:0:8k"])
    def test_finds_with_and_without_version_and_context(self, models: BaseModels, tmp_path: Path, id: str) -> None:
        asyncio.run(models.add("amazon.titan-v1:0", write_model(tmp_path / "model")))
        assert models.get(id).id == "amazon.titan-v1:0"

    def test_does_not_guess_between_two(self, models: BaseModels, tmp_path: Path) -> None:
        for id in ("amazon.titan-v1:0:8k", "amazon.titan-v1:0:4k"):
            asyncio.run(models.add(id, write_model(tmp_path / "model")))
        assert models.get("amazon.titan-v1:0:4k").id == "amazon.titan-v1:0:4k"
        with pytest.raises(NotFound):
            models.get("amazon.titan-v1:0")


class TestIds:
    @pytest.mark.parametrize("id", [ID, "modelyard.tiny-v1:0", "amazon.titan-text-express-v1:0:8k"])
    def test_of_aws_are_taken(self, id: str) -> None:
        assert check_id(id) == id

    @pytest.mark.parametrize(
        ("id", "better"),
        [
            ("Qwen/Qwen2.5-0.5B", "qwen.qwen2-5-0-5b"),
            ("qwen.qwen2.5-v1", "qwen.qwen2-5-v1"),
            ("Meta.Llama_3", "meta.llama-3"),
        ],
    )
    def test_that_clients_would_not_take_are_refused_with_a_better_one(self, id: str, better: str) -> None:
        with pytest.raises(BadModel, match=f"{better} would do"):
            check_id(id)

    @pytest.mark.parametrize("id", ["", "plain", "a.b", "x" * 80, "../..", "a.b/c", "ä.ö", "a.bc\n"])
    def test_that_are_none_are_refused(self, id: str) -> None:
        with pytest.raises(BadModel, match="cannot be the id"):
            check_id(id)
