"""The tables, and nothing else that is SQL's alone."""

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint

VERSION = 1
"""Of the schema; a database of another version is refused."""

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("failure", Text),
    Column("clean", Boolean, nullable=False, default=False),
    Column("created", Integer, nullable=False),
    Column("ended", Integer),
    UniqueConstraint("account", "region", "kind", "id"),
    Index("jobs_by_age", "account", "region", "kind", "key"),
    sqlite_autoincrement=True,
)

deployments = Table(
    "deployments",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("failure", Text),
    Column("task", Text),
    Column("next", Text),
    Column("created", Integer, nullable=False),
    UniqueConstraint("account", "region", "kind", "id"),
    UniqueConstraint("account", "region", "kind", "name"),
    sqlite_autoincrement=True,
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("job", ForeignKey("jobs.key", ondelete="CASCADE")),
    Column("deployment", ForeignKey("deployments.key")),
    Column("position", Integer, nullable=False),
    Column("stage", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempt", Integer, nullable=False, default=0),
    Column("losses", Integer, nullable=False, default=0),
    Column("started", Integer),
    Column("ended", Integer),
    Column("failure", Text),
    Column("result", Text),
    Column("token", Text),
    Column("leased_until", Float),
    Index("tasks_of_job", "job", "position"),
    Index("tasks_by_status", "status"),
)

buckets = Table(
    "buckets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("account", Text, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
