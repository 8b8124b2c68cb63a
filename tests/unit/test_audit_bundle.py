"""The evidence bundle as a file: written once, readable by anyone, nothing in it but evidence."""

import sqlite3
import stat

import pytest
from sqlite_utils import Database

from kms.audit.bundle import Bundle, Evidence, write_bundle
from kms.errors import AlreadyExists, VerificationFailed
from tests.fixtures.evidence import eventful_site


def evidence(leaves=(b'{"a":1}', b'{"b":2}')):
    return Evidence(
        site="hq",
        exported="2026-01-06T00:00:00Z",
        leaves=iter(leaves),
        checkpoints=iter([(2, "note")]),
        manifests=iter([("treasury", "m", 0, "jws-0"), ("treasury", "m", 1, "jws-1")]),
        key_lists=iter([(1, "list")]),
        addenda=iter([("d", "jws-a")]),
    )


@pytest.fixture
def path(tmp_path):
    write_bundle(tmp_path / "evidence.sqlite", evidence())
    return tmp_path / "evidence.sqlite"


def altered(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


def test_what_is_written_is_read(path):
    with Bundle(path) as bundle:
        bundle.check_schema()
        assert list(bundle.leaves()) == [(0, b'{"a":1}'), (1, b'{"b":2}')]
        assert list(bundle.checkpoints()) == [(2, b"note")]
        assert list(bundle.key_lists()) == [(1, b"list")]
        assert bundle.manifest("treasury", "m", 1) == b"jws-1"
        assert bundle.manifest("treasury", "m", 2) is None
        assert (bundle.addendum("d"), bundle.addendum("e")) == (b"jws-a", None)
        counts = (bundle.leaf_count(), bundle.manifest_count(), bundle.addendum_count())
        assert counts == (2, 2, 1)
        assert bundle.meta()[b"site"] == b"hq"


def test_an_empty_log_makes_a_bundle(tmp_path):
    write_bundle(tmp_path / "e", Evidence("hq", "now", (), (), (), ()))
    with Bundle(tmp_path / "e") as bundle:
        bundle.check_schema()
        assert list(bundle.leaves()) == []


def test_leaves_are_read_to_their_end_before_the_manifests_that_they_name(tmp_path):
    order = []

    def told(name, *rows):
        for row in rows:
            order.append(name)
            yield row

    leaves = told("leaf", b"{}", b"{}")
    manifests = told("manifest", ("treasury", "m", 0, "jws"))
    write_bundle(tmp_path / "e", Evidence("hq", "now", leaves, (), manifests, ()))
    assert order == ["leaf", "leaf", "manifest"]


def test_only_its_owner_may_read_it(path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_existing_file_is_never_overwritten(path):
    before = path.read_bytes()
    with pytest.raises(AlreadyExists):
        write_bundle(path, evidence())
    assert path.read_bytes() == before


def test_a_dangling_link_is_not_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AlreadyExists):
        write_bundle(tmp_path / "link", evidence())
    assert not (tmp_path / "elsewhere").exists()


def test_a_bundle_that_breaks_off_leaves_no_file(tmp_path):
    def broken():
        yield b"{}"
        raise OSError("the store went away")

    with pytest.raises(OSError, match="went away"):
        write_bundle(tmp_path / "e", evidence(broken()))
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told_to_the_last_leaf(tmp_path):
    heard = []
    write_bundle(tmp_path / "e", evidence(b"{}" for _ in range(25_000)), heard.append)
    assert heard == [10_000, 20_000, 25_000]


def test_reading_writes_nothing_beside_the_bundle(path):
    path.chmod(0o400)
    with Bundle(path) as bundle:
        bundle.check_schema()
        list(bundle.leaves())
    assert list(path.parent.iterdir()) == [path]


def test_views_tell_people_who_did_what(tmp_path):
    site = eventful_site()
    database = Database(site.write(tmp_path / "e.sqlite"))
    log = list(database["log"].rows)
    assert len(log) == len(site.drafts)
    assert log[0]["action"] == "service.start"
    assert log[0]["time"].startswith("2026-01-05T09:00:00")
    access = list(database["key_access"].rows)
    assert len(access) == 7
    assert all(len(row["recipient"]) == 43 for row in access)
    reasons = [row["reason"] for row in database["rotation"].rows]
    assert reasons == ["open", "leave", "manual", "join", "open", "suspicion", "manual"]
    database.close()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE extra (x)",
        "ALTER TABLE leaf ADD COLUMN remark TEXT",
        "DROP TABLE key_list",
        "DROP VIEW log",
        "CREATE INDEX i ON leaf (body)",
        "CREATE VIEW shadow AS SELECT * FROM leaf",
        "CREATE TRIGGER t AFTER INSERT ON leaf BEGIN SELECT 1; END",
        "ALTER TABLE manifest RENAME TO manifests",
        "INSERT INTO meta VALUES ('remark', 'trust me')",
        "DELETE FROM meta WHERE key = 'format'",
        "UPDATE meta SET value = 'conclave-evidence-2' WHERE key = 'format'",
        "ANALYZE",
    ],
)
def test_any_other_schema_is_refused(path, statement):
    with Bundle(altered(path, statement)) as bundle, pytest.raises(VerificationFailed):
        bundle.check_schema()


def test_a_view_in_place_of_a_table_is_refused(path):
    altered(path, "DROP TABLE leaf", "CREATE VIEW leaf AS SELECT 0 AS seq, '{}' AS body")
    with Bundle(path) as bundle, pytest.raises(VerificationFailed):
        bundle.check_schema()


def test_a_value_of_the_wrong_type_smuggled_past_strict_is_refused(path):
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema = ON")
    swap = "UPDATE sqlite_schema SET sql = replace(sql, '{}', '{}') WHERE name = 'leaf'"
    connection.execute(swap.format(") STRICT", ")"))
    connection.commit()
    connection.close()
    altered(path, "UPDATE leaf SET body = x'00ff' WHERE seq = 1")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "UPDATE sqlite_schema SET sql = sql || ' STRICT' WHERE name = 'leaf'",
    )
    connection.commit()
    connection.close()
    with Bundle(path) as bundle, pytest.raises(VerificationFailed):
        bundle.check_schema()


@pytest.mark.parametrize("content", [b"", b"not a database", bytes(4096), b"SQLite format 3\0"])
def test_what_is_no_bundle_is_refused(tmp_path, content):
    (tmp_path / "e").write_bytes(content)
    with Bundle(tmp_path / "e") as bundle, pytest.raises(VerificationFailed):
        bundle.check_schema()


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(VerificationFailed):
        Bundle(tmp_path / "nothing")
