"""What any store must do for the life cycle: leases, marks, certificates, requests, and the reads
that page through keys in use.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from kms.audit.leaf import GRANT, Outcome, decode_leaf
from kms.domain.approvals import RequestState
from kms.domain.ids import SpaceName
from kms.domain.rows import RowKind
from kms.domain.states import KeyState
from kms.errors import Conflict
from kms.ports import DropEnvelopes, PutCertificate, PutMark, Store, TakeLease, Unit
from kms.store.sqlite import SqliteStore
from tests.contract.test_store import Open, anyio_backend, clock, opener, store
from tests.fixtures.store import (
    TREASURY,
    TestClock,
    draft,
    epoch,
    grant,
    hold,
    meeting_id,
    opening,
    policy,
    put,
    recipient_id,
    request,
    request_id,
    sealed,
    share,
    site_policy,
    space,
)

pytestmark = pytest.mark.anyio

__all__ = ["anyio_backend", "clock", "opener", "store"]

BROKERAGE = SpaceName("brokerage")


async def take(store: Store, holder: str, now: int, seconds: int = 15) -> None:
    await store.commit(Unit((TakeLease("rotation", holder, now, now + seconds),)))


# --- leases and marks ----------------------------------------------------------------------------


async def test_nobody_takes_a_lease_while_another_holds_it(store: Store) -> None:
    assert store.lease("rotation") is None
    await take(store, "one", 100)
    with pytest.raises(Conflict):
        await take(store, "two", 114)
    assert store.lease("rotation") == ("one", 115)
    assert store.lease("another") is None


async def test_its_holder_renews_a_lease_and_another_takes_it_once_it_has_ended(
    store: Store,
) -> None:
    await take(store, "one", 100)
    await take(store, "one", 105)
    with pytest.raises(Conflict):
        await take(store, "two", 119)
    await take(store, "two", 120)
    assert store.lease("rotation") == ("two", 135)
    with pytest.raises(Conflict):
        await take(store, "one", 121)


async def test_of_many_that_want_a_lease_at_once_one_gets_it(store: Store) -> None:
    tries = [take(store, f"holder {number}", 100) for number in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(one is None for one in results) == 1
    assert sum(isinstance(one, Conflict) for one in results) == 19


async def test_what_goes_with_a_lease_that_another_holds_is_not_stored(store: Store) -> None:
    await take(store, "one", 100)
    size = store.tree_size()
    unit = Unit((PutMark("reader", 9), TakeLease("rotation", "two", 100, 115)), (draft(),))
    with pytest.raises(Conflict):
        await store.commit(unit)
    assert (store.mark("reader", 0), store.tree_size()) == (0, size)


async def test_a_mark_is_the_number_that_was_put_last(store: Store) -> None:
    assert store.mark("reader", -1) == -1
    for number in (5, 3):
        await store.commit(Unit((PutMark("reader", number),)))
        assert store.mark("reader", -1) == number
    assert store.mark("other", 0) == 0


async def test_a_request_has_one_certificate(store: Store) -> None:
    await store.commit(Unit((PutCertificate(request_id(1), "a.b.c"),), (draft(),)))
    with pytest.raises(Conflict):
        await store.commit(Unit((PutCertificate(request_id(1), "d.e.f"),), (draft(),)))
    assert store.certificate(request_id(1)) == "a.b.c"
    assert store.certificate(request_id(2)) is None


# --- the rows of the life cycle ------------------------------------------------------------------


async def test_rows_of_every_kind_are_found_by_their_keys(store: Store) -> None:
    await store.commit(opening())
    for record in (policy(), site_policy(), request(), grant(), hold(), share()):
        for version in (1, 2):
            await store.commit(put((record, version)))
        row = sealed(record, 2).row
        assert store.row(row.kind, row.key) == sealed(record, 2)
        assert store.row_version(row.key) == 2


async def test_a_request_is_found_by_state_and_by_id(store: Store) -> None:
    for number in (3, 1, 2):
        await store.commit(put((request(number), 1)))
    await store.commit(put((request(4, space=""), 1)))
    await store.commit(put((request(2, RequestState.EXECUTED), 2)))
    pending = [sealed(request(1)), sealed(request(3)), sealed(request(4, space=""))]
    assert store.requests(RequestState.PENDING, "", 10) == pending
    assert store.requests(RequestState.PENDING, request_id(1), 1) == pending[1:2]
    assert store.newest_requests(RequestState.PENDING, "", 10) == pending[::-1]
    assert store.newest_requests(RequestState.PENDING, request_id(4), 1) == pending[1:2]
    done = sealed(request(2, RequestState.EXECUTED), 2)
    assert store.requests(RequestState.EXECUTED, "", 10) == [done]
    assert store.requests(RequestState.CANCELLED, "", 10) == []
    assert store.request(request_id(2)) == done
    assert store.request(request_id(4)) == sealed(request(4, space=""))
    assert store.request(request_id(5)) is None


async def test_no_two_requests_have_one_id(store: Store) -> None:
    await store.commit(put((request(1), 1)))
    with pytest.raises(Conflict):
        await store.commit(put((request(1, space=""), 1)))


async def test_grants_holds_and_shares_are_listed_by_space(store: Store) -> None:
    await store.commit(put((space(BROKERAGE), 1)))
    for number in (2, 1):
        await store.commit(opening(number))
        await store.commit(put((grant(number), 1), (hold(number), 1), (share(number), 1)))
    await store.commit(put((grant(3, BROKERAGE), 1), (hold(3, BROKERAGE), 1)))
    assert store.grants(TREASURY) == [sealed(grant(1)), sealed(grant(2))]
    assert store.holds(TREASURY) == [sealed(hold(1)), sealed(hold(2))]
    assert store.shares(TREASURY) == [sealed(share(1)), sealed(share(2))]
    assert store.grants(BROKERAGE) == [sealed(grant(3, BROKERAGE))]
    assert store.holds(BROKERAGE) == [sealed(hold(3, BROKERAGE))]
    assert store.shares(BROKERAGE) == []


# --- keys in use ---------------------------------------------------------------------------------


async def test_present_epochs_are_those_that_a_meeting_may_be_using(store: Store) -> None:
    present = (KeyState.ACTIVE, KeyState.SUSPENDED, KeyState.COMPROMISED)
    for number, state in enumerate(KeyState, 1):
        await store.commit(opening(number))
        await store.commit(put((epoch(number, 1, state), 1), (epoch(number, 0), 2)))
    found = store.present_epochs(TREASURY, ("", -1), 100)
    wanted = [
        sealed(record, version)
        for number, state in enumerate(KeyState, 1)
        for record, version in ((epoch(number, 0), 2), (epoch(number, 1, state), 1))
        if record.state in present
    ]
    assert found == wanted
    assert store.present_epochs(BROKERAGE, ("", -1), 100) == []


async def test_present_epochs_are_paged_by_meeting_and_number(store: Store) -> None:
    for number in (2, 1, 3):
        await store.commit(opening(number))
        await store.commit(put(*[(epoch(number, n, KeyState.COMPROMISED), 1) for n in (9, 10)]))
    every = store.present_epochs(TREASURY, ("", -1), 100)
    paged, after = [], ("", -1)
    while page := store.present_epochs(TREASURY, after, 2):
        paged += page
        _, _, meeting, number = page[-1].row.key.split("/")
        after = (meeting, int(number))
    assert paged == every
    assert len(every) == 9


async def test_a_recipient_keeps_the_epochs_that_it_has_an_envelope_of(store: Store) -> None:
    for number in (1, 2, 3):
        await store.commit(opening(number, count=number))
    keeper = recipient_id(1)
    assert await store.count_kept(keeper) == {TREASURY: 2}
    first = store.epochs_kept_for(TREASURY, keeper, ("", -1), 1)
    rest = store.epochs_kept_for(TREASURY, keeper, (meeting_id(2), 0), 10)
    assert first + rest == [sealed(epoch(2)), sealed(epoch(3))]
    assert store.count_envelopes(TREASURY, meeting_id(3), 0) == 3
    await store.commit(Unit((DropEnvelopes(TREASURY, meeting_id(3), 0),), (draft(),)))
    assert await store.count_kept(keeper) == {TREASURY: 1}
    assert store.count_envelopes(TREASURY, meeting_id(3), 0) == 0
    assert await store.count_kept(recipient_id(9)) == {}


async def serve(store: Store, epoch: int, **changes: object) -> None:
    resource = f"spaces/treasury/meetings/{meeting_id()}/epochs/{epoch}"
    await store.commit(Unit(leaves=(draft(resource=resource, **changes),)))


async def test_uses_are_the_envelopes_served_of_the_latest_epoch(
    store: SqliteStore, opener: Open, tmp_path: Path, clock: TestClock
) -> None:
    assert store.uses(TREASURY, meeting_id(), 0) == 0
    await serve(store, 0)
    await serve(store, 0, action="envelope.relay")
    await serve(store, 0, action="access.refused")
    await serve(store, 0, outcome=Outcome.REFUSED)
    assert store.uses(TREASURY, meeting_id(), 0) == 2
    await serve(store, 1)
    await serve(store, 0)  # an older one no longer counts
    assert [store.uses(TREASURY, meeting_id(), n) for n in (0, 1)] == [0, 1]
    store.close()
    again = opener(tmp_path, clock)
    assert again.uses(TREASURY, meeting_id(), 1) == 1
    again.close()


async def test_a_grant_was_used_when_it_last_let_somebody_do_something(
    store: Store, clock: TestClock
) -> None:
    used = f"socket:1{GRANT}{request_id(1)}"
    assert store.grant_used(request_id(1)) == ""
    (seq,) = await store.commit(Unit(leaves=(draft(auth=used),)))
    clock.seconds += 60
    refused = replace(draft(auth=used), outcome=Outcome.REFUSED)
    await store.commit(Unit(leaves=(refused, draft())))
    assert store.grant_used(request_id(1)) == decode_leaf(store.leaves(seq, 1)[0]).time
    assert store.grant_used(request_id(2)) == ""


async def test_an_altered_key_finds_no_row(store: Store) -> None:
    await store.commit(put((request(1), 1)))
    assert store.row(RowKind.REQUEST, f"request/{request_id(1)}") is None
    assert store.row(RowKind.POLICY, "policy/treasury/x") is None
