"""KEKs of disks on a space's token, and the disks' keys encrypted by them.

A disk key is encrypted for one disk, purpose and version of the KEK (the AAD), so that no stored
value stands in another's place. A KEK is held against its template at every use: whoever has the
user PIN could have put another key under its label.
"""

from pkcs11 import Attribute, KeyType, ObjectClass

from kms.domain.disks import Disk
from kms.errors import IntegrityFailure, InvalidInput, StateNotAllowed
from kms.hsm import templates
from kms.hsm.attributes import Template
from kms.hsm.faults import Action, TokenFault
from kms.hsm.labels import Kind, Label, disk_kek
from kms.hsm.readback import check_kept
from kms.hsm.token import Found, Handle, Token
from kms.statements.canonical import b64u, canonical, unb64u

SLOT, RECOVERY = "slot", "recovery"
"""Purposes: what a key is encrypted as."""
_IV_BYTES = 12
_AES_BITS = 256


class Keks:
    """The KEKs of one space of a site."""

    def __init__(self, token: Token, site: str) -> None:
        self._token = token
        self._site = site

    def make(self, disk: Disk) -> int:
        """Generate the disk's next KEK and return its version, which no KEK of the disk had.

        One whose row was never stored, since an answer was lost, is passed over.
        """
        version = disk.keks + 1
        while self._handles(disk, version):
            version += 1
        template = templates.disk_kek(disk_kek(disk.disk, version))
        with self._token.writing() as session:
            session.generate_key(KeyType.AES, _AES_BITS, template=template.packed)
        self._token.refresh()
        self._find(disk, version)
        return version

    def seal(self, disk: Disk, version: int, purpose: str, key: bytes) -> str:
        """Return a key encrypted by a KEK: base64url of IV, ciphertext, tag."""
        kek, iv = self._find(disk, version), self._token.random(_IV_BYTES)
        aad = self._aad(disk, version, purpose)
        return b64u(iv + self._token.encrypt_gcm(kek, iv, aad, key))

    def open(self, disk: Disk, version: int, purpose: str, sealed: str) -> bytes:
        """Return the key; raise IntegrityFailure if it is not this disk's of that purpose,
        StateNotAllowed if the KEK is gone.
        """
        kek, blob = self._find(disk, version), _decoded(sealed)
        aad = self._aad(disk, version, purpose)
        try:
            return self._token.decrypt_gcm(kek, blob[:_IV_BYTES], aad, blob[_IV_BYTES:])
        except TokenFault as fault:
            if fault.action is not Action.FAIL:
                raise
            raise IntegrityFailure("the KEK does not open what is stored of the disk") from fault

    def destroy_below(self, disk: Disk, version: int) -> None:
        """Destroy the KEKs of lower versions."""
        older = range(1, version)
        self._destroy([disk_kek(disk.disk, one) for one in older if self._handles(disk, one)])

    def destroy_all(self, disk: Disk) -> None:
        """Destroy every KEK of the disk; raise IntegrityFailure if one stays."""
        self._destroy([one.label for one in self.of(disk)])
        if self.of(disk):
            raise IntegrityFailure("the token still has a KEK of the disk")

    def of(self, disk: Disk) -> list[Found]:
        """Return every object of the token that is labelled as a KEK of the disk, read anew."""
        self._token.refresh()
        labelled = (one for one in self._token.objects() if one.label.kind is Kind.DISK_KEK)
        return [one for one in labelled if one.label.name == disk.disk]

    def _destroy(self, labels: list[Label]) -> None:
        if not labels:
            return
        with self._token.writing() as session:
            for label in labels:
                for handle in list(session.get_objects(_labelled(label))):
                    handle.destroy()
        self._token.refresh()

    def _find(self, disk: Disk, version: int) -> Handle:
        found = self._handles(disk, version)
        if not found:
            raise StateNotAllowed(
                f"the HSM has no KEK {version} of the disk",
                hint="after a restoration a disk opens by its recovery key: recover-disk",
            )
        if len(found) > 1:
            raise IntegrityFailure("the token has more than one KEK of that version")
        check_kept(self._token, found[0], templates.disk_kek(disk_kek(disk.disk, version)))
        return found[0]

    def _handles(self, disk: Disk, version: int) -> list[Handle]:
        return self._token.labelled(ObjectClass.SECRET_KEY, disk_kek(disk.disk, version))

    def _aad(self, disk: Disk, version: int, purpose: str) -> bytes:
        return canonical(
            {
                "disk": disk.disk,
                "kek": version,
                "purpose": purpose,
                "serial": disk.serial,
                "site": self._site,
                "space": disk.space,
            }
        )


def _labelled(label: Label) -> dict[Attribute, bytes]:
    return Template({Attribute.TOKEN: True, Attribute.LABEL: str(label)}).packed


def _decoded(sealed: str) -> bytes:
    try:
        return unb64u(sealed)
    except InvalidInput as error:
        raise IntegrityFailure("a disk's stored key is no key") from error
