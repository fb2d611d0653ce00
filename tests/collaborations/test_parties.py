"""Parties against one another, and against a server that ends: without a wire between."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from modelyard.collaborations.model import Collaboration, Membership, NotAMember
from modelyard.collaborations.parties import NotNow, Parties
from modelyard.database import Database
from modelyard.jobs.listing import Search
from modelyard.jobs.model import Owner
from modelyard.jobs.resources import Resources

REGION = "us-east-1"
BANK, SHOP, CLINIC = (Owner(account, REGION) for account in ("111122223333", "444455556666", "777788889999"))
NOBODY = Owner("999999999999", REGION)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db")
    yield database
    database.close()


@pytest.fixture
def parties(database: Database) -> Parties:
    return Parties(database, Resources(database))


def member(*abilities: str, pays: bool = False) -> dict[str, Any]:
    return {"displayName": "one", "memberAbilities": [*abilities], "payments": {"queryCompute": pays}}


async def create(parties: Parties) -> Collaboration:
    members = {
        BANK.account: member("CAN_QUERY"),
        SHOP.account: {
            **member(pays=True),
            "mlMemberAbilities": {"customMLMemberAbilities": ["CAN_RECEIVE_MODEL_OUTPUT"]},
        },
        CLINIC.account: member(pays=True),
    }
    return await parties.create(BANK, {"name": "room"}, members, {})


def test_members_are_found_by_what_they_may(parties: Parties) -> None:
    async def work() -> None:
        made = await create(parties)
        bank, shop = await parties.join(BANK, made, {}, {}), await parties.join(SHOP, made, {}, {})
        assert (bank.can("CAN_QUERY"), shop.can("CAN_QUERY")) == (True, False)
        assert shop.can("CAN_RECEIVE_MODEL_OUTPUT")
        seen = parties.collaboration(CLINIC, made.id)
        assert [one.owner for one in parties.memberships(seen)] == [BANK, SHOP]
        assert parties.active_member(SHOP, made.id).id == shop.id
        with pytest.raises(NotAMember):
            parties.active_member(CLINIC, made.id)
        assert parties.of_account(seen, CLINIC.account) is None
        assert parties.of_account(seen, NOBODY.account) is None

    asyncio.run(work())


def test_the_first_payer_who_joined_pays_unless_another_is_named(parties: Parties) -> None:
    async def work() -> None:
        made = await create(parties)
        await parties.join(CLINIC, made, {}, {})
        payer = parties.payer(parties.collaboration(BANK, made.id), "queryCompute")
        assert payer is not None
        assert payer.owner == CLINIC
        await parties.join(SHOP, made, {}, {})
        seen = parties.collaboration(BANK, made.id)
        found = [parties.payer(seen, "queryCompute", account) for account in (None, CLINIC.account, BANK.account)]
        assert [one and one.owner for one in found] == [SHOP, CLINIC, None]

    asyncio.run(work())


def test_of_several_who_join_at_once_for_an_account_one_does(parties: Parties) -> None:
    async def work() -> None:
        made = await create(parties)
        found = await asyncio.gather(*(parties.join(SHOP, made, {}, {}) for _ in range(5)), return_exceptions=True)
        assert sorted(type(one).__name__ for one in found) == ["Membership"] + ["NotNow"] * 4
        assert len(parties.own_memberships(SHOP, Search()).items) == 1

    asyncio.run(work())


def test_what_was_seen_before_a_removal_is_no_way_in(parties: Parties) -> None:
    async def work() -> None:
        made = await create(parties)
        stale = parties.collaboration(SHOP, made.id)
        await parties.remove(made, SHOP.account)
        with pytest.raises(NotAMember):
            await parties.join(SHOP, stale, {}, {})
        with pytest.raises(NotNow):
            await parties.remove(parties.collaboration(BANK, made.id), SHOP.account)

        clinic = await parties.join(CLINIC, made, {}, {})
        await parties.delete(made)
        for late in (
            parties.change(clinic, {"queryLogStatus": "ENABLED"}),
            parties.update(made, {}),
            parties.delete(made),
        ):
            with pytest.raises(NotAMember):
                await late
        with pytest.raises(NotAMember):
            await parties.join(BANK, made, {}, {})

    asyncio.run(work())


def test_what_goes_with_a_membership_goes_in_one_transaction(parties: Parties, database: Database) -> None:
    async def work() -> None:
        made = await create(parties)
        shop, left = await parties.join(SHOP, made, {}, {}), []

        def cannot(connection: Connection, leaving: Membership) -> None:
            raise RuntimeError("the disk is full")

        parties.at_leaving(lambda connection, leaving: left.append((leaving.id, leaving.status)))
        parties.at_leaving(cannot)
        for ending in (parties.leave(shop), parties.remove(made, SHOP.account), parties.delete(made)):
            with pytest.raises(RuntimeError):
                await ending
        assert parties.membership(SHOP, shop.id).status == "ACTIVE"
        assert parties.collaboration(SHOP, made.id).status == "ACTIVE"
        assert left == [(shop.id, "ACTIVE")] * 3

        again = Parties(database, Resources(database))
        await again.remove(made, SHOP.account)
        assert again.membership(SHOP, shop.id).status == "REMOVED"
        with pytest.raises(NotAMember):
            again.active(SHOP, shop.id)

    asyncio.run(work())


def test_the_next_server_knows_all_of_it(tmp_path: Path) -> None:
    async def work(parties: Parties) -> tuple[str, str]:
        made = await create(parties)
        return made.id, (await parties.join(SHOP, made, {"queryLogStatus": "DISABLED"}, {})).id

    first = Database(tmp_path / "db")
    made, shop = asyncio.run(work(Parties(first, Resources(first))))
    first.close()
    second = Database(tmp_path / "db")
    parties = Parties(second, Resources(second))
    membership = parties.active(SHOP, shop)
    assert (membership.collaboration.id, membership.member.status) == (made, "ACTIVE")
    assert membership.collaboration == parties.collaboration(BANK, made)
    second.close()


@pytest.mark.parametrize("owner", [NOBODY, Owner(SHOP.account, "eu-west-1"), Owner("", REGION)])
def test_others_meet_the_same_wall_as_before_what_is_not_there(parties: Parties, owner: Owner) -> None:
    async def work() -> None:
        made = await create(parties)
        shop = await parties.join(SHOP, made, {}, {})
        for look, id in ((parties.collaboration, made.id), (parties.membership, shop.id), (parties.active, shop.id)):
            with pytest.raises(NotAMember) as foreign:
                look(owner, id)
            with pytest.raises(NotAMember) as unknown:
                look(owner, "0" * 36)
            assert str(foreign.value).replace(id, "0" * 36) == str(unknown.value)
        assert parties.collaborations(owner, Search()).items == []
        assert parties.own_memberships(owner, Search()).items == []

    asyncio.run(work())
