"""What any store must do for disks: their rows, the devices that were seen, orders."""

import pytest

from kms.domain.disks import DiskState, OrderState
from kms.domain.ids import SpaceName
from kms.errors import Conflict
from kms.ports import DropDevice, PutDevice, PutMac, PutOrder, Store, Unit
from tests.contract.test_store import anyio_backend, clock, opener, store
from tests.fixtures.store import (
    device,
    disk,
    disk_id,
    disk_order,
    put,
    request_id,
    sealed,
    space,
)

pytestmark = pytest.mark.anyio

__all__ = ["anyio_backend", "clock", "opener", "store"]

BROKERAGE = SpaceName("brokerage")


async def place(store: Store, *numbers: int, of: str = "") -> None:
    await store.commit(Unit(tuple(PutOrder(disk_order(number, of)) for number in numbers)))


# --- disks ---------------------------------------------------------------------------------------


async def test_disks_are_listed_by_space_and_id_and_found_by_id(store: Store) -> None:
    await store.commit(put((space(BROKERAGE), 1)))
    await store.commit(put((disk(3), 1), (disk(1, BROKERAGE), 1), (disk(2), 1)))
    assert store.disks() == [sealed(disk(1, BROKERAGE)), sealed(disk(2)), sealed(disk(3))]
    assert store.disk(disk_id(1)) == sealed(disk(1, BROKERAGE))
    assert store.disk(disk_id(4)) is None


async def test_a_disks_row_is_found_by_its_key_and_follows_its_last(store: Store) -> None:
    for version in (1, 2):
        await store.commit(put((disk(), version)))
    row = sealed(disk(), 2).row
    assert store.row(row.kind, row.key) == sealed(disk(), 2)
    assert store.row_version(row.key) == 2
    with pytest.raises(Conflict):
        await store.commit(put((disk(), 4)))
    await store.commit(Unit((PutMac(sealed(disk(), 2)),)))


async def test_no_two_disks_have_one_id_and_each_has_a_space(store: Store) -> None:
    await store.commit(put((space(BROKERAGE), 1)))
    await store.commit(put((disk(), 1)))
    for record in (disk(1, BROKERAGE), disk(2, SpaceName("nowhere"))):
        with pytest.raises(Conflict):
            await store.commit(put((record, 1)))
    assert store.disks() == [sealed(disk())]


# --- devices -------------------------------------------------------------------------------------


async def test_a_device_is_what_was_reported_last(store: Store) -> None:
    for one in (device(2), device(1), device(2, DiskState.UNKNOWN)):
        await store.commit(Unit((PutDevice(one),)))
    assert store.devices() == [device(1), device(2, DiskState.UNKNOWN)]
    assert store.device("SN-2") == device(2, DiskState.UNKNOWN)
    assert store.device("SN-3") is None


async def test_a_device_is_forgotten_alone_and_once(store: Store) -> None:
    for number in (1, 2):
        await store.commit(Unit((PutDevice(device(number)),)))
    for _ in range(2):
        await store.commit(Unit((DropDevice("SN-1"),)))
    assert store.devices() == [device(2)]


# --- orders --------------------------------------------------------------------------------------


async def test_an_order_is_what_was_reported_last(store: Store) -> None:
    await place(store, 1)
    failed = disk_order(1, state=OrderState.FAILED, code="no_device_mapper")
    await store.commit(Unit((PutOrder(failed),)))
    assert store.disk_order(request_id(1)) == failed
    assert store.disk_order(request_id(2)) is None


async def test_orders_that_wait_or_run_are_found_oldest_first(store: Store) -> None:
    await place(store, 4, 2, 3, 1)
    done = disk_order(2, state=OrderState.DONE)
    runs = disk_order(3, state=OrderState.RUNNING)
    await store.commit(Unit((PutOrder(done), PutOrder(runs))))
    assert store.open_orders() == [disk_order(1), runs, disk_order(4)]


async def test_orders_are_paged_newest_first(store: Store) -> None:
    await place(store, 1, 3, 5, of=disk_id(7))
    await place(store, 2, 4)
    every = [one.order for one in store.disk_orders("", "", 100)]
    assert every == [request_id(number) for number in (5, 4, 3, 2, 1)]
    paged, after = [], ""
    while page := store.disk_orders(disk_id(7), after, 2):
        paged += page
        after = page[-1].order
    assert paged == [disk_order(number, disk_id(7)) for number in (5, 3, 1)]
    assert store.disk_orders(disk_id(8), "", 100) == []
    assert store.disk_orders("", "", -1) == []


async def test_a_leaf_is_stored_with_an_order_or_neither_is(store: Store) -> None:
    size = store.tree_size()
    unit = put((disk(), 2))
    with pytest.raises(Conflict):
        await store.commit(Unit((PutOrder(disk_order()), *unit.changes), unit.leaves))
    assert store.disk_order(request_id(1)) is None
    assert (store.tree_size(), store.disks()) == (size, [])
