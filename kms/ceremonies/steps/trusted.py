"""What officers register with a space: kinds, labels on the token, keys, records in the store."""

import base64
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from kms.ceremonies.ports import CeremonyToken, Entry
from kms.ceremonies.room import Room
from kms.domain.ids import RecipientId, SpaceName
from kms.domain.models import Recipient, RecipientKind, ReleaseClass, Space
from kms.errors import InvalidInput, NotFound, StateNotAllowed
from kms.statements.canonical import digest
from kms.statements.jws import spki_der

MIN_RSA_BITS = 3072
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)


class TrustedKind(StrEnum):
    """What a space's token may trust beside its keepers; also the first part of the label."""

    SERVER = "server"
    RECORDER = "recorder"
    ROSTER_AUTHORITY = "roster-authority"
    DEVICE_ANCHOR = "device-anchor"
    PARTNER = "partner"


_RECORDS = {
    TrustedKind.SERVER: RecipientKind.SERVER,
    TrustedKind.RECORDER: RecipientKind.RECORDER,
    TrustedKind.ROSTER_AUTHORITY: RecipientKind.SERVER,
    TrustedKind.PARTNER: RecipientKind.PARTNER,
}
"""Kinds that have a record. A roster authority is a meeting server that receives no keys: its
record names the key that it signs rosters with."""


@dataclass(frozen=True, slots=True)
class Public:
    """A public key that was read: its SPKI (DER), and how a token comes to trust it by a name."""

    spki: bytes
    trust: Callable[[CeremonyToken, str], None]


def class_of(kind: TrustedKind) -> ReleaseClass:
    """Return the release class of the spaces that a kind is of; of a partner, which either
    has, ``trusted``.
    """
    if kind in (TrustedKind.SERVER, TrustedKind.RECORDER, TrustedKind.PARTNER):
        return ReleaseClass.TRUSTED
    return ReleaseClass.ROSTER


def label_of(kind: TrustedKind, name: str) -> str:
    """Return the label on the token, of a partner without the vault's version; raise InvalidInput
    for a name that is no slug.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput("a name has 1 to 32 of a-z, 0-9, - and does not start with -")
    return f"{kind}/{name}"


def labels_of(kind: TrustedKind, name: str, there: Iterable[str]) -> tuple[str, ...]:
    """Return which labels that are ``there`` are of a kind and name: a partner has one for each
    version of its vault.
    """
    label = label_of(kind, name)
    return tuple(one for one in there if one == label or one.startswith(f"{label}/"))


def record_kind(kind: TrustedKind) -> RecipientKind | None:
    """Return what a kind's record says, None for the one that has no record."""
    return _RECORDS.get(kind)


def load_public(kind: TrustedKind, pem: str) -> Public:
    """Return a plan's public key, or a device anchor's certificate; raise InvalidInput."""
    if kind is TrustedKind.PARTNER:
        raise InvalidInput("a partner's key is the vault of its space: no plan brings it")
    try:
        if kind is TrustedKind.DEVICE_ANCHOR:
            return _anchor(x509.load_pem_x509_certificate(pem.encode()))
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidInput(f"the public_key of the {kind} cannot be read: it is PEM") from error
    if kind is TrustedKind.ROSTER_AUTHORITY:
        return _authority(key)
    return _reader(kind, key)


def _anchor(certificate: x509.Certificate) -> Public:
    data = certificate.public_bytes(Encoding.DER)
    spki = spki_der(certificate.public_key())
    return Public(spki, lambda token, name: token.trust_device_anchor(name, data))


def _authority(key: PublicKeyTypes) -> Public:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidInput("a roster authority signs with a key on P-256")
    spki = spki_der(key)
    return Public(spki, lambda token, name: token.trust_roster_authority(name, spki))


def _reader(kind: TrustedKind, key: PublicKeyTypes) -> Public:
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < MIN_RSA_BITS:
        raise InvalidInput(f"a {kind} has an RSA key of {MIN_RSA_BITS} bits or more")
    spki, recipient = spki_der(key), _RECORDS[kind]
    return Public(spki, lambda token, name: token.trust_recipient(recipient, name, spki))


def recipient_record(
    space: str, kind: TrustedKind, name: str, spki: bytes, tls_key: str, registered: int
) -> Recipient:
    """Return the record of a kind that has one."""
    return Recipient(
        space=SpaceName(space),
        recipient=RecipientId(digest(spki)),
        kind=_RECORDS[kind],
        name=name,
        version=0,
        spki=base64.b64encode(spki).decode(),
        tls_spki=tls_key,
        registered=registered,
    )


def anchor_entry(room: Room, action: str, space: str, name: str) -> Entry:
    """Return the entry of a device anchor, which has no record; ``action`` of the log."""
    told = {
        "ceremony": room.brief.plan.file.id,
        "kind": TrustedKind.DEVICE_ANCHOR.value,
        "name": name,
    }
    return Entry(action, space, f"spaces/{space}/device-anchors/{name}", told)


def live_recipients(room: Room, space: str) -> tuple[Recipient, ...]:
    """Return a space's recipients that are not revoked."""
    found = room.records.recipients(SpaceName(space))
    return tuple(record for record in found if not record.revoked)


def live_space(room: Room, name: str) -> Space:
    """Return a space that is not retired; raise NotFound, StateNotAllowed."""
    for space in room.records.spaces():
        if space.space == name:
            if space.retired:
                raise StateNotAllowed(f"the space {name} is retired")
            return space
    raise NotFound(f"there is no space {name}")
