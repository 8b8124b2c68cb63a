"""The ceremonies of a practice site, in one run: what several people do on several days for a
real one. Runs in a process of its own that holds the PKCS#11 module.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kms.ceremonies.escrow import EscrowGeneration, generate_escrow
from kms.ceremonies.ports import Share
from kms.ceremonies.site import SiteKeys, create_site, issue_key_list, listed
from kms.ceremonies.space import (
    SpaceKeys,
    create_space,
    register_device_anchor,
    register_recipient,
    register_roster_authority,
)
from kms.domain.ids import RecipientId
from kms.domain.models import Recipient, RecipientKind, ReleaseClass, Space
from kms.hsm.officer import OfficerToken
from kms.hsm.profile import Profile
from kms.practice.certificates import KeyAndCertificate
from kms.practice.files import write_new
from kms.practice.layout import (
    BANNER,
    DEVICE_ANCHOR,
    ESCROW_GENERATION,
    SHARE_GROUPS,
    SITE_TOKEN,
    SPACES,
    TOKENS,
    PracticeSite,
    PracticeSpace,
)
from kms.statements.jws import spki_der, spki_id
from kms.statements.keylist import KeyUse

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Server:
    """What the ceremony registers of a meeting server: SPKI (DER) and id of its TLS key."""

    name: str
    spki: bytes
    tls_spki: RecipientId


@dataclass(frozen=True, slots=True)
class Pins:
    """PINs by token."""

    user: dict[str, str] = field(repr=False)
    officer: dict[str, str] = field(repr=False)


class _KnownPins:
    """Gives out PINs that were drawn before."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins

    def so_pin(self, token: str) -> str:
        """Return a token's SO PIN."""
        return self._pins.officer[token]

    def user_pin(self, token: str) -> str:
        """Return a token's user PIN."""
        return self._pins.user[token]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the ceremonies leave, nothing of it secret."""

    site_root: bytes
    key_list: str
    escrow: EscrowGeneration
    spaces: tuple[Space, ...]
    recipients: tuple[Recipient, ...]


def describe_server(name: str, own: PrivateKey, tls: KeyAndCertificate) -> Server:
    """Return what is registered of a server that has these keys."""
    return Server(name, spki_der(own.public_key()), RecipientId(spki_id(tls.key.public_key())))


def hold(
    site: PracticeSite,
    profile: Profile,
    pins: Pins,
    servers: Mapping[str, Server],
    device_ca: bytes,
    now: int,
) -> Outcome:
    """Hold all ceremonies on empty tokens; ``device_ca`` is a certificate (DER)."""
    tokens = {label: OfficerToken(profile, label, _KnownPins(pins)) for label in TOKENS}
    for token in tokens.values():
        token.initialise()
    root_token = tokens[SITE_TOKEN]
    site_keys = create_site(root_token)
    escrow = generate_escrow(root_token, ESCROW_GENERATION, SHARE_GROUPS, ShareFiles(site))
    made = [
        _make_space(tokens[space.token], space, escrow, servers, device_ca, now) for space in SPACES
    ]
    return Outcome(
        site_keys.root,
        _key_list(root_token, site.site_id, site_keys, [keys for keys, _ in made], now),
        escrow,
        tuple(keys.space for keys, _ in made),
        tuple(one for keys, registered in made for one in (*keys.recipients, *registered)),
    )


def _make_space(
    token: OfficerToken,
    space: PracticeSpace,
    escrow: EscrowGeneration,
    servers: Mapping[str, Server],
    device_ca: bytes,
    now: int,
) -> tuple[SpaceKeys, list[Recipient]]:
    keys = create_space(
        token,
        space.name,
        space.release_class,
        escrow=escrow.pair.spki,
        generation=escrow.generation,
        now=now,
    )
    if space.release_class is ReleaseClass.ROSTER:
        register_device_anchor(token, DEVICE_ANCHOR, device_ca)
    return keys, [_register(token, space, servers[name], now) for name in space.servers]


def _register(token: OfficerToken, space: PracticeSpace, server: Server, now: int) -> Recipient:
    spki, tls_spki = server.spki, server.tls_spki
    if space.release_class is ReleaseClass.ROSTER:
        return register_roster_authority(
            token, space.name, server.name, spki=spki, tls_spki=tls_spki, now=now
        )
    kind = RecipientKind.SERVER
    return register_recipient(
        token, space.name, kind, server.name, spki=spki, tls_spki=tls_spki, now=now
    )


def _key_list(
    token: OfficerToken, site: str, site_keys: SiteKeys, spaces: list[SpaceKeys], now: int
) -> str:
    keys = [listed(KeyUse.CHECKPOINT, site_keys.checkpoint, not_before=now)]
    keys += [
        listed(KeyUse.MANIFEST, made.manifest, space=made.space.space, not_before=now)
        for made in spaces
    ]
    return issue_key_list(token, site_keys.root, site, 1, now, keys)


class ShareFiles:
    """Custodians of a practice site: each share is a marked file that is read back."""

    def __init__(self, site: PracticeSite) -> None:
        self._site = site

    def hand_over(self, share: Share) -> None:
        """Write one share, 0600."""
        group = next(group for group in SHARE_GROUPS if group.name == share.group)
        text = (
            f"{BANNER}\n"
            f"Conclave {self._site.site_id}: escrow generation {ESCROW_GENERATION}, "
            f"group {group.name}, share {share.index} of {group.count}, {group.threshold} needed\n"
            f"密钥托管第 {ESCROW_GENERATION} 代，{group.name} 组，"
            f"第 {share.index} 份，共 {group.count} 份，需 {group.threshold} 份\n\n"
            f"{share.words}\n"
        )
        write_new(self._path(share.group, share.index), text.encode())

    def read_back(self, group: str, index: int) -> str:
        """Return the words as the file has them."""
        return read_share(self._path(group, index).read_text("utf-8"))

    def _path(self, group: str, index: int) -> Path:
        return self._site.shares / f"{group}-{index}.txt"


def read_share(text: str) -> str:
    """Return the words of a share file: its last line."""
    return text.strip().rpartition("\n")[2]
