"""The life of a disk at the command line, with real tokens; the appliance is played by the test.

What a daemon does to a device is not done here: the test answers for it over the API, as a daemon
would, with its private key. The whole of it runs in tests/e2e/test_disks_vm.py.
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kms.client.api import Client
from kms.domain.disks import DiskState, OrderKind, OrderState, Work
from kms.errors import ConclaveError, StateNotAllowed
from kms.statements.canonical import b64u, unb64u
from kms.statements.diskkeys import DiskKeys, open_keys, work_proof
from kms.statements.keylist import verify_keylist
from kms.statements.release import DiskRelease, verify_release
from kms.wire.disks import DeviceIn, OrderToDo
from tests.e2e.test_cli_approvals import ATTENTION, LATER, OFFICERS, Desk
from tests.practice.service import Service

SERIAL, SIZE = "WD-7", 64 << 20
HEADER = b64u(bytes(32))
WHY = ("--reason", "the treasury's archive")


class Appliance:
    """Answers for the daemon: reports its device, opens keys, ends orders."""

    def __init__(self, service: Service, client: Client) -> None:
        self.client, self.site = client, service.site
        text = service.site.appliance_key.read_text()
        self._key = X25519PrivateKey.from_private_bytes(unb64u(text))

    def report(self, state: DiskState, disk: str = "", content: str = "", code: str = "") -> None:
        device = DeviceIn(
            node="/dev/vdb", size=SIZE, model="", content=content, state=state,
            disk=disk or None, code=code,
        )  # fmt: skip
        self.client.report_device(SERIAL, device)

    def keys(self, disk: str) -> tuple[DiskRelease, DiskKeys]:
        """Return the verified release, and the keys in it."""
        nonce = os.urandom(16)
        root = load_pem_public_key(self.site.site_root.read_bytes())
        keys = verify_keylist(self.client.key_list().key_list, root)
        release = verify_release(self.client.disk_keys(disk, nonce).release, keys, disk, nonce)
        sealed = unb64u(release.sealed)
        return release, open_keys(sealed, self._key, self.site.site_id, disk, nonce)

    def proof(self, disk: str, header: str = "") -> str:
        """Return what shows how far the work is."""
        release, keys = self.keys(disk)
        return work_proof(keys, self.site.site_id, disk, release.version, header)

    def take(self, kind: OrderKind) -> OrderToDo:
        """Return the one order that waits, of this kind."""
        (order,) = self.client.take_orders(0, 0).orders
        assert order.kind is kind
        return order

    def end(self, kind: OrderKind, *, code: str = "") -> None:
        order = self.take(kind)
        self.client.report_order(order.order, OrderState.RUNNING, 50)
        state = OrderState.FAILED if code else OrderState.DONE
        self.client.report_order(order.order, state, 100, code, "as it was said")

    @contextmanager
    def ending(self, kind: OrderKind, code: str = "") -> Iterator[None]:
        """End the next order of a kind, as soon as it comes."""
        thread = threading.Thread(target=self._wait_and_end, args=(kind, code))
        thread.start()
        yield
        thread.join()

    def _wait_and_end(self, kind: OrderKind, code: str) -> None:
        version, until = 0, time.monotonic() + 30
        while time.monotonic() < until:
            batch = self.client.take_orders(version, 5)
            version = batch.version
            if batch.orders:
                self.end(kind, code=code)
                return


@pytest.fixture(scope="module")
def desk(service: Service) -> Desk:
    return Desk(service)


@pytest.fixture(scope="module")
def appliance(service: Service) -> Iterator[Appliance]:
    with service.console() as client:
        yield Appliance(service, client)


def carried_out(desk: Desk, *asking: str) -> str:
    """Ask for something, have it approved and carried out at the command line."""
    asked = desk.signed(*asking, *WHY, "--json", person="chen-admin")
    assert asked.code == 0, asked.err
    request: str = json.loads(asked.out)["id"]
    for name in OFFICERS:
        given = desk.signed("approval", "sign", request, person=name)
        assert given.code == 0, given.err
    done = desk.run("approval", "execute", request, "--yes", "--json")
    assert done.code == 0, done.err
    return request


def shown(desk: Desk) -> Any:
    return json.loads(desk.run("disk", "show", "archive", "--json").out)


@pytest.fixture(scope="module")
def enrolled(desk: Desk, appliance: Appliance) -> str:
    """A disk that was enrolled and prepared; its id."""
    appliance.report(DiskState.SEEN)
    appliance.report(DiskState.UNKNOWN)
    wish = ("--space", "treasury", "--label", "archive", "--mount", "archive")
    carried_out(desk, "disk", "enroll", SERIAL, *wish)
    disk: str = shown(desk)["disk"]
    order = appliance.take(OrderKind.PREPARE)
    assert order.disk == disk
    appliance.report(DiskState.ROTATING, disk)
    appliance.client.begin_work(disk, Work.FORMAT)
    release, keys = appliance.keys(disk)
    assert release.disk.work is Work.FORMAT
    assert keys.key is None
    assert keys.next_key
    assert keys.next_recovery
    appliance.client.commit_work(disk, appliance.proof(disk))
    assert appliance.keys(disk)[1].key == keys.next_key
    appliance.client.finish_work(disk, HEADER, appliance.proof(disk, HEADER))
    appliance.end(OrderKind.PREPARE)
    appliance.report(DiskState.ENROLLED, disk)
    return disk


def test_a_disk_is_enrolled_by_what_people_signed(
    desk: Desk, appliance: Appliance, enrolled: str
) -> None:
    found = shown(desk)
    told = {name: found[name] for name in ("serial", "size", "label", "state", "work", "header")}
    assert told == {
        "serial": SERIAL, "size": SIZE, "label": "archive", "state": "enrolled", "work": "none",
        "header": HEADER,
    }  # fmt: skip
    assert (found["kek"], found["volume"], found["generation"]) == (1, 1, 1)
    assert "WD-7" in desk.run("disk", "list").out
    listed = json.loads(desk.run("disk", "orders", "--disk", "archive", "--json").out)["items"]
    assert [(one["kind"], one["state"]) for one in listed] == [("prepare", "done")]
    again = desk.run("disk", "enroll", SERIAL, "--space", "treasury", "--label", "other", *WHY,
                     "--person", "chen-admin", "--key", "none")  # fmt: skip
    assert again.code == LATER


def test_orders_are_followed_to_their_end_and_say_why_they_failed(
    desk: Desk, appliance: Appliance, enrolled: str
) -> None:
    with appliance.ending(OrderKind.UNLOCK):
        assert desk.run("disk", "unlock", "archive").code == 0
    with appliance.ending(OrderKind.LOCK, code="no_device_mapper"):
        ended = desk.run("disk", "lock", "archive")
    assert ended.code == LATER
    assert "[no_device_mapper]" in ended.err
    assert "load dm-crypt" in ended.err


def test_a_kek_is_rotated_and_the_key_stays_the_same(
    desk: Desk, appliance: Appliance, enrolled: str
) -> None:
    before = appliance.keys(enrolled)[1].key
    rotated = desk.run("disk", "rotate", "archive", "--level", "kek", "--json")
    assert rotated.code == 0, rotated.err
    assert json.loads(rotated.out)["kek"] == 2
    assert appliance.keys(enrolled)[1].key == before


def test_a_label_is_changed_and_given_back(desk: Desk, enrolled: str) -> None:
    assert desk.run("disk", "change", "archive", "--label", "books", "--no-mount").code == 0
    assert desk.run("disk", "show", "archive").code != 0
    back = desk.run("disk", "change", "books", "--label", "archive", "--mount", "archive", "--json")
    assert json.loads(back.out)["mount"]["name"] == "archive"


def test_a_disk_in_quarantine_is_something_to_look_at(
    desk: Desk, appliance: Appliance, enrolled: str
) -> None:
    appliance.report(DiskState.QUARANTINED, enrolled, code="header_digest")
    listed = desk.run("disk", "list")
    assert (listed.code, "[header_digest]" in listed.out) == (ATTENTION, True)
    appliance.report(DiskState.SEEN, enrolled)
    appliance.report(DiskState.ENROLLED, enrolled)


def test_an_erased_disk_has_a_certificate_and_no_key(
    desk: Desk, appliance: Appliance, enrolled: str, tmp_path: Path
) -> None:
    request = carried_out(desk, "disk", "erase", "archive")
    with pytest.raises(StateNotAllowed):
        appliance.client.begin_work(enrolled, Work.SLOT)
    release, keys = appliance.keys(enrolled)
    assert (release.disk.work, keys) == (Work.ERASE, DiskKeys())
    assert desk.run("certificate", "show", request).code != 0
    appliance.report(DiskState.ERASING, enrolled)
    appliance.end(OrderKind.ERASE)
    appliance.report(DiskState.UNKNOWN)

    file, keys_file = tmp_path / "erased.jws", tmp_path / "keys.jws"
    assert desk.run("certificate", "show", request, "--out", str(file)).code == 0
    keys_file.write_text(appliance.client.key_list().key_list)
    verified = desk.run(
        *("certificate", "verify", str(file), "--key-list", str(keys_file), "--json"),
        *("--site-root", str(desk.service.site.site_root)),
    )
    assert verified.code == 0, verified.err
    says = json.loads(verified.out)["says"]
    told = {name: says[name] for name in ("disk", "serial", "request", "slots", "keks", "escrow")}
    assert told == {
        "disk": enrolled, "serial": SERIAL, "request": request, "slots": "erased", "keks": 2,
        "escrow": 1,
    }  # fmt: skip
    with pytest.raises(ConclaveError):
        appliance.client.rotate_kek(enrolled)


def test_the_log_of_a_disks_life_holds(desk: Desk, enrolled: str, tmp_path: Path) -> None:
    bundle, root = tmp_path / "evidence.db", str(desk.service.site.site_root)
    exported = desk.run("audit", "export", str(bundle))
    assert exported.code == 0, exported.err
    verified = desk.run("audit", "verify", str(bundle), "--site-root", root)
    assert verified.code == 0, verified.out + verified.err
