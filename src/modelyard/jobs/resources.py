"""Resources: the nouns that are no jobs, each a row with a document and the few facts that it is looked up by."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, or_, select, update

from modelyard.database import Database, Query
from modelyard.jobs import listing, tags
from modelyard.jobs.listing import Page, Search
from modelyard.jobs.model import DELETED, RESERVED, AlreadyExists, NotFound, Owner, Resource
from modelyard.jobs.store import now
from modelyard.tables import resources


class InUse(Exception):
    """A resource cannot be deleted; `by` is what rests on it."""

    def __init__(self, by: Resource) -> None:
        super().__init__(f"{by.kind} {by.name or by.id}")
        self.by = by


EVERYONE = Owner("", "")
"""Owns what all accounts see in all regions."""


class Resources:
    """The resources of all owners. Coroutines write; the rest reads, and does not see what is reserved or deleted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, owner: Owner, kind: str, id: str) -> Resource:
        """The resource with this id; NotFound if there is none of this owner."""
        return self._one(_GET, id, account=owner.account, region=owner.region, kind=kind, id=id)

    def find(self, owner: Owner, kind: str, name: str) -> Resource:
        """The resource with this name; NotFound if there is none of this owner."""
        return self._one(_FIND, name, account=owner.account, region=owner.region, kind=kind, name=name)

    def with_token(self, owner: Owner, kind: str, token: str) -> Resource | None:
        """The resource that a client made with this token, if it did."""
        rows = self._database.read(_BY_TOKEN, account=owner.account, region=owner.region, kind=kind, token=token)
        return _resource(rows[0]) if rows else None

    def page(self, owner: Owner, kind: str, search: Search) -> Page[Resource]:
        """Resources by age."""
        rows = self._database.read(_PAGES[search.ascending], **search.parameters(owner, kind))
        items = [_resource(row) for row in rows[: search.limit]]
        return Page(items, items[-1].key if len(rows) > search.limit else None)

    def page_under(self, region: str, kind: str, search: Search) -> Page[Resource]:
        """Resources by age, of all accounts: those with the search's `base`, or `root`, one of which must be given."""
        by = "root" if search.base is None else "base"
        assert getattr(search, by) is not None
        rows = self._database.read(_UNDER[search.ascending, by], **search.parameters(Owner("", region), kind))
        items = [_resource(row) for row in rows[: search.limit]]
        return Page(items, items[-1].key if len(rows) > search.limit else None)

    def resting_on(self, base: str) -> list[Resource]:
        """Whatever was made from `base`, stands for it, or has it as its root: of all owners, newest first.

        What is reserved is among them: a job that runs will make it.
        """
        return [_resource(row) for row in self._database.read(_RESTING_ON, base=base)]

    async def create(
        self,
        resource: Resource,
        token: str | None = None,
        needs: Resource | None = None,
        tagged: Mapping[str, str] | None = None,
        within: Callable[[Connection], None] = lambda _: None,
    ) -> Resource:
        """Keeps a `new` resource, with its tags under the ARN in its document, `within` a transaction of more.

        AlreadyExists if its id, its name or the token is taken, NotFound if the one that it `needs` is gone.
        """

        def work(connection: Connection) -> None:
            within(connection)
            add(connection, resource, token)
            if needs is not None:
                require(connection, needs)
            if tagged:
                tags.put(connection, resource.document["arn"], tagged)

        await self._database.write(work)
        return self.get(resource.owner, resource.kind, resource.id)

    async def change(self, resource: Resource, needs: Resource | None = None, **values: Any) -> Resource:
        """Gives some of status, name, base, root and document new values.

        AlreadyExists if the name is taken, NotFound if the resource is gone, or the one that it `needs` now.
        """

        def work(connection: Connection) -> None:
            for one in (resource, *([needs] if needs else [])):
                require(connection, one)
            change(connection, resource, **values)

        await self._database.write(work)
        return self.get(resource.owner, resource.kind, resource.id)

    async def edit(
        self,
        resource: Resource,
        edit: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        within: Callable[[Connection], None] = lambda _: None,
    ) -> Resource:
        """Gives a resource the document that `edit` makes of the one it has by then, and does what else is to happen
        in that transaction. NotFound if the resource is gone.
        """

        def work(connection: Connection) -> None:
            within(connection)
            current = row(connection, resource.owner, resource.kind, resource.id)
            change(connection, current, document=edit(current.document))

        await self._database.write(work)
        return self.get(resource.owner, resource.kind, resource.id)

    async def delete(
        self,
        resource: Resource,
        in_use: Callable[[Resource], bool] = lambda _: False,
        within: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        """Forgets a resource and its tags; its name is free again. InUse if one of those that rest on it is in use."""

        def work(connection: Connection) -> None:
            within(connection)
            _refuse_in_use(connection, resource, in_use)
            tags.drop(connection, resource.document.get("arn", ""))
            remove(connection, resource.owner, resource.kind, resource.id)

        await self._database.write(work)

    async def hide(self, resource: Resource, in_use: Callable[[Resource], bool]) -> None:
        """Like `delete`, but keeps the row as DELETED, until what belongs to it is gone as well."""

        def work(connection: Connection) -> None:
            _refuse_in_use(connection, resource, in_use)
            tags.drop(connection, resource.document["arn"])
            change(connection, resource, status=DELETED, name=None)

        await self._database.write(work)

    def all_of(self, kind: str) -> list[Resource]:
        """Those of all owners, the oldest first."""
        return [_resource(row) for row in self._database.read(_ALL_OF, kind=kind)]

    def deleted(self, kind: str) -> list[Resource]:
        """Those of all owners whose status is DELETED."""
        return [_resource(row) for row in self._database.read(_DELETED, kind=kind)]

    def _one(self, query: Query, asked: str, **parameters: str) -> Resource:
        rows = self._database.read(query, **parameters)
        if not rows:
            raise NotFound(asked)
        return _resource(rows[0])


def new(
    owner: Owner,
    kind: str,
    id: str,
    name: str | None,
    status: str,
    document: Mapping[str, Any],
    base: str | None = None,
    root: str | None = None,
) -> Resource:
    """A resource that is not kept yet."""
    created = now()
    return Resource(0, owner, kind, id, name, status, base, root, document, created, created)


def row(connection: Connection, owner: Owner, kind: str, id: str) -> Resource:
    """The resource with this id, whatever its status, within a transaction; NotFound if there is none."""
    found = connection.execute(_ALL.where(*_owned(owner, kind), resources.c.id == id)).first()
    if found is None:
        raise NotFound(id)
    return _resource(found)


def require(connection: Connection, resource: Resource) -> None:
    """NotFound unless a resource is still there, and stands as it did: for a transaction that relies on it."""
    if row(connection, resource.owner, resource.kind, resource.id).status != resource.status:
        raise NotFound(resource.id)


def under(connection: Connection, base: str) -> list[Resource]:
    """Whatever has this base, of all owners, within a transaction; not what is deleted."""
    found = _ALL.where(resources.c.base == base, resources.c.status != DELETED)
    return [_resource(row) for row in connection.execute(found)]


def owned(connection: Connection, owner: Owner, kind: str) -> list[Resource]:
    """All of an owner's kind, the oldest first, within a transaction."""
    return [_resource(one) for one in connection.execute(_SEEN.where(*_owned(owner, kind)).order_by(resources.c.key))]


def rooted(connection: Connection, kind: str, root: str) -> list[Resource]:
    """Those of a kind, of all owners, that have this root, the oldest first, within a transaction."""
    found = _SEEN.where(resources.c.kind == kind, resources.c.root == root).order_by(resources.c.key)
    return [_resource(one) for one in connection.execute(found)]


def add(connection: Connection, resource: Resource, token: str | None = None) -> None:
    """`Resources.create` within a transaction."""
    owned = _owned(resource.owner, resource.kind)
    taken = select(resources.c.id, resources.c.name, resources.c.token, resources.c.document)
    facts = {"token": token, "id": resource.id, "name": resource.name}
    for by, value in facts.items():
        row = connection.execute(taken.where(*owned, resources.c[by] == value)).first() if value else None
        if row:
            raise AlreadyExists(row.id, orjson.loads(row.document), by)
    connection.execute(
        insert(resources).values(
            account=resource.owner.account,
            region=resource.owner.region,
            kind=resource.kind,
            status=resource.status,
            base=resource.base,
            root=resource.root,
            document=orjson.dumps(resource.document).decode(),
            created=resource.created,
            updated=resource.updated,
            **facts,
        )
    )


def change(connection: Connection, resource: Resource, **values: Any) -> None:
    """`Resources.change` within a transaction. Nothing happens to a resource that is gone."""
    owned = _owned(resource.owner, resource.kind)
    if name := values.get("name"):
        others = select(resources.c.id, resources.c.document).where(*owned, resources.c.name == name)
        row = connection.execute(others.where(resources.c.id != resource.id)).first()
        if row:
            raise AlreadyExists(row.id, orjson.loads(row.document), "name")
    if "document" in values:
        values["document"] = orjson.dumps(values["document"]).decode()
    changed = update(resources).where(*owned, resources.c.id == resource.id)
    connection.execute(changed.values(updated=now(), **values))


def remove(connection: Connection, owner: Owner, kind: str, id: str) -> None:
    """`Resources.delete` within a transaction."""
    connection.execute(delete(resources).where(*_owned(owner, kind), resources.c.id == id))


def _refuse_in_use(connection: Connection, resource: Resource, in_use: Callable[[Resource], bool]) -> None:
    arn = resource.document.get("arn")
    resting = _ALL.where(or_(resources.c.base == arn, resources.c.root == arn), resources.c.status != DELETED)
    for row in connection.execute(resting) if arn else ():
        if in_use(one := _resource(row)):
            raise InUse(one)


def _owned(owner: Owner, kind: str) -> tuple[ColumnElement[bool], ...]:
    return resources.c.account == owner.account, resources.c.region == owner.region, resources.c.kind == kind


def _resource(row: Any) -> Resource:
    key, account, region, kind, id, name, status, base, root, document, created, updated = row
    owner = Owner(account, region)
    return Resource(key, owner, kind, id, name, status, base, root, orjson.loads(document), created, updated)


_COLUMNS = [column for column in resources.c if column.name != "token"]
_ALL = select(*_COLUMNS)
_SEEN = _ALL.where(resources.c.status != RESERVED, resources.c.status != DELETED)
_OF_KIND = _SEEN.where(*(resources.c[name] == bindparam(name) for name in ("account", "region", "kind")))

_GET = Query(_OF_KIND.where(resources.c.id == bindparam("id")))
_FIND = Query(_OF_KIND.where(resources.c.name == bindparam("name")))
_BY_TOKEN = Query(_OF_KIND.where(resources.c.token == bindparam("token")))
_RESTING_ON = Query(
    _ALL.where(or_(resources.c.base == bindparam("base"), resources.c.root == bindparam("base")))
    .where(resources.c.status != DELETED)
    .order_by(resources.c.key.desc())
)
_ALL_OF = Query(_SEEN.where(resources.c.kind == bindparam("kind")).order_by(resources.c.key))
_DELETED = Query(_ALL.where(resources.c.kind == bindparam("kind"), resources.c.status == DELETED))
_PAGES = {ascending: listing.statement(resources, _COLUMNS, ascending) for ascending in (True, False)}
_UNDER = {
    (ascending, by): listing.statement(resources, _COLUMNS, ascending, ("region", "kind", by))
    for ascending in (True, False)
    for by in ("base", "root")
}
