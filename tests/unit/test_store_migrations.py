"""The schema's history: every revision goes up and down with data in it, and ends at the tables."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from kms.errors import StoreUnavailable
from kms.store.migrate import HEAD, migrate
from kms.store.tables import METADATA
from tests.fixtures.store import TREASURY

Rows = dict[str, list[tuple[object, ...]]]

SEALED = (1, b"{}", b"m" * 32)
DATA: dict[str, Rows] = {
    "0001": {
        "space": [(TREASURY, *SEALED)],
        "recipient": [(TREASURY, "r", *SEALED)],
        "meeting": [(TREASURY, "m", *SEALED)],
        "roster": [(TREASURY, "m", *SEALED)],
        "epoch": [(TREASURY, "m", 0, "active", *SEALED)],
        "envelope": [(TREASURY, "m", 0, "r", b"blob")],
        "leaf": [(0, b"{}")],
        "checkpoint": [(1, "note")],
        "reply": [("p", "k", "r", 201, b"{}", 7)],
    }
}
DATA["0002"] = {
    **DATA["0001"],
    "policy": [(TREASURY, *SEALED)],
    "site-policy": [("site", *SEALED)],
    "request": [("", "r", "pending", *SEALED)],
    "grant": [(TREASURY, "g", *SEALED)],
    "hold": [(TREASURY, "h", *SEALED)],
    "share": [(TREASURY, "m", *SEALED)],
    "certificate": [("r", "jws")],
    "lease": [("rotation", "node", 7)],
    "mark": [("syslog", 7)],
}
DATA["0003"] = {
    **DATA["0002"],
    "disk": [(TREASURY, "d", *SEALED)],
    "device": [("SN-1", b"{}")],
    "disk_order": [("o", "waiting", "d", "SN-1", 7, b"{}")],
}
"""What lies in the tables at each revision."""


def revisions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", "kms.store:migrations")
    steps = ScriptDirectory.from_config(config).walk_revisions()
    return [step.revision for step in steps][::-1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.db"


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        names = {
            name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")
        }
    return names - {"alembic_version"}


def schema(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT sql FROM sqlite_master WHERE sql NOT NULL AND tbl_name <> 'alembic_version'"
        return {text for (text,) in db.execute(query)}


def fill(path: Path, rows: Rows) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        for table, values in rows.items():
            marks = ",".join("?" * len(values[0]))
            db.executemany(f'INSERT INTO "{table}" VALUES ({marks})', values)


def read(path: Path, names: set[str]) -> Rows:
    with closing(sqlite3.connect(path)) as db:
        return {name: db.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}


def test_every_revision_has_data_here_and_the_last_is_the_head() -> None:
    assert list(DATA) == revisions()
    assert revisions()[-1] == HEAD


@pytest.mark.parametrize("revision", revisions())
def test_a_revision_goes_up_and_down_with_data(path: Path, revision: str) -> None:
    before = (["base", *revisions()])[revisions().index(revision)]
    migrate(path, before)
    fill(path, DATA.get(before, {}))
    migrate(path, revision)
    assert tables(path) == set(DATA[revision])
    fill(path, {t: v for t, v in DATA[revision].items() if t not in DATA.get(before, {})})
    assert read(path, tables(path)) == DATA[revision]
    migrate(path, before)
    assert read(path, tables(path)) == DATA.get(before, {})
    migrate(path, revision)
    assert tables(path) == set(DATA[revision])


def test_migrating_to_where_it_is_keeps_everything(path: Path) -> None:
    migrate(path)
    fill(path, DATA[HEAD])
    migrate(path)
    migrate(path, HEAD)
    assert read(path, tables(path)) == DATA[HEAD]


def test_the_migrated_schema_is_the_tables_to_the_letter(path: Path, tmp_path: Path) -> None:
    migrate(path)
    fresh = tmp_path / "fresh.db"
    engine = sa.create_engine(f"sqlite:///{fresh}")
    METADATA.create_all(engine)
    engine.dispose()
    assert schema(path) == schema(fresh)


def test_alembic_sees_no_difference_between_history_and_tables(path: Path) -> None:
    migrate(path)
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_a_database_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    migrate(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    content = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="unknown here"):
        migrate(path)
    assert path.read_bytes() == content


def test_a_migration_that_fails_leaves_the_schema_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE reply (in_the_way TEXT)")
    with pytest.raises(StoreUnavailable):
        migrate(path)
    assert tables(path) == {"reply"}


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"minutes of the meeting" * 100)
    with pytest.raises(StoreUnavailable):
        migrate(path)
