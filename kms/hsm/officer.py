"""A token in the hands of its officers: what a ceremony does on it (ceremonies/ports.py).

Private keys are made in a user's session, everything that is TRUSTED in a security officer's, and
a token takes only one login at a time: each act opens its session and closes it. What was made is
read back, attribute by attribute. Nothing that is there is ever replaced.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pkcs11 import Attribute, KeyType, ObjectClass

from kms.ceremonies.ports import EscrowPair, SigningUse
from kms.domain.models import RecipientKind, ReleaseClass
from kms.errors import AlreadyExists, IntegrityFailure, NotFound
from kms.hsm import templates
from kms.hsm.attributes import Template
from kms.hsm.init_token import init_token
from kms.hsm.isolated import run_isolated
from kms.hsm.known_answers import check_known_answers
from kms.hsm.labels import Kind, Label, named, numbered, vault_public
from kms.hsm.login import Login
from kms.hsm.profile import Profile
from kms.hsm.publickeys import (
    key_id,
    load_anchor,
    load_p256,
    load_rsa,
    read_p256,
    read_rsa,
)
from kms.hsm.readback import check_attributes, read_back
from kms.hsm.token import Token
from kms.statements import jws

VAULT_BITS = 3072
ESCROW_BITS = 4096
_PROOF = b"conclave-escrow-proof-v1"


class OfficerToken:
    """Implements CeremonyToken over PKCS#11. Holds both PINs: lives in a ceremony's process."""

    def __init__(self, profile: Profile, label: str, *, so_pin: str, user_pin: str) -> None:
        self._profile = profile
        self._label = label
        self._so_pin = so_pin
        self._user_pin = user_pin

    def __repr__(self) -> str:
        return f"OfficerToken({self._label!r})"

    @property
    def label(self) -> str:
        """The token's label."""
        return self._label

    def initialise(self) -> None:
        """Initialise the empty token in a process of its own; see init_token."""
        run_isolated({}, init_token, self._profile, self._label, self._so_pin, self._user_pin)

    def self_test(self) -> None:
        """Ask what the profile says the token answers; see known_answers."""
        with self._user() as token:
            check_known_answers(token)

    def random(self, size: int) -> bytes:
        """Return bytes from the token's generator."""
        with self._user() as token:
            return token.random(size)

    def generate_vault(self, version: int) -> bytes:
        """Generate a vault pair; its public half dies with this session."""
        label = numbered(Kind.VAULT, version)
        with self._user() as token:
            _refuse_twin(token, label, ObjectClass.PRIVATE_KEY)
            private = templates.vault_private(label)
            passing = templates.passing_public(KeyType.RSA)
            public, _ = token.generate_rsa(VAULT_BITS, passing, private)
            read_back(token, private)
            return read_rsa(token, public)

    def generate_signing(self, use: SigningUse, version: int) -> bytes:
        """Generate a P-256 signing pair; its public half dies with this session."""
        label = numbered(Kind(use.value), version)
        with self._user() as token:
            _refuse_twin(token, label, ObjectClass.PRIVATE_KEY)
            private = templates.signing_private(label)
            passing = templates.passing_public(KeyType.EC)
            public, _ = token.generate_p256(templates.P256, passing, private)
            read_back(token, private)
            return read_p256(token, public)

    def generate_row_mac(self, version: int) -> None:
        """Generate the row-MAC key."""
        label = numbered(Kind.ROW_MAC, version)
        with self._user() as token:
            _refuse_twin(token, label, ObjectClass.SECRET_KEY)
            template = templates.row_mac(label)
            token.generate_secret(template)
            read_back(token, template)

    def generate_escrow(self, swk: bytes) -> EscrowPair:
        """Generate an RSA-4096 pair as session objects and wrap its private half by AES-KWP."""
        with self._user() as token:
            public, private = token.generate_rsa(
                ESCROW_BITS,
                templates.passing_public(KeyType.RSA),
                templates.escrow_private_passing(),
            )
            wrapping = token.create(templates.share_wrapping_key(swk))
            blob = token.wrap_padded(wrapping, private)
            return EscrowPair(read_rsa(token, public), blob)

    def prove_escrow(self, swk: bytes, pair: EscrowPair) -> None:
        """Recover the private half in the token; let it open what the public half wrapped."""
        with self._user() as token:
            unwrapping = token.create(templates.share_unwrapping_key(swk))
            private = token.unwrap_padded(unwrapping, pair.blob, templates.escrow_recovered())
            key = token.generate_secret(templates.epoch_key(ReleaseClass.ROSTER))
            public = token.create(templates.device_public(load_rsa(pair.spki)))
            again = token.unwrap_epoch(private, token.wrap(public, key))
            if token.cmac(again, _PROOF) != token.cmac(key, _PROOF):
                raise IntegrityFailure("the escrow key does not open what it should")

    def sign(self, use: SigningUse, version: int, digest: bytes) -> bytes:
        """Return r || s over a SHA-256 digest."""
        with self._user() as token:
            label = numbered(Kind(use.value), version)
            key = token.find(ObjectClass.PRIVATE_KEY, label)
            return token.sign_digest(key.handle, digest)

    def trust_vault(self, version: int, release_class: ReleaseClass, spki: bytes) -> None:
        """Create the TRUSTED copy of a vault's public key, under the label of the release class."""
        label = vault_public(version, release_class)
        self._trust(templates.trusted_rsa(label, key_id(spki), load_rsa(spki)))

    def trust_escrow(self, generation: int, spki: bytes) -> None:
        """Create the TRUSTED public key of an escrow generation."""
        label = numbered(Kind.ESCROW, generation)
        self._trust(templates.trusted_rsa(label, key_id(spki), load_rsa(spki)))

    def trust_signing(self, use: SigningUse, version: int, spki: bytes) -> None:
        """Create the TRUSTED copy of an own signing key's public half."""
        label = numbered(Kind(use.value), version)
        self._trust(templates.trusted_ec(label, key_id(spki), load_p256(spki)))

    def trust_recipient(self, kind: RecipientKind, name: str, spki: bytes) -> None:
        """Create the TRUSTED public key of a meeting server or recorder."""
        label = named(Kind(kind.value), name)
        self._trust(templates.trusted_rsa(label, key_id(spki), load_rsa(spki)))

    def trust_roster_authority(self, name: str, spki: bytes) -> None:
        """Create the TRUSTED public key of a roster authority."""
        label = named(Kind.ROSTER_AUTHORITY, name)
        self._trust(templates.trusted_ec(label, key_id(spki), load_p256(spki)))

    def trust_device_anchor(self, name: str, certificate: bytes) -> None:
        """Create the TRUSTED certificate of an authority (basicConstraints CA) of devices."""
        anchor = load_anchor(certificate)
        spki = jws.spki_der(anchor.public_key())
        label = named(Kind.DEVICE_ANCHOR, name)
        self._trust(templates.trusted_certificate(label, key_id(spki), anchor))

    def revoke(self, label: str) -> None:
        """Destroy a TRUSTED object; raise NotFound."""
        with self._officer() as token:
            found = [item for item in token.objects() if item.trusted and str(item.label) == label]
            if not found:
                raise NotFound(f"the token trusts nothing labelled {label}")
            for item in found:
                token.destroy(item.handle)

    def labels(self) -> tuple[str, ...]:
        """Return the labels of the service's objects on the token."""
        with self._user() as token:
            return tuple(sorted({str(item.label) for item in token.objects()}))

    def _trust(self, template: Template) -> None:
        with self._officer() as token:
            label = template.packed[Attribute.LABEL].decode()
            wanted = template.packed[Attribute.ID]
            if any(
                str(item.label) == label or item.key_id == wanted
                for item in token.objects()
                if item.trusted
            ):
                raise AlreadyExists(f"the token already trusts {label} or the same key")
            handle = token.create(template)
            check_attributes(token, handle, template)
            read_back(token, template)

    @contextmanager
    def _user(self) -> Iterator[Token]:
        with Token(self._profile, self._label, self._user_pin, writable=True) as token:
            yield token

    @contextmanager
    def _officer(self) -> Iterator[Token]:
        with Token(self._profile, self._label, self._so_pin, login=Login.OFFICER) as token:
            yield token


def _refuse_twin(token: Token, label: Label, object_class: ObjectClass) -> None:
    if any((item.label, item.object_class) == (label, object_class) for item in token.objects()):
        raise AlreadyExists(f"the token already has {label}")
