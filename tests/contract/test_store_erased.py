"""When a store says that something is erased, no file of it holds it any more."""

import asyncio
import secrets
from pathlib import Path

import pytest

from kms.domain.ids import RecipientId
from kms.domain.models import Envelope
from kms.errors import StoreUnavailable
from kms.ports import DropEnvelopes, PutEnvelopes, Unit
from kms.store import writer
from kms.store.sqlite import SqliteStore
from tests.fixtures.store import TREASURY, TestClock, draft, epoch, meeting, meeting_id, put, space

PLACE = (TREASURY, meeting_id(1), 0)
BLOB = secrets.token_bytes(384)


def holds(folder: Path) -> bool:
    return any(BLOB in path.read_bytes() for path in folder.iterdir())


async def filled(store: SqliteStore) -> None:
    await store.commit(put((space(), 1), (meeting(), 1), (epoch(), 1)))
    envelope = Envelope(*PLACE, RecipientId("r" * 43), BLOB)
    await store.commit(Unit((PutEnvelopes((envelope,)),)))


def test_what_was_deleted_is_in_no_file_once_it_is_called_erased(tmp_path: Path) -> None:
    async def run(store: SqliteStore) -> None:
        await filled(store)
        assert holds(tmp_path)
        await store.commit(Unit((DropEnvelopes(*PLACE),)))
        await store.erased()
        assert not holds(tmp_path)
        await store.erased()

    in_store(tmp_path, run)


def test_it_does_not_say_so_while_the_write_ahead_log_cannot_be_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_connection: object) -> None:
        raise StoreUnavailable("the database is being read by another process")

    async def run(store: SqliteStore) -> None:
        await filled(store)
        monkeypatch.setattr(writer, "fold", busy)
        await store.commit(Unit((DropEnvelopes(*PLACE),)))
        with pytest.raises(StoreUnavailable, match="write-ahead log"):
            await store.erased()
        monkeypatch.undo()
        await store.erased()
        assert not holds(tmp_path)

    in_store(tmp_path, run)


def test_waiting_for_the_erasure_holds_up_no_other_unit(tmp_path: Path) -> None:
    async def run(store: SqliteStore) -> None:
        await filled(store)
        units = (store.commit(Unit((), (draft(),))) for _ in range(20))
        answers = await asyncio.gather(*units, store.erased(), store.erased())
        assert [len(one or ()) for one in answers] == [*[1] * 20, 0, 0]
        assert store.tree_size() == 21

    in_store(tmp_path, run)


def in_store(folder: Path, run: object) -> None:
    store = SqliteStore.open(folder / "a.db", TestClock())
    try:
        asyncio.run(run(store))
    finally:
        store.close()
