"""Certificates of erasure of a bundle, each held against request and log."""

from dataclasses import dataclass

from kms.audit.approvals import SLACK_SECONDS
from kms.audit.bundle import Bundle
from kms.audit.checks import Broken, Check
from kms.audit.disk_words import ErasureCertified
from kms.audit.leaf import Leaf, seconds
from kms.errors import ConclaveError
from kms.statements.canonical import digest
from kms.statements.erasure import ErasureCertificate, Slots, check_erases, verify_erasure
from kms.statements.keylist import KeyList
from kms.statements.request import CheckedRequest


@dataclass(frozen=True, slots=True)
class Erasure:
    """An approved erasure: its leaf, of which disk and device, which KEKs there had been, which
    escrow generation opens it (0: none), whether the device was absent, and by whose word.
    """

    leaf: Leaf
    disk: str
    serial: str
    keks: int
    escrow: int
    absent: bool
    checked: CheckedRequest


class Erasures:
    """The certificates of a bundle, under the site's key list."""

    def __init__(self, bundle: Bundle, keys: KeyList) -> None:
        self._bundle = bundle
        self._keys = keys

    def check(self, leaf: Leaf, told: ErasureCertified, done: Erasure) -> None:
        """Raise Broken unless the certificate of an erasure is in the bundle, the one told of,
        signed by a manifest key of its space, and tells of disk, people and times as the log does.
        """
        found = self._read(told, done)
        people = (done.checked.requester.name, tuple(sorted(done.checked.approvals)))
        if (found.requester, found.supervisors) != people or found.executor != done.leaf.actor:
            raise _broken("擦除证书所列人员有误", "the certificate names other people")
        named = (told.disk, found.disk, found.serial, found.keks)
        if named != (done.disk, done.disk, done.serial, done.keks):
            raise _broken("擦除证书所列磁盘有误", "the certificate names another disk, or KEKs")
        if found.escrow != done.escrow:
            raise _broken("擦除证书所列托管代数有误", "the certificate tells of another escrow")
        if done.absent and found.slots is not Slots.ABSENT:
            raise _broken("设备不在却称已擦除", "slots of an absent device were called erased")
        at, issued = seconds(done.leaf.time), seconds(leaf.time)
        early = abs(found.erased - at) > 2 * SLACK_SECONDS or found.issued < found.erased
        if early or abs(found.issued - issued) > 2 * SLACK_SECONDS:
            raise _broken("擦除证书所列时间有误", "the certificate tells of other times")

    def _read(self, told: ErasureCertified, done: Erasure) -> ErasureCertificate:
        raw = self._bundle.certificate(told.request)
        if raw is None or digest(raw) != told.certificate:
            raise _broken("证据包缺少擦除证书", "a certificate of erasure is missing")
        try:
            found = verify_erasure(raw.decode("utf-8", "replace"), self._keys)
            check_erases(found, done.checked.wanted)
        except ConclaveError as error:
            raise _broken("擦除证书的签名或内容不成立", error.message) from error
        return found


def _broken(zh: str, en: str) -> Broken:
    return Broken(Check.DISKS, zh, en)
