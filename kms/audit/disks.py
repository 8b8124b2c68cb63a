"""What may happen to encrypted disks, as the log tells it: people enrol and erase them, keys are
made and released in between and never afterwards, an erasure is certified.
"""

from kms.audit.approvals import Approvals, expect, request_row
from kms.audit.checks import Broken, Check, Said, Tally
from kms.audit.disk_words import (
    DETAILS,
    KEY_ACTIONS,
    DeviceReported,
    Enrolled,
    Erased,
    ErasureCertified,
    disk_place,
    disk_row,
)
from kms.audit.disk_works import DiskFacts, Works, broken
from kms.audit.erasures import Erasure, Erasures
from kms.audit.facts import check_rows
from kms.audit.governance import Step  # noqa: TC001 -- with the other parts of the replay
from kms.audit.leaf import Leaf, Phase
from kms.audit.words import details
from kms.domain.disks import DiskState, DiskTarget, DiskWish, Work, check_disk_transition
from kms.errors import StateNotAllowed
from kms.statements.request import CheckedRequest


class Disks:
    """Applies the leaves about disks."""

    def __init__(self, approvals: Approvals, erasures: Erasures, tally: Tally) -> None:
        self._approvals = approvals
        self._erasures = erasures
        self._tally = tally
        self._disks: dict[tuple[str, str], DiskFacts] = {}
        self._works = Works(self._disks, tally)
        self._devices: dict[str, DiskState] = {}
        self._uncertified: dict[str, Erasure] = {}
        self._steps: dict[str, Step] = {
            "disk.enroll": self._enrol,
            "disk.erase": self._erase,
            "disk.change": self._works.change,
            "disk.begin": self._works.begin,
            "disk.commit": self._works.commit,
            "disk.finish": self._works.finish,
            "disk.rotate-kek": self._works.rotate_kek,
            "disk.keys": self._tell,
            "disk.order": self._tell,
            "disk-order.report": self._tell,
            "device.report": self._report,
            "erasure.certify": self._certify,
        }

    def knows(self, leaf: Leaf) -> bool:
        """Whether the leaf is about disks."""
        return leaf.action in DETAILS

    def announces(self, leaf: Leaf) -> bool:
        """Whether the leaf says beforehand that keys of a disk are made or released."""
        return leaf.action in KEY_ACTIONS and leaf.phase is Phase.INTENT

    def announce(self, leaf: Leaf) -> None:
        """Raise Broken unless keys of that disk may be made or released at that time; what was
        announced may still be told of after an erasure that came in between.
        """
        self._tally.count(Check.DISKS)
        self._works.living(leaf)

    def apply(self, leaf: Leaf) -> None:
        """Apply one succeeded leaf; raise Broken."""
        self._tally.count(Check.DISKS)
        details(leaf, DETAILS[leaf.action])
        self._steps[leaf.action](leaf)

    def check_gone(self, space: str) -> None:
        """Raise Broken if a disk of the space was not erased: its KEK goes with the token."""
        if any(place[0] == space and not one.erased for place, one in self._disks.items()):
            raise broken("空间销毁时尚有未擦除的磁盘", "disks of the space were not erased")

    def end(self) -> None:
        """Note what was erased and has no certificate."""
        for erasure in self._uncertified.values():
            said = Said("磁盘已擦除，尚无证书", "erased, and no certificate yet")
            self._tally.finding(Check.DISKS, said, erasure.leaf.seq)

    # --- what people approve ---------------------------------------------------------------------

    def _enrol(self, leaf: Leaf) -> None:
        told, (space, disk) = details(leaf, Enrolled), disk_place(leaf)
        wish = self._approved(leaf, told).parameters
        if not isinstance(wish, DiskWish):
            raise _another()
        expect(
            [disk, told.disk, told.serial, told.preparation, told.replaces],
            [wish.disk, wish.disk, wish.serial, wish.preparation, wish.replaces],
        )
        check_rows(leaf, {disk_row(space, disk), request_row(space, told.request)})
        ids = {name for _, name in self._disks}
        serials = {one.serial for one in self._disks.values() if not one.erased}
        self._disks[space, disk] = DiskFacts(told.serial, Work(told.preparation.value))
        if disk in ids or told.serial in serials:
            raise broken("磁盘重复登记", "a disk, or its device, was enrolled twice")

    def _erase(self, leaf: Leaf) -> None:
        told, (space, disk) = details(leaf, Erased), disk_place(leaf)
        checked = self._approved(leaf, told)
        target = checked.parameters
        if not isinstance(target, DiskTarget):
            raise _another()
        expect([disk, told.disk, told.absent], [target.disk, target.disk, target.absent])
        check_rows(leaf, {disk_row(space, disk), request_row(space, told.request)})
        facts = self._works.living(leaf)
        facts.erased = True
        escrow = facts.escrow or facts.next_escrow
        erasure = Erasure(leaf, disk, told.serial, facts.keks, escrow, target.absent, checked)
        self._uncertified[told.request] = erasure
        if told.serial != facts.serial:
            raise broken("擦除的是另一设备", "another device than the disk's was erased")

    def _certify(self, leaf: Leaf) -> None:
        told = details(leaf, ErasureCertified)
        erasure = self._uncertified.pop(told.request, None)
        if erasure is None or leaf.resource != f"spaces/{leaf.space}/requests/{told.request}":
            raise broken("证书所指并未擦除", "a certificate of nothing")
        check_rows(leaf, set())
        self._erasures.check(leaf, told, erasure)

    # --- what the appliance tells ----------------------------------------------------------------

    def _report(self, leaf: Leaf) -> None:
        told = details(leaf, DeviceReported)
        before = self._devices.get(told.serial)
        if before is DiskState.GONE and not told.before:
            before = None  # the service forgets devices that are gone and no disk's
        self._devices[told.serial] = told.state
        self._tell(leaf)
        if told.before != (before or ""):
            raise broken("设备状态前后不接", "the device's state does not follow the last")
        try:
            check_disk_transition(before or told.state, told.state)
        except StateNotAllowed as error:
            raise broken("设备状态变化不合规定", error.message) from error

    def _tell(self, leaf: Leaf) -> None:
        """Check what changes no row: it is about a disk that there is, or about a device."""
        check_rows(leaf, set())
        serial = leaf.details["serial"]
        if leaf.action != "disk.keys" and leaf.resource == f"devices/{serial}":
            return
        facts = self._disks.get(disk_place(leaf))
        if facts is None or facts.serial != serial:
            raise broken("所述磁盘并未登记", "told of a disk that was never enrolled")

    def _approved(self, leaf: Leaf, told: Enrolled | Erased) -> CheckedRequest:
        self._tally.count(Check.APPROVALS)
        return self._approvals.check(leaf, told)


def _another() -> Broken:
    return Broken(Check.APPROVALS, "批准的是另一操作", "another operation was approved")
