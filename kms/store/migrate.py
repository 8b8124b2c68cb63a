"""Moves a database between revisions of the schema; refuses one that a newer version wrote."""

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from kms.errors import StoreUnavailable

HEAD = "0003"
"""The revision that this code reads and writes."""


def migrate(path: Path, revision: str = "head") -> None:
    """Bring the SQLite database up or down to a revision ("base": no tables), in one transaction.

    The caller holds the writer's lock. Raise StoreUnavailable for a revision that is not known
    here, and for a database that cannot be written.
    """
    config = Config()
    config.set_main_option("script_location", "kms.store:migrations")
    engine = sa.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=sa.NullPool)
    sa.event.listen(engine, "begin", lambda link: link.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            steps = ScriptDirectory.from_config(config)
            current = MigrationContext.configure(connection).get_current_revision()
            move = command.downgrade if _is_below(steps, revision, current) else command.upgrade
            move(config, revision)
    except CommandError as error:
        raise StoreUnavailable(
            f"the database's schema is of a revision unknown here: {error}",
            hint="start the version of Conclave that wrote it, or restore its backup",
        ) from error
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        raise StoreUnavailable(f"the database cannot be migrated: {error}") from error


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=5.0)


def _is_below(steps: ScriptDirectory, revision: str, current: str | None) -> bool:
    if current is None or revision == "head":
        return False
    below = {step.revision for step in steps.iterate_revisions(current, "base")} - {current}
    return revision == "base" or revision in below
