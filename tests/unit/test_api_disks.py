"""Disks over the API (over a FAKE HSM): what is shown, ordered, waited for and reported."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from kms.api import disk_views
from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.disks import (
    Device,
    Disk,
    DiskOrder,
    DiskState,
    MountPolicy,
    OrderKind,
    RecoveryKey,
    SlotKey,
    Work,
)
from kms.domain.ids import DiskId
from kms.domain.models import Role
from kms.domain.rows import SealedRow
from kms.errors import Sealed
from kms.ports import PutRow, Unit
from kms.settings import Api
from kms.statements.canonical import make_row
from kms.usecases.disks import keys, orders, works
from kms.usecases.disks.views import DiskView
from kms.wire.disks import KeysOut
from tests.fixtures.api import MAC, TREASURY, FakeSite, make_caller, run_with_site

LEDGER = DiskId("01930000-0000-7000-8000-00000000000a")
OTHER = "01930000-0000-7000-8000-0000000000ff"
DEVICE = {"node": "/dev/vdb", "size": 64 << 20, "model": "WD", "content": "", "state": "seen"}
DEVICES, TAKE = "/v1/appliance/devices", "/v1/appliance/orders"
DISK = Disk(
    space=TREASURY, disk=LEDGER, serial="WD-1", size=64 << 20, label="ledger",
    mount=MountPolicy("ledger", automatic=False), work=Work.NONE, enrolled=1, header="h" * 43,
    volume=2, key=SlotKey(3, "sealed-slot-key", 4),
    recovery=RecoveryKey(5, "escrowed-key", 6, tested=7), keks=3,
)  # fmt: skip
SEEN = Device(
    "WD-1", "/dev/vdb", 64 << 20, "WD", "crypto_LUKS", DiskState.MOUNTED, LEDGER,
    mounted="/srv/conclave/ledger", changed=8,
)  # fmt: skip

Ask = Callable[[FakeSite, httpx2.AsyncClient], Awaitable[None]]


def run(ask: Ask, *roles: Role, api: Api | None = None) -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            await ask(site, client)

    run_with_site(work, api, make_caller(roles) if roles else None)


async def enrolled(site: FakeSite, disk: Disk = DISK) -> None:
    """Put a disk into the store, sealed by the fake, as an approved request does."""
    row = make_row(disk, 1)
    leaf = LeafDraft(
        "disk.enroll", "tester", "test", "", "test", Phase.EVENT, Outcome.SUCCEEDED,
        rows={row.key: 1},
    )  # fmt: skip
    await site.store.commit(Unit((PutRow(SealedRow(row, MAC)),), (leaf,)))


async def plugged(client: httpx2.AsyncClient, serial: str = "WD-1", **changes: Any) -> Any:
    answer = await client.put(f"{DEVICES}/{serial}", json={**DEVICE, **changes})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def ordered(client: httpx2.AsyncClient, serial: str, kind: str, key: str = "k") -> Any:
    body = {"kind": kind, "serial": serial}
    return await client.post("/v1/disk-orders", json=body, headers={"idempotency-key": key})


# --- what is shown --------------------------------------------------------------------------------


def test_a_disk_is_shown_with_its_device_and_without_anything_of_its_keys() -> None:
    shown = disk_views.disk(DiskView(DISK, 1, SEEN, 9)).model_dump(mode="json")
    assert shown == {
        "disk": LEDGER, "space": TREASURY, "serial": "WD-1", "size": 64 << 20, "label": "ledger",
        "mount": {"name": "ledger", "automatic": False, "read_only": False},
        "work": "none", "committed": True, "state": "mounted", "code": "", "reason": "",
        "mounted": "/srv/conclave/ledger", "seen": "1970-01-01T00:00:08Z", "header": "h" * 43,
        "kek": 3, "volume": 2, "generation": 5, "enrolled": "1970-01-01T00:00:01Z",
        "key_made": "1970-01-01T00:00:04Z", "tested": "1970-01-01T00:00:07Z",
        "recovery_due": "1970-01-01T00:00:09Z", "replaces": None, "erased": None,
    }  # fmt: skip


def test_a_disk_that_was_never_seen_or_is_erased_is_shown_with_nulls() -> None:
    shown = disk_views.disk(DiskView(DISK.erase(9), 2, None, 0))
    told = (shown.state, shown.seen, shown.key_made, shown.recovery_due, shown.kek)
    assert told == (None, None, None, None, 0)
    assert shown.erased == "1970-01-01T00:00:09Z"
    fresh = replace(DISK, mount=MountPolicy(), header="", key=None, recovery=None, work=Work.FORMAT)
    other = disk_views.disk(DiskView(fresh, 1, None, 0))
    assert (other.header, other.mount.name, other.committed) == (None, None, False)


def test_what_a_recover_order_carries_is_shown_to_the_appliance_alone() -> None:
    order = DiskOrder(
        OTHER, OrderKind.RECOVER, "WD-1", LEDGER, TREASURY, "tester", 1, sealed_key="c2VjcmV0"
    )
    assert "c2VjcmV0" not in disk_views.order(order).model_dump_json()
    batch = disk_views.batch(orders.OrderBatch(1, (order,), ()))
    assert batch.orders[0].sealed_key == "c2VjcmV0"


def test_disks_and_devices_are_listed_and_a_disk_is_read_by_its_id() -> None:
    async def ask(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await enrolled(site)
        await plugged(client)
        await plugged(client, "X-9", state="unknown")
        listed = (await client.get("/v1/disks")).json()
        assert [one["disk"] for one in listed["disks"]] == [LEDGER]
        assert [one["serial"] for one in listed["devices"]] == ["WD-1", "X-9"]
        one = await client.get(f"/v1/disks/{LEDGER}")
        assert one.json() == listed["disks"][0]
        assert one.json()["state"] == "seen"
        assert (await client.get(f"/v1/disks/{OTHER}")).status_code == 404

    run(ask)


# --- who may --------------------------------------------------------------------------------------

BY_DAEMON = [
    ("GET", TAKE, None),
    ("POST", f"{TAKE}/{OTHER}:report", {"state": "running"}),
    ("PUT", f"{DEVICES}/WD-1", DEVICE),
    ("POST", f"/v1/appliance/disks/{LEDGER}/keys", {"nonce": "A" * 22}),
    ("POST", f"/v1/appliance/disks/{LEDGER}/work:begin", {"work": "slot"}),
    ("POST", f"/v1/appliance/disks/{LEDGER}/work:commit", {"proof": "A" * 43}),
    ("POST", f"/v1/appliance/disks/{LEDGER}/work:finish", {"header": "A" * 43, "proof": "A" * 43}),
]
BY_HAND = [
    ("PATCH", f"/v1/disks/{LEDGER}", {"label": "books"}),
    ("POST", f"/v1/disks/{LEDGER}/kek:rotate", None),
    ("POST", "/v1/disk-orders", {"kind": "lock", "serial": "WD-1"}),
]


async def refused(client: httpx2.AsyncClient, requests: Any) -> None:
    for method, path, body in requests:
        headers = {"idempotency-key": "k"} if path == "/v1/disk-orders" else {}
        answer = await client.request(method, path, json=body, headers=headers)
        assert answer.status_code == 403, (path, answer.text)
        assert answer.json()["code"] == "forbidden"


@pytest.mark.parametrize("role", [one for one in Role if one is not Role.APPLIANCE])
def test_nobody_else_is_taken_for_the_appliance(role: Role) -> None:
    async def ask(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await enrolled(site)
        await refused(client, BY_DAEMON)

    run(ask, role)


@pytest.mark.parametrize("role", [Role.APPLIANCE, Role.AUDITOR, Role.MEETING_SERVER])
def test_the_appliance_and_those_who_watch_order_nothing(role: Role) -> None:
    async def ask(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await enrolled(site)
        await refused(client, BY_HAND)

    run(ask, role)


# --- orders ---------------------------------------------------------------------------------------


def test_an_order_is_placed_once_taken_reported_and_followed() -> None:
    async def ask(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await plugged(client, "X-9", state="unknown")
        placed = await ordered(client, "X-9", "quarantine")
        assert placed.status_code == 201, placed.text
        order = placed.json()["order"]
        again = await ordered(client, "X-9", "quarantine")
        assert (again.json(), again.headers["idempotency-replayed"]) == (placed.json(), "true")
        assert (await ordered(client, "X-9", "release")).json()["code"] == "idempotency_key_reused"

        taken = (await client.get(TAKE)).json()
        assert [one["order"] for one in taken["orders"]] == [order]
        for told in ({"state": "running", "progress": 30}, {"state": "done", "progress": 100}):
            path = f"{TAKE}/{order}:report"
            assert (await client.post(path, json=told)).json()["progress"] == told["progress"]
        shown = (await client.get(f"/v1/disk-orders/{order}")).json()
        assert (shown["state"], shown["ended"] is None) == ("done", False)
        assert (await client.get(TAKE)).json()["orders"] == []

    run(ask)


def test_orders_are_paged_newest_first() -> None:
    async def ask(site: FakeSite, client: httpx2.AsyncClient) -> None:
        made = []
        for serial in ("X-1", "X-2", "X-3"):
            await plugged(client, serial, state="unknown")
            made.append((await ordered(client, serial, "quarantine", serial)).json()["order"])
        found: list[str] = []
        query = "limit=2"
        while True:
            page = (await client.get(f"/v1/disk-orders?{query}")).json()
            found += [one["order"] for one in page["items"]]
            if page["next"] is None:
                break
            query = f"limit=2&before={page['next']}"
        assert found == made[::-1]
        assert (await client.get(f"/v1/disk-orders?disk={LEDGER}")).json()["items"] == []

    run(ask)


# --- waiting for orders ---------------------------------------------------------------------------


async def version_of(client: httpx2.AsyncClient) -> int:
    version: int = (await client.get(TAKE)).json()["version"]
    return version


def test_a_question_for_orders_waits_for_a_change_and_longer_than_other_requests_may() -> None:
    async def ask(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await plugged(client, "X-9", state="unknown")
        version = await version_of(client)
        waiting = asyncio.create_task(client.get(f"{TAKE}?version={version}&wait=30", timeout=40))
        await asyncio.sleep(0.7)
        assert not waiting.done()
        await ordered(client, "X-9", "quarantine")
        answer = await asyncio.wait_for(waiting, 10)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["orders"]) == 1
        assert answer.json()["version"] != version

    run(ask, api=Api(request_seconds=0.4))


def test_without_a_change_it_is_answered_in_time_and_unchanged() -> None:
    async def ask(site: FakeSite, client: httpx2.AsyncClient) -> None:
        version, began = await version_of(client), time.monotonic()
        answer = await client.get(f"{TAKE}?version={version}&wait=1")
        assert answer.json()["version"] == version
        assert 0.9 < time.monotonic() - began < 10

    run(ask)


def test_a_seal_is_told_at_once() -> None:
    async def ask(site: FakeSite, client: httpx2.AsyncClient) -> None:
        version = await version_of(client)
        waiting = asyncio.create_task(client.get(f"{TAKE}?version={version}&wait=30", timeout=40))
        await asyncio.sleep(0.2)
        sealed = await client.post(f"/v1/spaces/{TREASURY}:seal", json={"reason": "a doubt"})
        assert sealed.status_code == 200, sealed.text
        answer = await asyncio.wait_for(waiting, 10)
        assert answer.json()["sealed"] == [TREASURY]

    run(ask)


def test_everybody_who_waits_is_answered_when_the_service_stops() -> None:
    async def work(site: FakeSite) -> None:
        wire = httpx2.AsyncHTTPTransport(uds=str(site.socket))
        async with httpx2.AsyncClient(transport=wire, base_url="http://conclave") as client:
            async with site.serving():
                version = await version_of(client)
                question = f"{TAKE}?version={version}&wait=60"
                waiting = [asyncio.create_task(client.get(question, timeout=70)) for _ in range(3)]
                await asyncio.sleep(0.2)
                began = time.monotonic()
            answers = await asyncio.gather(*waiting)
        assert time.monotonic() - began < 4
        assert [one.json()["version"] for one in answers] == [version] * 3

    run_with_site(work)


def test_nobody_is_waited_for_who_has_gone_away(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = asyncio.Event()

    async def take(*_: object) -> None:
        """Wait, instead of the use case, for as long as somebody asks."""
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def work(site: FakeSite) -> None:
        async with site.serving():
            _, writer = await asyncio.open_unix_connection(str(site.socket))
            writer.write(f"GET {TAKE}?wait=60 HTTP/1.1\r\nHost: conclave\r\n\r\n".encode())
            await asyncio.sleep(0.3)
            assert not ended.is_set()
            writer.close()
            await asyncio.wait_for(ended.wait(), 5)

    monkeypatch.setattr(orders, "take", take)
    run_with_site(work)


def test_a_fault_of_the_question_is_answered_as_of_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def take(*_: object) -> None:
        raise Sealed("the whole box is sealed")

    async def ask(site: FakeSite, client: httpx2.AsyncClient) -> None:
        answer = await client.get(TAKE)
        assert answer.json()["code"] == "sealed"

    monkeypatch.setattr(orders, "take", take)
    run(ask)


# --- what the appliance reports -------------------------------------------------------------------


def test_a_device_is_reported_and_a_step_that_no_device_takes_is_refused() -> None:
    async def ask(site: FakeSite, client: httpx2.AsyncClient) -> None:
        told = await plugged(client, "X+9:1", state="unknown", content="ntfs")
        assert (told["serial"], told["content"], told["disk"]) == ("X+9:1", "ntfs", None)
        await plugged(client, "X+9:1", state="quarantined")
        wrong = await client.put(f"{DEVICES}/X+9:1", json={**DEVICE, "state": "unknown"})
        assert wrong.json()["code"] == "state_not_allowed"

    run(ask)


def test_keys_and_works_reach_the_use_cases_as_they_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The use cases are fakes here that take down what they are asked."""
    asked: list[tuple[object, ...]] = []
    view = DiskView(DISK, 1, SEEN, 9)

    def fake(name: str, answer: object) -> Callable[..., Awaitable[object]]:
        async def one(_services: object, call: Any, *given: object) -> object:
            asked.append((name, call.operation, *given))
            return answer

        return one

    async def ask(site: FakeSite, client: httpx2.AsyncClient) -> None:
        path = f"/v1/appliance/disks/{LEDGER}"
        keys = await client.post(f"{path}/keys", json={"nonce": "AAECAwQFBgcICQoLDA0ODw"})
        assert KeysOut.model_validate_json(keys.content).release == "e30.e30.e30"
        assert (
            await client.post(f"{path}/keys", json={"nonce": "A" * 21 + "B"})
        ).status_code == 400
        for step, body in (("begin", {"work": "volume"}), ("commit", {"proof": "A" * 43}),
                           ("finish", {"header": "A" * 43, "proof": "B" * 42 + "A"})):  # fmt: skip
            answer = await client.post(f"{path}/work:{step}", json=body)
            assert answer.json()["disk"] == LEDGER, answer.text

    monkeypatch.setattr(keys, "fetch", fake("fetch", (view, "e30.e30.e30")))
    for name in ("begin", "commit", "finish"):
        monkeypatch.setattr(works, name, fake(name, view))
    run(ask)
    assert asked == [
        ("fetch", "disk.keys", LEDGER, bytes(range(16))),
        ("begin", "disk.begin", LEDGER, Work.VOLUME),
        ("commit", "disk.commit", LEDGER, "A" * 43),
        ("finish", "disk.finish", LEDGER, "A" * 43, "B" * 42 + "A"),
    ]
