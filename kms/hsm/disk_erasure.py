"""The end of a disk: destroys every KEK that it has, and certifies that none is left.

It trusts no caller's word for that: the executed request and the disk's erased row, both MACed by
this token when the approvals were checked, say it. What became of the device itself is the
appliance's word; who carried the request out, the service's.
"""

from kms.domain.approvals import Request
from kms.domain.disks import Disk, DiskTarget
from kms.errors import Forbidden, InvalidInput, StateNotAllowed
from kms.hsm.diskkeys import read_disk
from kms.hsm.guard import check_executed, check_permitted
from kms.hsm.keks import Keks
from kms.hsm.keyring import SpaceKeyring
from kms.hsm.token import Token
from kms.ports import CertifyErasureOrder, EraseOrder
from kms.statements.erasure import METHOD, ErasureCertificate, Slots, sign_erasure
from kms.statements.request import CheckedRequest


class DiskEraser:
    """Erases disks of one space of a site."""

    def __init__(self, token: Token, site: str) -> None:
        self._site = site
        self._keks = Keks(token, site)

    def erase(self, keys: SpaceKeyring, order: EraseOrder) -> None:
        """Destroy the KEKs of the disk that the order's request names; nothing if they are gone.

        Raise IntegrityFailure for rows that are not the service's or if a KEK stays,
        VerificationFailed, QuorumNotMet, Forbidden for a request that is about something else.
        """
        _, _, disk = self._checked(keys, order)
        self._keks.destroy_all(disk)

    def certify(self, keys: SpaceKeyring, order: CertifyErasureOrder) -> str:
        """Return the certificate of erasure as a JWS.

        Raise as ``erase``, StateNotAllowed while a KEK is on the token, InvalidInput for what
        cannot be certified.
        """
        record, checked, disk = self._checked(keys, order.erase)
        if self._keks.of(disk):
            raise StateNotAllowed("the token still has a KEK of the disk")
        certificate = self._certificate(order, record, checked, disk)
        return sign_erasure(certificate, keys.manifest_kid, keys.sign_manifest)

    def _checked(
        self, keys: SpaceKeyring, order: EraseOrder
    ) -> tuple[Request, CheckedRequest, Disk]:
        record, checked = check_executed(self._site, keys, order.request, order.register)
        disk = read_disk(keys, order.disk)
        check_permitted(checked, (order.disk.row,))
        return record, checked, disk

    def _certificate(
        self, order: CertifyErasureOrder, record: Request, checked: CheckedRequest, disk: Disk
    ) -> ErasureCertificate:
        if order.now < record.ended:
            raise InvalidInput("a certificate is issued after the erasure")
        wanted = checked.wanted
        return ErasureCertificate(
            iss=self._site,
            space=disk.space,
            disk=disk.disk,
            serial=disk.serial,
            label=disk.label,
            operation=wanted.operation,
            request=wanted.id,
            digest=wanted.digest(),
            keks=disk.keks,
            escrow=disk.recovery.generation if disk.recovery else 0,
            method=METHOD,
            slots=_slots(order.slots, checked),
            erased=disk.erased,
            issued=order.now,
            executor=order.executor,
            requester=checked.requester.name,
            supervisors=tuple(sorted(checked.approvals)),
        )


def _slots(told: str, checked: CheckedRequest) -> Slots:
    """Return what became of the slots; nothing is erased on a device that people called absent."""
    target = checked.parameters
    if not isinstance(target, DiskTarget) or told not in set(Slots):
        raise InvalidInput(f"slots are {', '.join(Slots)}")
    if target.absent and told != Slots.ABSENT:
        raise Forbidden("the request says that the device is absent")
    return Slots(told)
