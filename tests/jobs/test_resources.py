import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.database import Database
from modelyard.jobs.listing import Search
from modelyard.jobs.model import RESERVED, AlreadyExists, NotFound, Owner, Resource
from modelyard.jobs.resources import Resources, new

US = Owner("111111111111", "us-east-1")
ELSEWHERE = (Owner("222222222222", "us-east-1"), Owner("111111111111", "eu-west-1"))


@pytest.fixture
def resources(tmp_path: Path) -> Iterator[Resources]:
    database = Database(tmp_path / "modelyard.db")
    yield Resources(database)
    database.close()


def create(resources: Resources, id: str, status: str = "Active", token: str | None = None, **facts: str) -> Resource:
    made = new(US, "model", id, facts.pop("name", f"name-of-{id}"), status, {"id": id}, **facts)
    return asyncio.run(resources.create(made, token))


class TestGet:
    def test_finds_by_id_and_by_name(self, resources: Resources) -> None:
        made = create(resources, "a", base="tiny", root="tiny")
        assert resources.get(US, "model", "a") == resources.find(US, "model", "name-of-a") == made
        assert (made.document, made.base, made.status) == ({"id": "a"}, "tiny", "Active")

    def test_reaches_nobody_elses(self, resources: Resources) -> None:
        create(resources, "a")
        for owner in ELSEWHERE:
            with pytest.raises(NotFound):
                resources.get(owner, "model", "a")
            with pytest.raises(NotFound):
                resources.find(owner, "model", "name-of-a")
            assert resources.page(owner, "model", Search()).items == []

    def test_does_not_see_what_is_only_reserved(self, resources: Resources) -> None:
        with pytest.raises(NotFound):
            create(resources, "a", status=RESERVED)
        assert resources.page(US, "model", Search()).items == []
        with pytest.raises(AlreadyExists):
            create(resources, "b", name="name-of-a")


class TestCreate:
    @pytest.mark.parametrize(
        ("id", "name", "token", "by"),
        [("a", "n", "t", "id"), ("b", "name-of-a", "t", "name"), ("b", "n", "1", "token")],
    )
    def test_refuses_an_id_a_name_and_a_token_that_are_taken(
        self, resources: Resources, id: str, name: str, token: str, by: str
    ) -> None:
        create(resources, "a", token="1")
        with pytest.raises(AlreadyExists) as error:
            create(resources, id, name=name, token=token)
        assert (error.value.by, error.value.id, error.value.request) == (by, "a", {"id": "a"})

    def test_takes_a_name_again_once_it_is_free(self, resources: Resources) -> None:
        asyncio.run(resources.delete(create(resources, "a")))
        assert create(resources, "b", name="name-of-a").id == "b"


class TestChange:
    def test_gives_new_values(self, resources: Resources) -> None:
        made = create(resources, "a", status="Creating")
        changed = asyncio.run(resources.change(made, status="Active", document={"x": 1}))
        assert (changed.status, changed.document, changed.name) == ("Active", {"x": 1}, "name-of-a")

    def test_refuses_another_ones_name_but_not_its_own(self, resources: Resources) -> None:
        create(resources, "a")
        other = create(resources, "b")
        assert asyncio.run(resources.change(other, name="name-of-b")).name == "name-of-b"
        with pytest.raises(AlreadyExists):
            asyncio.run(resources.change(other, name="name-of-a"))


class TestPage:
    @pytest.mark.parametrize("ascending", [False, True])
    def test_goes_through_all_by_key_even_while_some_come_and_go(self, resources: Resources, ascending: bool) -> None:
        made = [create(resources, id) for id in "abcdef"]
        first = resources.page(US, "model", Search(limit=2, ascending=ascending))
        asyncio.run(resources.delete(made[-2 if not ascending else 1]))
        create(resources, "g")
        seen, position = [one.id for one in first.items], first.following
        while position is not None:
            page = resources.page(US, "model", Search(limit=2, ascending=ascending, position=position))
            seen += [one.id for one in page.items]
            position = page.following
        assert seen == (["a", "b", "c", "d", "e", "f", "g"] if ascending else ["f", "e", "d", "c", "b", "a"])

    def test_filters(self, resources: Resources) -> None:
        create(resources, "a", base="tiny", root="tiny")
        create(resources, "b", base="a", root="tiny", status="Creating")
        late = create(resources, "c", base="x", root="x", name="other")

        def ids(**search: object) -> str:
            return "".join(one.id for one in resources.page(US, "model", Search(ascending=True, **search)).items)

        assert ids(contains="name-") == "ab"
        assert ids(base="tiny") == "a"
        assert ids(root="tiny") == "ab"
        assert ids(statuses=["Active"]) == "ac"
        assert ids(statuses=["Active", "Creating"]) == "abc"
        assert ids(after=late.created) == ""
        assert ids(before=late.created + 1) == "abc"

    def test_tells_what_rests_on_something(self, resources: Resources) -> None:
        create(resources, "a", base="tiny", root="tiny")
        create(resources, "b", base="a", root="tiny")
        assert [one.id for one in resources.resting_on("tiny")] == ["b", "a"]
        assert [one.id for one in resources.resting_on("a")] == ["b"]
