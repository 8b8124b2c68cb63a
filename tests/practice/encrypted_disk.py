"""The main job's third part: an encrypted disk, from a blank device to its certificate of erasure.

Disks of a practice site are image files. This machine need not have a device-mapper, so nothing is
mounted here; everything else is done by the real daemon and cryptsetup.
"""

import secrets
import time
from pathlib import Path

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kms.domain.disks import DiskState, OrderKind
from kms.errors import NotFound
from kms.statements.erasure import verify_erasure
from kms.statements.keylist import KeyList, verify_keylist
from tests.practice.account import Account
from tests.scenarios.bays import HostBay, blank

SPARE = "BLANK-DISK"
_MEGABYTES = 32
_SECONDS = 30
_STANDING = (DiskState.ENROLLED, DiskState.MOUNTED)
"""How a disk stands that is well: where there is no device-mapper it is not opened."""


def run(bay: HostBay, account: Account) -> None:
    """Perform it; a blank device is left for whoever goes on."""
    account.step("加密磁盘", "A blank device becomes an encrypted disk, to its certificate")
    serial = f"PRACTICE-{secrets.token_hex(3).upper()}"
    image = _plugged_in(bay, account, serial)
    bay.enrol(serial)
    bay.await_state(serial, *_STANDING)
    account.holds(
        "officers approved, then it was formatted with keys that only the HSM can open",
        shown=image.read_bytes()[:6] == b"LUKS\xba\xbe",
    )
    for kind, done in (
        (OrderKind.ROTATE_SLOT, "its slot key was replaced; one key worked at every moment"),
        (OrderKind.VERIFY_RECOVERY, "a new recovery key was tested on it and put under escrow"),
    ):
        bay.obey(kind, serial)
        account.say(done)
    _erased(bay, account, serial)
    image.unlink()
    if not (bay.images / f"{SPARE}.img").exists():
        blank(bay.images, SPARE, _MEGABYTES)
    account.say(f"{SPARE} is left blank: ./dev conclave --config ... disk list shows it")


def _plugged_in(bay: HostBay, account: Account, serial: str) -> Path:
    image = blank(bay.images, serial, _MEGABYTES)
    before = image.read_bytes()
    bay.await_state(serial, DiskState.UNKNOWN)
    account.holds("plugged in, it is reported and not touched", shown=image.read_bytes() == before)
    return image


def _erased(bay: HostBay, account: Account, serial: str) -> None:
    executed = bay.erase(serial)
    bay.await_state(serial, DiskState.UNKNOWN)
    told = verify_erasure(_certificate(bay, executed.id), _key_list(bay))
    account.holds(
        "its certificate of erasure verifies offline: the HSM destroyed the key, the slots are "
        f"{told.slots}, only escrow generation {told.escrow} could open an old header",
        shown=told.serial == serial and told.slots == "erased",
    )


def _certificate(bay: HostBay, request: str) -> str:
    """Return the certificate once it is issued: the appliance reports first that all is erased."""
    end = time.monotonic() + _SECONDS
    while True:
        try:
            with bay.service.console() as client:
                return client.certificate(request).certificate
        except NotFound:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _key_list(bay: HostBay) -> KeyList:
    root = load_pem_public_key(bay.service.site.site_root.read_bytes())
    with bay.service.console() as client:
        return verify_keylist(client.key_list().key_list, root)
