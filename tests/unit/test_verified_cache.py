"""Blobs in the verified cache, over a FAKE store and a FAKE token that finds every MAC right."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.domain.models import Epoch, RecipientKind, ReleaseClass, RotationReason
from kms.domain.rows import RowKind, SealedRow
from kms.domain.states import KeyState
from kms.errors import IntegrityFailure
from kms.statements import jws
from kms.statements.canonical import digest, make_row
from kms.statements.manifest import TYP, Manifest, ManifestRecipient, media_of, subject
from kms.usecases import cache
from kms.usecases.cache import VerifiedCache

SPACE, MEETING = SpaceName("treasury"), MeetingId("0192f0a0-1111-7222-8333-444455556666")
READERS = [RecipientId(letter * 43) for letter in "abc"]
BLOBS = {reader: reader.encode() * 9 for reader in READERS}


def epoch(state: KeyState) -> Epoch:
    named = (
        ManifestRecipient(reader, RecipientKind.SERVER, 0, place, digest(BLOBS[reader]))
        for place, reader in enumerate(READERS)
    )
    payload = Manifest(
        iss="site", sub=subject(SPACE, MEETING, 0), iat=1, nbf=1, exp=2,
        release_class=ReleaseClass.TRUSTED, roster_version=1, wrap_alg="RSA-OAEP",
        commitment="c" * 22, media=media_of(0), recipients=tuple(named),
    ).encode()  # fmt: skip
    signed = jws.sign(payload, typ=TYP, kid="k" * 43, signer=lambda _digest: bytes(64))
    return Epoch(SPACE, MEETING, 0, state, RotationReason.OPEN, 1, 2, 1, signed)


class FakeStore:
    """One epoch's row and its blobs; counts the blobs that were read."""

    def __init__(self) -> None:
        self.blobs: dict[RecipientId, bytes] = dict(BLOBS)
        self.reads = 0
        self.sealed = SealedRow(make_row(epoch(KeyState.ACTIVE), 1), b"")

    def row(self, kind: RowKind, key: str) -> SealedRow:
        assert (self.sealed.row.kind, self.sealed.row.key) == (kind, key)
        return self.sealed

    def row_version(self, _key: str) -> int:
        return self.sealed.row.version

    def envelope(
        self, _space: str, _meeting: str, _epoch: int, recipient: RecipientId
    ) -> bytes | None:
        self.reads += 1
        return self.blobs.get(recipient)


class FakeToken:
    """Finds every MAC right."""

    def space(self, _space: str) -> "FakeToken":
        return self

    async def check_rows(self, _rows: Sequence[SealedRow]) -> None:
        await asyncio.sleep(0)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def checked(store: FakeStore) -> VerifiedCache:
    return VerifiedCache(cast("Any", store), cast("Any", FakeToken()))


def blob(checked: VerifiedCache, reader: RecipientId) -> bytes:
    return asyncio.run(checked.blob(SPACE, MEETING, 0, reader))


def test_a_blob_altered_before_it_is_read_is_refused(
    store: FakeStore, checked: VerifiedCache
) -> None:
    store.blobs[READERS[0]] = BLOBS[READERS[1]]
    with pytest.raises(IntegrityFailure):
        blob(checked, READERS[0])
    assert blob(checked, READERS[1]) == BLOBS[READERS[1]]


def test_a_blob_altered_after_it_was_checked_does_not_matter(
    store: FakeStore, checked: VerifiedCache
) -> None:
    blob(checked, READERS[0])
    store.blobs[READERS[0]] = b"altered"
    assert blob(checked, READERS[0]) == BLOBS[READERS[0]]
    assert store.reads == 1


def test_blobs_are_bounded_by_their_bytes(
    store: FakeStore, checked: VerifiedCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked, "_room", 2 * len(BLOBS[READERS[0]]))
    for reader in READERS:
        blob(checked, reader)
    blob(checked, READERS[2])
    assert store.reads == 3
    blob(checked, READERS[0])
    assert store.reads == 4


def test_a_destroyed_epochs_blobs_leave_the_memory(checked: VerifiedCache) -> None:
    for reader in READERS:
        blob(checked, reader)
    destroyed = replace(epoch(KeyState.DEACTIVATED), state=KeyState.DESTROYED)
    checked.learn(SealedRow(make_row(destroyed, 2), b""))
    assert checked._blobs == {}
    assert checked._room == cache._BLOB_BYTES


@pytest.mark.parametrize("remembered", [True, False])
def test_a_row_that_changes_while_it_is_checked_is_read_again(
    store: FakeStore, checked: VerifiedCache, remembered: bool
) -> None:
    """Else the older row would be served from then on, whatever was stored since."""

    async def work() -> None:
        check = asyncio.create_task(checked.epoch(SPACE, MEETING, 0))
        await asyncio.sleep(0)
        store.sealed = SealedRow(make_row(epoch(KeyState.SUSPENDED), 2), b"")
        checked.learn(store.sealed)
        if not remembered:
            checked.forget(store.sealed.row.key)
        found = [await check, await checked.epoch(SPACE, MEETING, 0)]
        assert [(one.state, version) for one, version in found] == [(KeyState.SUSPENDED, 2)] * 2

    asyncio.run(work())
