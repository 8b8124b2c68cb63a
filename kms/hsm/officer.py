"""A token in the hands of its officers: what a ceremony does on it (ceremonies/ports).

Private keys are made in a user's session, everything that is TRUSTED in a security officer's, and
a token takes only one login at a time: each act opens its session and closes it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pkcs11 import ObjectClass

from kms.ceremonies.ports import (
    EscrowOpener,
    EscrowPair,
    RewrapItem,
    SigningUse,
    VaultOpener,
)
from kms.domain.models import RecipientKind, ReleaseClass
from kms.domain.rows import Row, SealedRow
from kms.errors import PinError
from kms.hsm import inventory, making, rewrap, templates
from kms.hsm.attributes import Template
from kms.hsm.checkpoints import Checkpoints
from kms.hsm.escrow import decrypt_escrowed, make_escrow, prove_disk_escrow
from kms.hsm.init_token import check_pin, erase_token, init_token
from kms.hsm.isolated import run_isolated
from kms.hsm.keyring import Keyring, SiteKeyring
from kms.hsm.known_answers import check_known_answers
from kms.hsm.labels import Kind, named, numbered, partner, vault_public
from kms.hsm.login import has_token, reloading
from kms.hsm.logins import Logins, TokenPins
from kms.hsm.profile import Profile
from kms.hsm.publickeys import key_id, load_anchor, load_p256, load_rsa
from kms.hsm.rows import RowSealer
from kms.statements import jws
from kms.statements.canonical import read_row


class OfficerToken:
    """Implements CeremonyToken over PKCS#11. Lives in a ceremony's process, one for each token.

    PINs come from ``pins`` when an act needs them and are not kept. While ``rewrap`` is running,
    acts of the user share its session; acts of the officers raise StateNotAllowed.
    """

    def __init__(self, profile: Profile, label: str, pins: TokenPins) -> None:
        self._profile = profile
        self._label = label
        self._pins = pins
        self._logins = Logins(profile, label, pins)
        self._user = self._logins.user
        self._officer = self._logins.officer

    def __repr__(self) -> str:
        return f"OfficerToken({self._label!r})"

    @property
    def label(self) -> str:
        """The token's label."""
        return self._label

    # the token itself

    def initialise(self) -> None:
        """Initialise the empty token in a process of its own; see init_token."""
        pins = self._pins.so_pin(self._label), self._pins.user_pin(self._label)
        with reloading(self._profile):
            run_isolated({}, init_token, self._profile, self._label, *pins)

    def exists(self) -> bool:
        """Whether a token of that label is there."""
        return has_token(self._profile, self._label)

    def erase(self) -> None:
        """Erase the token, in a process of its own, if it is there; see erase_token."""
        if not self.exists():
            return
        pin = self._pins.so_pin(self._label)
        with reloading(self._profile):
            run_isolated({}, erase_token, self._profile, self._label, pin)

    def change_so_pin(self, new: str) -> None:
        """Change the SO PIN and log in with it. Bears being repeated after an interruption: where
        the token does not take the old PIN, the new one has to be its PIN already.
        """
        check_pin(self._profile, new)
        session = self._officer()
        try:
            session.open()
        except PinError:
            self._logins.prove_so_pin(new)
            return
        with session:
            session.change_pin(new)
        self._logins.prove_so_pin(new)

    def self_test(self) -> None:
        """Ask what the profile says the token answers; see known_answers."""
        with self._user() as token:
            check_known_answers(token)

    def random(self, size: int) -> bytes:
        """Return bytes from the token's generator."""
        with self._user() as token:
            return token.random(size)

    # keys made on it

    def generate_vault(self, version: int) -> bytes:
        """Generate a vault pair; see making."""
        with self._user() as token:
            return making.make_vault(token, version)

    def prove_vault(self, version: int, release_class: ReleaseClass) -> bytes:
        """Let a vault key open what was wrapped to its public half; return that half."""
        with self._user() as token:
            return rewrap.prove_vault(token, vault_public(version, release_class))

    def generate_signing(self, use: SigningUse, version: int) -> bytes:
        """Generate a P-256 signing pair; see making."""
        with self._user() as token:
            return making.make_signing(token, use, version)

    def generate_row_mac(self, version: int) -> None:
        """Generate the row-MAC key."""
        with self._user() as token:
            making.make_row_mac(token, version)

    def generate_escrow(self, swk: bytes) -> EscrowPair:
        """Generate an escrow pair that leaves the token at once; see escrow."""
        with self._user() as token:
            return make_escrow(token, swk)

    def prove_escrow(self, swk: bytes, pair: EscrowPair) -> None:
        """Recover the private half in the token; let it open what the public half wrapped."""
        with self._user() as token:
            rewrap.prove_escrow(token, swk, pair)

    def generate_disk_escrow(self, swk: bytes) -> EscrowPair:
        """Generate a disk escrow pair that leaves the token at once; see escrow."""
        with self._user() as token:
            return make_escrow(token, swk)

    def prove_disk_escrow(self, swk: bytes, pair: EscrowPair) -> None:
        """Recover the private half in the token; let it decrypt what the public half encrypted."""
        with self._user() as token:
            prove_disk_escrow(token, swk, pair)

    def sign(self, use: SigningUse, version: int, digest: bytes) -> bytes:
        """Return r || s over a SHA-256 digest."""
        with self._user() as token:
            label = numbered(Kind(use.value), version)
            key = token.find(ObjectClass.PRIVATE_KEY, label)
            return token.sign_digest(key.handle, digest)

    # whom it trusts

    def trust_vault(self, version: int, release_class: ReleaseClass, spki: bytes) -> None:
        """Create the TRUSTED copy of a vault's public key, under the label of the release class."""
        label = vault_public(version, release_class)
        self._trust(templates.trusted_rsa(label, key_id(spki), load_rsa(spki)))

    def trust_escrow(self, generation: int, spki: bytes) -> None:
        """Create the TRUSTED public key of an escrow generation."""
        label = numbered(Kind.ESCROW, generation)
        self._trust(templates.trusted_rsa(label, key_id(spki), load_rsa(spki)))

    def trust_disk_escrow(self, generation: int, spki: bytes) -> None:
        """Create the TRUSTED disk escrow key of an escrow generation, which encrypts only."""
        label = numbered(Kind.DISK_ESCROW, generation)
        self._trust(templates.disk_escrow_public(label, key_id(spki), load_rsa(spki)))

    def trust_signing(self, use: SigningUse, version: int, spki: bytes) -> None:
        """Create the TRUSTED copy of an own signing key's public half."""
        label = numbered(Kind(use.value), version)
        self._trust(templates.trusted_ec(label, key_id(spki), load_p256(spki)))

    def trust_recipient(self, kind: RecipientKind, name: str, spki: bytes) -> None:
        """Create the TRUSTED public key of a meeting server, a recorder or a recovery's target."""
        label = named(Kind(kind.value), name)
        self._trust(templates.trusted_rsa(label, key_id(spki), load_rsa(spki)))

    def trust_partner(self, space: str, version: int, spki: bytes) -> None:
        """Create the TRUSTED copy of another space's vault key."""
        label = partner(space, version)
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
        """Destroy a TRUSTED object in an officer's session; raise NotFound."""
        with self._officer() as token:
            making.revoke(token, label)

    def destroy(self, label: str) -> int:
        """Destroy every object of a label, secret or trusted; return how many there were."""
        with self._user() as token:
            return making.destroy(token, label)

    # what it holds

    def labels(self) -> tuple[str, ...]:
        """Return the labels of the service's objects on the token."""
        with self._user() as token:
            return tuple(sorted({str(item.label) for item in token.objects()}))

    def dump(self, label: str = "") -> list[dict[str, Any]]:
        """Return every object of the service, or those of a label, with all attributes; see
        inventory.
        """
        with self._user() as token:
            return inventory.dump(token, label)

    # envelopes, rows, the log

    def rewrap(
        self,
        opener: EscrowOpener | VaultOpener,
        targets: Sequence[str],
        items: Iterable[RewrapItem],
    ) -> Iterator[tuple[bytes, ...]]:
        """Yield each item's key wrapped to the targets; see rewrap. One session for all."""
        with self._user() as token:
            yield from rewrap.rewrap(token, opener, targets, items)

    def recover_disk_key(self, opener: EscrowOpener, escrowed: bytes) -> bytes:
        """Return what was encrypted to the disk escrow key that the opener opens; see escrow."""
        with self._user() as token:
            return decrypt_escrowed(token, opener.swk, opener.blob, escrowed)

    def seal_rows(self, rows: Sequence[Row]) -> tuple[SealedRow, ...]:
        """Return the rows with their MACs; raise InvalidInput for a row that is none."""
        for row in rows:
            read_row(row)
        with self._user() as token:
            return RowSealer.seal_own(Keyring(token), rows)

    def check_rows(self, rows: Sequence[SealedRow]) -> None:
        """Raise IntegrityFailure unless every MAC holds."""
        with self._user() as token:
            RowSealer.check(Keyring(token), rows)

    def sign_checkpoint(self, origin: str, size: int, root: bytes, proof: Sequence[bytes]) -> str:
        """Return the signed note of a head that extends the last one; raise IntegrityFailure."""
        with self._user() as token:
            return Checkpoints(token, origin).sign(SiteKeyring(token), size, root, proof)

    def last_checkpoint(self, origin: str) -> tuple[int, bytes]:
        """Return size and root of the last head signed; (0, empty root) before the first."""
        with self._user() as token:
            return Checkpoints(token, origin).last()

    def adopt_checkpoint(self, size: int, root: bytes) -> None:
        """Begin with the head of a log that an earlier token signed; see checkpoints."""
        with self._user() as token:
            Checkpoints(token, "").adopt(size, root)

    def _trust(self, template: Template) -> None:
        with self._officer() as token:
            making.trust(token, template)
