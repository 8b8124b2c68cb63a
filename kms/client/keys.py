"""Opens envelopes: from the pinned site root to the base key of one epoch's media.

Every check comes before the key is used, and every failure is the same EnvelopeRefused. The
epoch key itself is forgotten as soon as the base key is derived from it. Whether an epoch is due
or over is asked of the EpochKey: see ``check_time``.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import cmac, hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from kms.domain.ids import RecipientId
from kms.errors import ConclaveError, EnvelopeRefused, InvalidInput, VerificationFailed
from kms.statements import addendum, jws
from kms.statements.canonical import b64u, digest
from kms.statements.destruction import DestructionCertificate, verify_certificate
from kms.statements.erasure import ErasureCertificate, verify_erasure
from kms.statements.keylist import KeyList, KeyUse, verify_keylist
from kms.statements.manifest import (
    RING_BITS,
    TYP,
    Manifest,
    ManifestRecipient,
    media_of,
    subject,
    verify_manifest,
)
from kms.statements.recovered import Recovered

WRAP_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "RSA-OAEP": hashes.SHA1,
    "RSA-OAEP-256": hashes.SHA256,
}
"""``wrap_alg`` (RFC 7518, section 4.3) to the hash of RSAES-OAEP and of its MGF1."""

_BASE_KEY_LABEL = b"conclave sframe base key v1\n"
_KEY_BYTES = 32
_REFUSED: Final = "the envelope does not open"


class SiteTrust:
    """What a client believes of a site: its pinned root and the newest key list seen."""

    def __init__(self, site: str, root: ec.EllipticCurvePublicKey, key_list: str) -> None:
        """``site`` and ``root`` are pinned out of band; ``key_list`` is a JWS by ``root``."""
        self._site, self._root = site, root
        self._keys = self._verified(key_list)

    @property
    def version(self) -> int:
        """The key list's version; a client keeps the list and so never goes back."""
        return self._keys.version

    def update(self, key_list: str) -> None:
        """Take a newer key list; raise VerificationFailed for an older or a forged one."""
        keys = self._verified(key_list)
        if keys.version < self._keys.version or (
            keys.version == self._keys.version and keys != self._keys
        ):
            raise VerificationFailed("the site's key list went back")
        self._keys = keys

    def manifest(self, token: str, space: str) -> Manifest:
        """Return a manifest that a key of the space signed; raise VerificationFailed."""
        key = self._keys.key(jws.key_id(token, typ=TYP), KeyUse.MANIFEST, space)
        manifest = verify_manifest(token, key)
        if manifest.iss != self._site:
            raise VerificationFailed("the manifest is another site's")
        return manifest

    def certificate(self, text: str) -> DestructionCertificate:
        """Return a destruction certificate of this site; raise VerificationFailed."""
        return verify_certificate(text, self._keys)

    def erasure(self, text: str) -> ErasureCertificate:
        """Return a certificate of erasure of this site; raise VerificationFailed."""
        return verify_erasure(text, self._keys)

    def readers(
        self, token: str, addenda: Iterable[str], space: str
    ) -> tuple[ManifestRecipient, ...]:
        """Return everybody who could ever read an epoch: its manifest's recipients and those of
        its addenda; raise VerificationFailed for one that does not hold or is another epoch's.
        """
        manifest = self.manifest(token, space)
        found = list(manifest.recipients)
        for extra in addenda:
            key = self._keys.key(jws.key_id(extra, typ=addendum.TYP), KeyUse.MANIFEST, space)
            told = addendum.verify_addendum(extra, key)
            addendum.check_belongs(told, manifest, token)
            found.append(told.recipient)
        return tuple(found)

    def _verified(self, key_list: str) -> KeyList:
        keys = verify_keylist(key_list, self._root)
        if keys.iss != self._site:
            raise VerificationFailed("the key list is another site's")
        return keys


@dataclass(frozen=True, slots=True)
class EpochKey:
    """The opened key of one epoch, and who else can read and send in it.

    ``sender`` is the reader's own index in KIDs, or None for a recipient that only reads;
    ``senders`` maps every other's and its own index to the recipient's id. ``base_key`` (32
    bytes) is what SFrame starts from; it stands in no repr.
    """

    space: str
    meeting: str
    epoch: int
    manifest: Manifest
    sender: int | None
    senders: dict[int, RecipientId]
    base_key: bytes = field(repr=False)

    @property
    def ring(self) -> int:
        """The epoch's index in the key ring: the low bits of its KIDs."""
        return self.manifest.media.ring

    def kid(self, sender: int) -> int:
        """Return the KID of one sender's frames in this epoch."""
        return sender << RING_BITS | self.ring

    def check_time(self, now: float, leeway: float = 0) -> None:
        """Raise EnvelopeRefused unless the epoch has begun and is not past its maximum age.

        Not asked when an envelope is opened, since a next epoch is opened before it begins.
        ``leeway`` (seconds) allows for a clock that differs.
        """
        if not self.manifest.nbf - leeway <= now < self.manifest.exp + leeway:
            raise EnvelopeRefused("the epoch is not in force at this time")


@dataclass(frozen=True, slots=True)
class EnvelopeOpener:
    """A recipient: its private key, whom it trusts, and the one ``wrap_alg`` it accepts."""

    trust: SiteTrust
    key: rsa.RSAPrivateKey = field(repr=False)
    wrap_alg: str

    def __post_init__(self) -> None:
        if self.wrap_alg not in WRAP_HASHES:
            raise InvalidInput("wrap_alg is RSA-OAEP or RSA-OAEP-256")

    @property
    def recipient(self) -> RecipientId:
        """The id under which manifests name this recipient."""
        return RecipientId(jws.spki_id(self.key.public_key()))

    def open(self, token: str, blob: bytes, *, space: str, meeting: str, epoch: int) -> EpochKey:
        """Return the key of exactly this epoch from its manifest and the recipient's blob.

        Raise EnvelopeRefused, always with the same message, if the manifest is forged, names
        another site, space, meeting, epoch, algorithm or blob, or if the key that comes out is
        not the one that the manifest commits to.
        """
        try:
            manifest = self.trust.manifest(token, space)
            entry = manifest.recipient(self.recipient)
            self._check(manifest, entry, blob, subject(space, meeting, epoch))
            base_key = _derive(self._unwrap(blob), manifest)
        except (ConclaveError, ValueError):
            raise EnvelopeRefused(_REFUSED) from None
        own = entry.sender if entry.sender >= 0 else None
        return EpochKey(space, meeting, epoch, manifest, own, _senders(manifest), base_key)

    def open_recovered(self, found: Recovered) -> EpochKey:
        """Return the key of an epoch that a recovery gave to this recipient.

        The manifest does not name the recipient, nor the blob: that the key is the epoch's own is
        shown by the commitment alone. Raise EnvelopeRefused as ``open`` does.
        """
        try:
            manifest = self.trust.manifest(found.manifest, found.space)
            if found.recipient != self.recipient:
                raise EnvelopeRefused(_REFUSED)
            self._check_media(manifest, subject(found.space, found.meeting, found.epoch))
            base_key = _derive(self._unwrap(found.blob), manifest)
        except (ConclaveError, ValueError):
            raise EnvelopeRefused(_REFUSED) from None
        place = (found.space, found.meeting, found.epoch)
        return EpochKey(*place, manifest, None, _senders(manifest), base_key)

    def _check(self, manifest: Manifest, entry: ManifestRecipient, blob: bytes, sub: str) -> None:
        self._check_media(manifest, sub)
        if entry.blob_sha256 != digest(blob):
            raise EnvelopeRefused(_REFUSED)

    def _check_media(self, manifest: Manifest, sub: str) -> None:
        senders = [r.sender for r in manifest.recipients if r.sender >= 0]
        if (
            manifest.sub != sub
            or manifest.wrap_alg != self.wrap_alg
            or manifest.media != media_of(int(sub.rpartition("/")[2]))
            or len(set(senders)) != len(senders)
        ):
            raise EnvelopeRefused(_REFUSED)

    def _unwrap(self, blob: bytes) -> bytes:
        algorithm = WRAP_HASHES[self.wrap_alg]
        oaep = padding.OAEP(padding.MGF1(algorithm()), algorithm(), label=None)
        key = self.key.decrypt(blob, oaep)
        if len(key) != _KEY_BYTES:
            raise EnvelopeRefused(_REFUSED)
        return key


def _senders(manifest: Manifest) -> dict[int, RecipientId]:
    return {r.sender: RecipientId(r.id) for r in manifest.recipients if r.sender >= 0}


def _derive(key: bytes, manifest: Manifest) -> bytes:
    """Check the commitment (AES-CMAC, RFC 4493), then return the base key (HKDF-Expand)."""
    context = manifest.commitment_context()
    mac = cmac.CMAC(algorithms.AES(key))
    mac.update(context)
    if not hmac.compare_digest(b64u(mac.finalize()), manifest.commitment):
        raise EnvelopeRefused(_REFUSED)
    return base_key(key, context)


def base_key(key: bytes, context: bytes) -> bytes:
    """Return HKDF-Expand(SHA-256, PRK = epoch key, info = label and commitment context, L = 32).

    Never the epoch key itself and never a plain hash of it: see RFC 5869, section 2.3.
    """
    return HKDFExpand(hashes.SHA256(), _KEY_BYTES, _BASE_KEY_LABEL + context).derive(key)
