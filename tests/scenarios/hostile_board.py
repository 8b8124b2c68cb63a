"""Text that wants to run in a browser, in every field of a site that a page may show.

Where the service would refuse such text, it is put into the store as if the service had not: pages
trust nothing to have been checked before.
"""

from dataclasses import replace

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.alerts import ActiveAlert
from kms.domain.disks import Device, Disk, DiskState, MountPolicy, SlotKey, Work
from kms.domain.grants import Hold
from kms.domain.passkeys import Purpose
from kms.domain.rows import Record, SealedRow
from kms.ports import PutDevice, PutRow, Unit
from kms.statements.canonical import make_row
from tests.fixtures.api import MAC, TREASURY
from tests.fixtures.approvals import DISK, MEETING
from tests.fixtures.authenticator import Authenticator
from tests.fixtures.board import NOW, PEOPLE, WANTED, BoardSite, enrol

PLACES = (
    "actor", "resource", "detail", "disk label", "disk serial", "device model", "device reason",
    "request reason", "passkey name", "alert subject", "alert text", "hold reason", "query",
)  # fmt: skip
"""Where hostile text stands; the place of each is its number."""


def hostile(place: str) -> str:
    """Return text that breaks out of attributes, elements, scripts and templates, if anything lets
    it; its last word says where it came from.
    """
    number = PLACES.index(place)
    return (
        f"\"'><img src=/x{number} onerror=alert({number})><script>alert({number})</script>"
        f"</textarea><svg onload=alert({number})>{{{{7*7}}}} {marker(place)}"
    )


def marker(place: str) -> str:
    """Return the word by which a place is found again on a page."""
    return f"planted{PLACES.index(place):03}"


async def plant(site: BoardSite) -> None:
    """Put hostile text wherever text can be."""
    store, keys = site.services.store, Authenticator(site.origin)
    await enrol(
        site.services,
        "zhou-security",
        Purpose.SIGN_IN,
        keys,
        name=_short("passkey name"),
    )
    (seq,) = await store.commit(Unit(leaves=(_leaf(),)))
    wanted = replace(WANTED, id=WANTED.id[:-2] + "aa", reason=hostile("request reason"))
    site.known |= {"seq": str(seq), "request": wanted.id}
    records: tuple[Record, ...] = (
        _disk(),
        PEOPLE.record(wanted),
        Hold(TREASURY, DISK, MEETING, hostile("hold reason"), "tester", NOW),
    )
    for record in records:
        row = make_row(record, 1)
        leaf = LeafDraft(
            "hold.place", "tester", "test", TREASURY, "rows", Phase.EVENT, Outcome.SUCCEEDED,
            rows={row.key: 1},
        )  # fmt: skip
        await store.commit(Unit((PutRow(SealedRow(row, MAC)),), (leaf,)))
    await store.commit(Unit((PutDevice(_device()), PutDevice(_stranger()))))
    alert = ActiveAlert(
        "integrity-failure", "", hostile("alert subject"), 1, hostile("alert text"),
        "2027-01-15T08:00:00Z", -1,
    )  # fmt: skip
    site.services.watched.board.unlogged[alert.key] = alert


def _short(place: str) -> str:
    return f"<b onclick=alert(1)>{marker(place)}"


def _leaf() -> LeafDraft:
    return LeafDraft(
        "access.refused", hostile("actor"), "test", TREASURY, hostile("resource"),
        Phase.EVENT, Outcome.REFUSED, details={"code": hostile("detail"), "operation": "x"},
    )  # fmt: skip


def _disk() -> Disk:
    return Disk(
        space=TREASURY, disk=DISK, serial=hostile("disk serial"), size=64 << 20,
        label=hostile("disk label"), mount=MountPolicy(hostile("disk label")), work=Work.NONE,
        enrolled=NOW, header="h" * 43, key=SlotKey(1, "sealed", NOW),
    )  # fmt: skip


def _device() -> Device:
    return Device(
        hostile("disk serial"), "/dev/vdb", 64 << 20, hostile("device model"), "crypto_LUKS",
        DiskState.MOUNTED, DISK, reason=hostile("device reason"), changed=NOW,
    )  # fmt: skip


def _stranger() -> Device:
    """A device that nobody has enrolled."""
    return replace(_device(), serial="S-2", disk="", state=DiskState.UNKNOWN)
