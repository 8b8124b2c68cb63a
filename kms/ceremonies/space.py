"""A space and whom it trusts: keys on its token, and the records that the service imports."""

import base64
from dataclasses import dataclass

from kms.ceremonies.ports import CeremonyToken, SigningUse
from kms.ceremonies.site import FIRST, create_signing_key
from kms.domain.ids import RecipientId, SpaceName
from kms.domain.models import Recipient, RecipientKind, ReleaseClass, Space
from kms.errors import InvalidInput
from kms.statements.canonical import digest


@dataclass(frozen=True, slots=True)
class SpaceKeys:
    """A new space: its record, its manifest key (SPKI, DER), its vault and escrow recipients."""

    space: Space
    manifest: bytes
    recipients: tuple[Recipient, ...]


def create_space(
    token: CeremonyToken,
    space: SpaceName,
    release_class: ReleaseClass,
    *,
    escrow: bytes,
    generation: int,
    now: int,
) -> SpaceKeys:
    """Make a space's keys on its initialised token and trust the escrow key (SPKI) of a generation.

    The escrow key comes first: without it nothing could be minted, and nothing may be lost.
    """
    token.self_test()
    token.trust_escrow(generation, escrow)
    token.generate_row_mac(FIRST)
    manifest = create_signing_key(token, SigningUse.MANIFEST)
    vault = token.generate_vault(FIRST)
    token.trust_vault(FIRST, release_class, vault)
    return SpaceKeys(
        Space(space, release_class, token.label, now),
        manifest,
        (
            _recipient(space, RecipientKind.VAULT, "vault", vault, now, version=FIRST),
            _recipient(space, RecipientKind.ESCROW, "escrow", escrow, now, version=generation),
        ),
    )


def register_recipient(
    token: CeremonyToken,
    space: SpaceName,
    kind: RecipientKind,
    name: str,
    *,
    spki: bytes,
    tls_spki: RecipientId,
    now: int,
) -> Recipient:
    """Trust a meeting server's or recorder's wrapping key (``trusted`` spaces); return its record.

    ``tls_spki`` is the id of the key in the certificate that its program connects with.
    """
    if kind not in (RecipientKind.SERVER, RecipientKind.RECORDER):
        raise InvalidInput("servers and recorders are registered, nothing else")
    token.trust_recipient(kind, name, spki)
    return _recipient(space, kind, name, spki, now, tls_spki=tls_spki)


def register_roster_authority(
    token: CeremonyToken,
    space: SpaceName,
    name: str,
    *,
    spki: bytes,
    tls_spki: RecipientId,
    now: int,
) -> Recipient:
    """Trust a meeting server's roster-signing key (``roster`` spaces); return its record.

    The server receives no keys there: its record names the key that it signs rosters with.
    """
    token.trust_roster_authority(name, spki)
    return _recipient(space, RecipientKind.SERVER, name, spki, now, tls_spki=tls_spki)


def register_device_anchor(token: CeremonyToken, name: str, certificate: bytes) -> None:
    """Trust a certificate authority (DER) that issues the certificates of a space's devices."""
    token.trust_device_anchor(name, certificate)


def _recipient(
    space: SpaceName,
    kind: RecipientKind,
    name: str,
    spki: bytes,
    now: int,
    *,
    version: int = 0,
    tls_spki: str = "",
) -> Recipient:
    return Recipient(
        space=space,
        recipient=RecipientId(digest(spki)),
        kind=kind,
        name=name,
        version=version,
        spki=base64.b64encode(spki).decode(),
        tls_spki=tls_spki,
        registered=now,
    )
