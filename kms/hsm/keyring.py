"""The handles that a token's work needs, resolved once per session and never looked up again.

What a caller may be wrapped to, and whose rosters count, is decided by the TRUSTED objects alone.
A name not known here makes the token's objects be read again once: officers register while the
worker runs.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import Attribute, Mechanism, ObjectClass

from kms.domain.ids import RecipientId
from kms.domain.models import RecipientKind, ReleaseClass
from kms.errors import (
    Forbidden,
    IntegrityFailure,
    InvalidInput,
    NotFound,
    StateNotAllowed,
    VerificationFailed,
)
from kms.hsm.devices import Device
from kms.hsm.direct import DirectCalls, PackedTemplate
from kms.hsm.labels import Kind, numbered
from kms.hsm.publickeys import key_id, load_anchor, load_p256, load_rsa, read_p256, read_rsa
from kms.hsm.templates import device_public
from kms.hsm.token import Found, Handle, Token
from kms.statements.canonical import b64u, unb64u
from kms.statements.jws import spki_der, spki_id

MAX_DEVICE_OBJECTS = 256
"""Session objects kept for devices: the token slows down as they pile up."""

Anchors: TypeAlias = dict[RecipientId, x509.Certificate]
"""Device anchors by the SHA-256 of their SPKI."""

_KINDS = {
    Kind.VAULT: RecipientKind.VAULT,
    Kind.ESCROW: RecipientKind.ESCROW,
    Kind.SERVER: RecipientKind.SERVER,
    Kind.RECORDER: RecipientKind.RECORDER,
    Kind.PARTNER: RecipientKind.PARTNER,
}


@dataclass(frozen=True, slots=True)
class Reader:
    """A public key on the token that epoch keys are wrapped to; ``size`` of its modulus in bytes,
    ``version`` of a vault (a partner's too), generation of an escrow key, else 0.
    """

    id: RecipientId
    kind: RecipientKind
    version: int
    handle: int
    size: int


@dataclass(frozen=True, slots=True)
class Authority:
    """A TRUSTED P-256 key that signs rosters, or the register of people."""

    handle: int
    key: ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Anchor:
    """A TRUSTED certificate that issues device certificates."""

    handle: int
    certificate: x509.Certificate


class Keyring:
    """Handles of one session of a token, and the calls on it. Dropped with the session."""

    def __init__(self, token: Token) -> None:
        self._token = token
        self.session = token.session
        self.calls = DirectCalls(token.cryptoki, self.session.handle, token.profile.oaep_hash)
        self._row_mac = _last(token, ObjectClass.SECRET_KEY, Kind.ROW_MAC).handle.handle
        self._site_root: Authority | None = None

    def mac(self, data: bytes) -> bytes:
        """Return HMAC-SHA256 of ``data`` by the row-MAC key."""
        return self.calls.sign(self._row_mac, Mechanism.SHA256_HMAC, data)

    def site_root(self) -> ec.EllipticCurvePublicKey:
        """Return the site root that this token trusts now; raise VerificationFailed."""
        root = self._site_root
        if root is None or not self.calls.is_trusted(root.handle):
            self._token.refresh()
            found = self._token.all(ObjectClass.PUBLIC_KEY, Kind.SITE_ROOT)
            if not found:
                raise VerificationFailed(
                    "the token trusts no site root, so nobody's approval can be checked",
                    hint="create-space and restore-site put it there; make the space's token anew",
                )
            key = _ec_key(self._token, found[-1])
            root = self._site_root = Authority(found[-1].handle.handle, key)
        return root.key

    def _signer(self, kind: Kind) -> tuple[Found, int]:
        """Return the newest TRUSTED public key of a kind, and the handle of its private half."""
        public = _last(self._token, ObjectClass.PUBLIC_KEY, kind)
        private = self._token.find(ObjectClass.PRIVATE_KEY, public.label)
        return public, private.handle.handle


class SiteKeyring(Keyring):
    """Adds the checkpoint key: ``checkpoint_key`` is its public half, ``checkpoint_kid`` its id."""

    def __init__(self, token: Token) -> None:
        super().__init__(token)
        public, self._checkpoint = self._signer(Kind.CHECKPOINT)
        self.checkpoint_key = _ec_key(token, public)
        self.checkpoint_kid = b64u(public.key_id)

    def sign_checkpoint(self, digest: bytes) -> bytes:
        """Return the ECDSA signature (r || s) over a SHA-256 digest."""
        return self.calls.sign(self._checkpoint, Mechanism.ECDSA, digest)


class SpaceKeyring(Keyring):
    """Adds a space's vault, escrow and manifest keys, its registered recipients and anchors."""

    def __init__(self, token: Token) -> None:
        super().__init__(token)
        vaults = token.all(ObjectClass.PUBLIC_KEY, Kind.VAULT)
        classes = {vault.label.release_class for vault in vaults} - {None}
        if len(classes) != 1:
            raise IntegrityFailure("the token's vaults do not name one release class")
        self.release_class: ReleaseClass = classes.pop() or ReleaseClass.TRUSTED
        escrow = _last(token, ObjectClass.PUBLIC_KEY, Kind.ESCROW)
        self.always = (as_reader(token, vaults[-1]), as_reader(token, escrow))
        self._older = {RecipientId(b64u(vault.key_id)): vault.label for vault in vaults[:-1]}
        public, self._manifest = self._signer(Kind.MANIFEST)
        self.manifest_kid = b64u(public.key_id)
        self._disk_escrow: Found | None = None
        self._readers: dict[RecipientId, Reader] = {}
        self._partners: dict[str, Reader] = {}
        self._authorities: dict[str, Authority] = {}
        self._anchors: dict[RecipientId, Anchor] = {}
        self._devices: OrderedDict[RecipientId, Reader] = OrderedDict()

    @cached_property
    def manifest_keys(self) -> dict[str, ec.EllipticCurvePublicKey]:
        """The public halves of all manifest keys of this token, by the id that statements name."""
        found = self._token.all(ObjectClass.PUBLIC_KEY, Kind.MANIFEST)
        return {b64u(one.key_id): _ec_key(self._token, one) for one in found}

    def sign_manifest(self, digest: bytes) -> bytes:
        """Return the ECDSA signature (r || s) over a SHA-256 digest."""
        return self.calls.sign(self._manifest, Mechanism.ECDSA, digest)

    def older_vault(self, recipient: RecipientId) -> Handle:
        """Return the private half of a vault key that a newer one has followed; raise Forbidden."""
        if recipient not in self._older:
            raise Forbidden("the token has no older vault key of that id")
        label = numbered(Kind.VAULT, self._older[recipient].number)
        return self._token.find(ObjectClass.PRIVATE_KEY, label).handle

    def disk_escrow(self) -> Found:
        """Return the newest disk escrow key that is TRUSTED now; raise StateNotAllowed without one,
        IntegrityFailure if it is not what its id says.
        """
        found = self._disk_escrow
        if found is None or not self.calls.is_trusted(found.handle.handle):
            self._token.refresh()
            trusted = self._token.all(ObjectClass.PUBLIC_KEY, Kind.DISK_ESCROW)
            if not trusted:
                raise StateNotAllowed(
                    "the space's token trusts no disk escrow key, so no recovery key can be kept",
                    hint="new-generation makes one and has every space's token trust it",
                )
            found = self._disk_escrow = trusted[-1]
            _check_rsa(self._token, found)
        return found

    def registered(self, recipient: RecipientId) -> Reader:
        """Return a registered server or recorder; raise VerificationFailed."""
        reader = self._readers.get(recipient)
        if reader is None:
            found = self._trusted(recipient, Kind.SERVER, Kind.RECORDER)
            reader = self._readers[recipient] = as_reader(self._token, found)
        return reader

    def partner(self, space: str) -> Reader:
        """Return the newest vault key of another space that is TRUSTED here now; raise
        VerificationFailed.
        """
        reader = self._partners.get(space)
        if reader is None or not self.calls.is_trusted(reader.handle):
            self._token.refresh()
            partners = self._token.all(ObjectClass.PUBLIC_KEY, Kind.PARTNER)
            found = [one for one in partners if one.label.name == space]
            if not found:
                raise VerificationFailed(f"the token trusts no vault of the space {space}")
            reader = self._partners[space] = as_reader(self._token, found[-1])
        return reader

    def authority(self, kid: str) -> ec.EllipticCurvePublicKey:
        """Return a roster authority that is still TRUSTED; raise VerificationFailed."""
        authority = self._authorities.get(kid)
        if authority is None or not self.calls.is_trusted(authority.handle):
            self._token.refresh()
            found = self._trusted(kid, Kind.ROSTER_AUTHORITY)
            authority = Authority(found.handle.handle, _ec_key(self._token, found))
            self._authorities[kid] = authority
        return authority.key

    def anchors(self) -> Anchors:
        """Return the device anchors that are TRUSTED now, by the SHA-256 of their SPKI."""
        if not self._anchors or not all(map(self._stands, self._anchors.values())):
            self.reread_anchors()
        return {name: anchor.certificate for name, anchor in self._anchors.items()}

    def reread_anchors(self) -> None:
        """Read the device anchors from the token again."""
        self._token.refresh()
        found = self._token.all(ObjectClass.CERTIFICATE, Kind.DEVICE_ANCHOR)
        anchors = [_anchor(self._token, item) for item in found if item.trusted]
        self._anchors = {
            RecipientId(spki_id(anchor.certificate.public_key())): anchor for anchor in anchors
        }

    def device(self, device: Device) -> Reader:
        """Return the session object of a checked device, made if need be. Until the next call."""
        reader = self._devices.get(device.id)
        if reader is not None:
            self._devices.move_to_end(device.id)
            return reader
        if len(self._devices) >= MAX_DEVICE_OBJECTS:
            self.calls.destroy(self._devices.popitem(last=False)[1].handle)
        handle = self.calls.create(PackedTemplate(device_public(device.key)))
        size = (device.key.key_size + 7) // 8
        reader = Reader(device.id, RecipientKind.DEVICE, 0, handle, size)
        self._devices[device.id] = reader
        return reader

    def _stands(self, anchor: Anchor) -> bool:
        return self.calls.is_trusted(anchor.handle)

    def _trusted(self, name: str, *kinds: Kind) -> Found:
        try:
            return self._token.trusted_key(unb64u(name), *kinds)
        except (NotFound, InvalidInput) as error:
            raise VerificationFailed(f"the token trusts no {kinds[0]} of that id") from error


def _last(token: Token, object_class: ObjectClass, kind: Kind) -> Found:
    found = token.all(object_class, kind)
    if not found:
        raise NotFound(f"the token has no {kind}")
    return found[-1]


def as_reader(token: Token, found: Found) -> Reader:
    """Return a TRUSTED key as a reader; raise IntegrityFailure if it is not what its id says,
    InvalidInput if nothing is wrapped to keys of that kind.
    """
    kind = _KINDS.get(found.label.kind)
    if kind is None:
        raise InvalidInput(f"nothing is wrapped to {found.label}")
    size = _check_rsa(token, found)
    name = RecipientId(b64u(found.key_id))
    return Reader(name, kind, found.label.number, found.handle.handle, size)


def _check_rsa(token: Token, found: Found) -> int:
    """Return the size of an RSA key's modulus in bytes; raise IntegrityFailure if the key is too
    weak or not what its id says.
    """
    spki = read_rsa(token, found.handle)
    try:
        size = (load_rsa(spki).key_size + 7) // 8
    except InvalidInput as error:
        raise IntegrityFailure(f"{found.label}: {error.message}") from error
    _check_id(found, spki)
    return size


def _ec_key(token: Token, found: Found) -> ec.EllipticCurvePublicKey:
    spki = read_p256(token, found.handle)
    _check_id(found, spki)
    return load_p256(spki)


def _anchor(token: Token, found: Found) -> Anchor:
    try:
        certificate = load_anchor(token.read(found.handle, Attribute.VALUE))
    except InvalidInput as error:
        raise IntegrityFailure(f"{found.label}: {error.message}") from error
    _check_id(found, spki_der(certificate.public_key()))
    return Anchor(found.handle.handle, certificate)


def _check_id(found: Found, spki: bytes) -> None:
    if found.key_id != key_id(spki):
        raise IntegrityFailure(f"the id of {found.label} is not that of its key")
