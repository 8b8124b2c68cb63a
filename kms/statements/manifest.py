"""Epoch manifests: who can read an epoch, and the context that its key is bound to."""

from dataclasses import dataclass
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric import ec

from kms.domain.models import RecipientKind, ReleaseClass
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import canonical, decode_record, encode_record

TYP = "conclave-epoch+jws"
SFRAME_SUITE = 5
"""AES_256_GCM_SHA512_128 (RFC 9605, section 4.5)."""
RING_BITS = 4
"""Low bits of a frame's KID that hold the epoch; the bits above hold the sender's index."""


@dataclass(frozen=True, slots=True)
class Media:
    """Media parameters: SFrame suite, KID (the epoch's number) and its index in the key ring."""

    suite: int
    kid: int
    ring: int


@dataclass(frozen=True, slots=True)
class ManifestRecipient:
    """One reader. ``sender`` is its index in frame KIDs, -1 for vault and escrow, which send
    nothing; ``version`` is the vault's version or the escrow's generation, else 0.
    """

    id: str
    kind: RecipientKind
    version: int
    sender: int
    blob_sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The signed statement of one epoch; times in whole seconds (RFC 7519 NumericDate). ``host`` is
    the id of a confidential meeting's host, and left out of the manifests of others.
    """

    LEFT_OUT: ClassVar[tuple[str, ...]] = ("host",)

    iss: str
    sub: str
    iat: int
    nbf: int
    exp: int
    release_class: ReleaseClass
    roster_version: int
    wrap_alg: str
    commitment: str
    media: Media
    recipients: tuple[ManifestRecipient, ...]
    host: str = ""

    def recipient(self, recipient_id: str) -> ManifestRecipient:
        """Return the entry of one recipient; raise VerificationFailed if it is not named."""
        for entry in self.recipients:
            if entry.id == recipient_id:
                return entry
        raise VerificationFailed("the manifest does not name this recipient")

    def commitment_context(self) -> bytes:
        """Return the context that commitment and base key are bound to."""
        return commitment_context(self.iss, self.sub, self.release_class, self.media)

    def encode(self) -> bytes:
        """Return the canonical payload."""
        return encode_record(self)


def subject(space: str, meeting: str, epoch: int) -> str:
    """Return a manifest's ``sub``."""
    return f"{space}/{meeting}/{epoch}"


def media_of(epoch: int) -> Media:
    """Return the media parameters of an epoch."""
    return Media(SFRAME_SUITE, epoch, epoch % (1 << RING_BITS))


def commitment_context(iss: str, sub: str, release_class: ReleaseClass, media: Media) -> bytes:
    """Return the canonical JSON of {iss, sub, release class, suite, KID}."""
    return canonical(
        {
            "iss": iss,
            "kid": media.kid,
            "release_class": release_class.value,
            "sub": sub,
            "suite": media.suite,
        }
    )


def verify_manifest(token: str, key: ec.EllipticCurvePublicKey) -> Manifest:
    """Return the manifest that ``key`` signed; raise VerificationFailed."""
    try:
        return decode_record(jws.verify(token, typ=TYP, key=key), Manifest)
    except InvalidInput as error:
        raise VerificationFailed("not an epoch manifest") from error
