"""Any store against a model that is a few dictionaries: random units, alone and in batches."""

import asyncio
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from kms.audit.leaf import LeafDraft, Phase, decode_leaf
from kms.audit.merkle import MerkleTree, leaf_hash
from kms.domain.rows import RowKind, SealedRow
from kms.domain.states import KeyState
from kms.errors import Conflict
from kms.ports import Change, DropEnvelope, DropEnvelopes, PutEnvelopes, PutReply, PutRow, Unit
from tests.contract.test_store import STORES, Open
from tests.fixtures.store import (
    TREASURY,
    TestClock,
    draft,
    envelopes,
    epoch,
    meeting,
    meeting_id,
    put,
    recipient_id,
    sealed,
    space,
)


@dataclass
class Model:
    """What a store holds, in the plainest form. ``leaves`` keeps the drafts by number."""

    rows: dict[str, SealedRow] = field(default_factory=dict)
    blobs: dict[tuple[str, int, str], bytes] = field(default_factory=dict)
    replies: dict[str, bytes] = field(default_factory=dict)
    leaves: list[LeafDraft] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    intents: set[int] = field(default_factory=set)

    def commit(self, unit: Unit, *, owners: bool = True) -> tuple[int, ...]:
        """Apply a unit or raise Conflict with nothing changed."""
        after = deepcopy(self)
        for change in unit.changes:
            after.change(change)
        if owners:
            after.check_owners()
        first = len(after.leaves)
        for seq, leaf in enumerate(unit.leaves, first):
            after.leaves.append(leaf)
            after.versions |= leaf.rows
            if leaf.phase is Phase.INTENT:
                after.intents.add(seq)
            elif leaf.intent is not None:
                after.intents.discard(leaf.intent)
        vars(self).update(vars(after))
        return tuple(range(first, len(self.leaves)))

    def change(self, change: Change) -> None:
        match change:
            case PutRow():
                row = change.sealed.row
                old = self.rows.get(row.key)
                if row.version != (old.row.version if old else 0) + 1:
                    raise Conflict("version")
                self.rows[row.key] = change.sealed
            case PutEnvelopes():
                self.add(change)
            case DropEnvelopes():
                gone = [key for key in self.blobs if key[:2] == (change.meeting, change.epoch)]
                for key in gone:
                    del self.blobs[key]
            case DropEnvelope():
                self.blobs.pop((change.meeting, change.epoch, change.recipient), None)
            case PutReply():
                if change.key in self.replies:
                    raise Conflict("reply")
                self.replies[change.key] = change.body

    def add(self, change: PutEnvelopes) -> None:
        for one in change.envelopes:
            key = (one.meeting, one.epoch, one.recipient)
            if key in self.blobs:
                raise Conflict("envelope")
            self.blobs[key] = one.blob

    def check_owners(self) -> None:
        for key in self.rows:
            parts = key.split("/")
            if parts[0] == "epoch" and f"meeting/{parts[1]}/{parts[2]}" not in self.rows:
                raise Conflict("no meeting")
        for number, n, _ in self.blobs:
            if f"epoch/{TREASURY}/{number}/{n}" not in self.rows:
                raise Conflict("no epoch")


NUMBERS, EPOCHS, VERSIONS = st.integers(1, 3), st.integers(0, 2), st.integers(1, 3)
STATES = st.sampled_from([KeyState.PRE_ACTIVATION, KeyState.ACTIVE, KeyState.DEACTIVATED])
CHANGES = st.one_of(
    st.builds(lambda n, v: PutRow(sealed(meeting(n), v)), NUMBERS, VERSIONS),
    st.builds(
        lambda n, e, state, v: PutRow(sealed(epoch(n, e, state), v)),
        NUMBERS,
        EPOCHS,
        STATES,
        VERSIONS,
    ),
    st.builds(lambda n, e: PutEnvelopes(envelopes(n, e, 2)), NUMBERS, EPOCHS),
    st.builds(lambda n, e: DropEnvelopes(TREASURY, meeting_id(n), e), NUMBERS, EPOCHS),
    st.builds(
        lambda n, e, r: DropEnvelope(TREASURY, meeting_id(n), e, recipient_id(r)),
        NUMBERS,
        EPOCHS,
        st.integers(0, 1),
    ),
    st.builds(lambda k: PutReply("p", k, "r", 201, k.encode(), 1), st.sampled_from("abc")),
)
LEAVES = st.one_of(
    st.just(draft()),
    st.just(draft(phase=Phase.INTENT)),
    st.builds(lambda n: draft(phase=Phase.RESULT, intent=n), st.integers(0, 8)),
)


@st.composite
def units(make: st.DrawFn) -> Unit:
    changes = make(st.lists(CHANGES, max_size=4))
    named = {
        one.sealed.row.key: one.sealed.row.version for one in changes if isinstance(one, PutRow)
    }
    leaves = (draft(rows=named), *make(st.lists(LEAVES, max_size=2)))
    return Unit(tuple(changes), leaves if make(st.integers(0, 9)) else ())


def follow(model: Model, unit: Unit, got: object) -> None:
    """Hold what the store answered to the model. What a row belongs to may come, or its envelopes
    go, with a later unit of the same batch: owners are then checked at the batch's end.
    """
    if isinstance(got, tuple):
        assert model.commit(unit, owners=False) == got
    else:
        with pytest.raises(Conflict):
            model.commit(unit)
        assert isinstance(got, Conflict)


@pytest.mark.parametrize("opener", STORES.values(), ids=STORES)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(batches=st.lists(st.lists(units(), min_size=1, max_size=6), max_size=8))
def test_a_store_behaves_like_the_model(opener: Open, batches: list[list[Unit]]) -> None:
    with TemporaryDirectory() as directory:
        asyncio.run(compare(opener, Path(directory), batches))


async def compare(opener: Open, path: Path, batches: list[list[Unit]]) -> None:
    clock, model = TestClock(), Model()
    store = opener(path, clock)
    try:
        units_ = [[put((space(), 1))], *batches]
        for batch in units_:
            got = await asyncio.gather(*map(store.commit, batch), return_exceptions=True)
            for unit, one in zip(batch, got, strict=True):
                follow(model, unit, one)
            model.check_owners()
        check(store, model)
        store.close()
        store = opener(path, clock)
        check(store, model)
    finally:
        store.close()


def check(store, model: Model) -> None:
    for number in (1, 2, 3):
        for n in (0, 1, 2):
            key = f"epoch/{TREASURY}/{meeting_id(number)}/{n}"
            assert store.row(RowKind.EPOCH, key) == model.rows.get(key)
            for one in envelopes(number, n, 2):
                expected = model.blobs.get((one.meeting, n, one.recipient))
                assert store.envelope(TREASURY, one.meeting, n, one.recipient) == expected
    rows = [one for key, one in sorted(model.rows.items()) if key.startswith("meeting/")]
    assert store.meetings(TREASURY, "", 100) == rows
    pending = [one for one in model.rows.values() if b'"state":"pre-activation"' in one.row.body]
    assert store.pending_epochs() == sorted(pending, key=lambda one: one.row.key)
    assert {key: store.row_version(key) for key in model.versions} == model.versions
    assert store.open_intents() == sorted(model.intents)
    for key in "abc":
        reply = store.reply("p", key)
        assert (reply.body if reply else None) == model.replies.get(key)
    bodies = store.leaves(0, 1000)
    leaves = [decode_leaf(body) for body in bodies]
    assert [(one.phase, one.intent, one.rows) for one in leaves] == [
        (one.phase, one.intent, one.rows) for one in model.leaves
    ]
    assert store.tree_size() == len(bodies)
    assert store.root(len(bodies)) == MerkleTree(map(leaf_hash, bodies)).root(len(bodies))
