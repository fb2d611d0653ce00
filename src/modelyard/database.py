"""The database: reads happen where they are asked for, writes one after the other in a thread of their own."""

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, create_engine, event, select, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import StaticPool
from sqlalchemy.sql.compiler import SQLCompiler

from modelyard import tables

Result = TypeVar("Result")


class BadDatabase(RuntimeError):
    """The file is none of Modelyard's databases, or that of a later version; the message says which."""


class Query:
    """A statement that reads, compiled once: what SQLAlchemy adds to each call costs more than an indexed read.

    Compiled when it is first asked: a millisecond then, instead of a twentieth of the server's start for all of them.
    """

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement

    @cached_property
    def sql(self) -> str:
        """The statement's text, its parameters as question marks."""
        return self._compiled.string

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, in the order of their question marks."""
        assert self._compiled.positiontup is not None
        return tuple(self._compiled.positiontup)

    @cached_property
    def constants(self) -> dict[str, Any]:
        """Values that the statement itself gives."""
        return {name: value for name, value in self._compiled.params.items() if value is not None}

    @cached_property
    def _compiled(self) -> SQLCompiler:
        compiled = self._statement.compile(dialect=SQLiteDialect_pysqlite(paramstyle="qmark"))
        assert isinstance(compiled, SQLCompiler)
        return compiled


class Database:
    """SQLite in one file, with a log of its own for writers (WAL), so that readers never wait.

    `read` is for one thread at a time: the event loop's.
    """

    def __init__(self, path: Path) -> None:
        def connect() -> sqlite3.Connection:
            return sqlite3.connect(path, isolation_level=None, check_same_thread=False)

        self._engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        try:
            self._writer.submit(self._create, path).result()
        except DatabaseError as error:
            if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_NOTADB:
                raise
            raise BadDatabase(f"{path} is no database of Modelyard's; move it away, or name another folder") from None
        self._reader = connect()
        self._cursor = self._reader.cursor()

    def read(self, query: Query, **parameters: Any) -> list[Any]:
        """All rows of a query, as tuples: microseconds on an index, hence on the event loop."""
        if query.constants:
            parameters.update(query.constants)
        return self._cursor.execute(query.sql, [parameters[name] for name in query.names]).fetchall()

    async def write(self, work: Callable[[Connection], Result]) -> Result:
        """Runs `work` in one transaction, after those that were asked for before.

        A caller that is cancelled leaves the transaction to end by itself: it happens, or does not, as a whole. Raises
        `OSError` with `ENOSPC` if the disk is full.
        """
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._writer, self._transact, work))

    def write_now(self, work: Callable[[Connection], Result]) -> Result:
        """`write` for those without an event loop: at the start, and in tests."""
        return self._writer.submit(self._transact, work).result()

    def secret(self, name: str, new: str) -> str:
        """The secret of that name, for as long as the database lives: `new` if there was none."""

        def work(connection: Connection) -> str:
            connection.execute(insert(tables.secrets).values(name=name, value=new).on_conflict_do_nothing())
            kept = select(tables.secrets.c.value).where(tables.secrets.c.name == name)
            return str(connection.execute(kept).scalar_one())

        return self.write_now(work)

    def close(self) -> None:
        """Ends after what was asked for is written."""
        self._writer.shutdown()
        self._reader.close()
        self._engine.dispose()

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error

    def _transact(self, work: Callable[[Connection], Result]) -> Result:
        with self._begin() as connection:
            return work(connection)

    def _create(self, path: Path) -> None:
        with self._begin() as connection:
            version = connection.execute(text("PRAGMA user_version")).scalar_one()
            if version > tables.VERSION:
                reads = f"this Modelyard is older and reads up to {tables.VERSION}"
                raise BadDatabase(f"{path} has schema version {version}; {reads}")
            for step in range(version, tables.VERSION) if version else ():
                for statement in tables.STEPS[step]:
                    connection.execute(text(statement))
            tables.metadata.create_all(connection)
            connection.execute(text(f"PRAGMA user_version = {tables.VERSION}"))


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "busy_timeout = 10000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
