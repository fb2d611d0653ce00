"""The tables, and nothing else that is SQL's alone."""

from sqlalchemy import Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint, text

VERSION = 2
"""Of the schema. A database of an earlier version is brought to this one, one of a later version is refused."""

STEPS = {
    1: (
        "ALTER TABLE jobs ADD COLUMN name TEXT",
        "ALTER TABLE jobs ADD COLUMN token TEXT",
        "ALTER TABLE jobs ADD COLUMN swept BOOLEAN DEFAULT 0 NOT NULL",
        "CREATE UNIQUE INDEX jobs_by_name ON jobs (account, region, kind, name)",
        "CREATE UNIQUE INDEX jobs_by_token ON jobs (account, region, kind, token)",
        "CREATE INDEX jobs_to_sweep ON jobs (key) WHERE swept = 0",
    ),
}
"""The statements that bring a database of each earlier version to the next; tables that are new are created anyway."""

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
    Column("name", Text),
    Column("token", Text),
    Column("swept", Boolean, nullable=False, default=False, server_default=text("0")),
    UniqueConstraint("account", "region", "kind", "id"),
    Index("jobs_by_age", "account", "region", "kind", "key"),
    Index("jobs_by_name", "account", "region", "kind", "name", unique=True),
    Index("jobs_by_token", "account", "region", "kind", "token", unique=True),
    Index("jobs_to_sweep", "key", sqlite_where=text("swept = 0")),
    sqlite_autoincrement=True,
)

resources = Table(
    "resources",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("name", Text),
    Column("status", Text, nullable=False),
    Column("base", Text),
    Column("root", Text),
    Column("document", Text, nullable=False),
    Column("token", Text),
    Column("created", Integer, nullable=False),
    Column("updated", Integer, nullable=False),
    UniqueConstraint("account", "region", "kind", "id"),
    Index("resources_by_age", "account", "region", "kind", "key"),
    Index("resources_by_name", "account", "region", "kind", "name", unique=True),
    Index("resources_by_token", "account", "region", "kind", "token", unique=True),
    Index("resources_by_base", "base"),
    Index("resources_by_root", "root"),
    sqlite_autoincrement=True,
)

tags = Table(
    "tags",
    metadata,
    Column("resource", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
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

sessions = Table(
    "sessions",
    metadata,
    Column("access_key", Text, primary_key=True),
    Column("secret_key", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("arn", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("expires", Integer, nullable=False),
    Index("sessions_by_end", "expires"),
)

audit = Table(
    "audit",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("time", Integer, nullable=False),
    Column("collaboration", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("used", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("left", Text, nullable=False),
    Column("amount", Integer),
    Column("unit", Text, nullable=False),
    Index("audit_of_collaboration", "collaboration", "key"),
    sqlite_autoincrement=True,
)
