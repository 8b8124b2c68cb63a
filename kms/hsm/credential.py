"""A person's own credential on a token of their own: makes it, opens it, signs with it.

Every use is a process of its own that gets the PIN through a pipe, so that neither module nor
login outlive it in the program that asked. On the token only ``approval/1`` is touched.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import MultipleTokensReturned, NoSuchToken, PKCS11Error

from kms.domain.people import CredentialKind
from kms.errors import AlreadyExists, ConclaveError, IntegrityFailure, NotFound
from kms.hardening import harden
from kms.hsm import templates
from kms.hsm.attributes import Mapper, Template
from kms.hsm.cryptoki import Cryptoki
from kms.hsm.faults import Faults
from kms.hsm.isolated import run_isolated
from kms.hsm.labels import Kind, numbered
from kms.hsm.profile import Errors
from kms.statements.card import HeldCredential, credential_of, make_card, read_card

A = Attribute
LABEL = numbered(Kind.APPROVAL, 1)
_NO_RULES = Errors(retry=(), relogin=(), fatal=())
_OCTET_STRING_HEAD = 2


@dataclass(frozen=True, slots=True)
class TokenCredential:
    """The credential on one token; ``environment`` is what the module wants to find set.

    All methods raise HsmUnavailable, NotFound (no such token), PinError, IntegrityFailure.
    """

    module: str
    label: str
    pin: str = field(repr=False)
    environment: Mapping[str, str] = field(default_factory=dict)

    def generate(self) -> HeldCredential:
        """Generate the key pair; raise AlreadyExists if the token has one."""
        return self._held(run_isolated(self.environment, _generate, self))

    def open(self) -> HeldCredential:
        """Return the credential that is there, once it has proved itself."""
        return self._held(run_isolated(self.environment, _prove, self))

    def sign(self, digest: bytes) -> bytes:
        """Return r || s (64 bytes) over a SHA-256 digest."""
        return run_isolated(self.environment, _sign, self, digest)

    def _held(self, point: bytes) -> HeldCredential:
        return HeldCredential(credential_of(CredentialKind.TOKEN, _public(point)), self.sign)


class _Card:
    """An open session on the token, in a process of its own."""

    def __init__(self, session: Any, cryptoki: Cryptoki) -> None:
        self.session, self._cryptoki = session, cryptoki

    def find(self, object_class: ObjectClass) -> list[Any]:
        """Return every object of the class that has our label."""
        wanted = Template({A.CLASS: object_class, A.LABEL: str(LABEL)})
        return list(self.session.get_objects(wanted.packed))

    def the(self, object_class: ObjectClass) -> Any:
        """Return the one object of the class that has our label."""
        found = self.find(object_class)
        if not found:
            raise NotFound(
                "the token has no credential for approvals",
                hint="make one: conclave credential new",
            )
        if len(found) > 1:
            raise IntegrityFailure("the token has more than one credential for approvals")
        return found[0]

    def check(self, handle: Any, template: Template) -> None:
        """Raise IntegrityFailure unless the token kept every attribute."""
        wrong = [
            key.name
            for key, packed in template.packed.items()
            if self._cryptoki.read(self.session.handle, handle.handle, key) != packed
        ]
        if wrong:
            raise IntegrityFailure(f"the token changed {', '.join(wrong)}")


def _generate(place: TokenCredential) -> bytes:
    with _opened(place, writable=True) as card:
        if card.find(ObjectClass.PRIVATE_KEY) or card.find(ObjectClass.PUBLIC_KEY):
            raise AlreadyExists("the token has a credential for approvals")
        private, public = _templates()
        domain = card.session.create_domain_parameters(
            KeyType.EC, {A.EC_PARAMS: templates.P256}, local=True
        )
        pair = domain.generate_keypair(
            public_template=public.packed, private_template=private.packed
        )
        try:
            card.check(pair[0], public)
            card.check(pair[1], private)
            return _proved_point(card)
        except ConclaveError:
            for handle in pair:
                handle.destroy()
            raise


def _prove(place: TokenCredential) -> bytes:
    with _opened(place) as card:
        return _proved_point(card)


def _sign(place: TokenCredential, digest: bytes) -> bytes:
    with _opened(place) as card:
        signature: bytes = card.the(ObjectClass.PRIVATE_KEY).sign(digest, mechanism=Mechanism.ECDSA)
        return signature


def _templates() -> tuple[Template, Template]:
    """Return the private and the public half: as a signing key of the service's own, but the public
    half stays on the token, untrusted, to tell which key it is.
    """
    lasting: templates.Attributes = {A.TOKEN: True, A.LABEL: str(LABEL), A.VERIFY: True}
    return templates.signing_private(LABEL), templates.passing_public(KeyType.EC) | lasting


def _proved_point(card: _Card) -> bytes:
    """Return the public point, after the private half has signed what it verifies."""
    point: bytes = card.the(ObjectClass.PUBLIC_KEY)[A.EC_POINT][_OCTET_STRING_HEAD:]
    private = card.the(ObjectClass.PRIVATE_KEY)
    credential = credential_of(CredentialKind.TOKEN, _public(point))
    signer = partial(private.sign, mechanism=Mechanism.ECDSA)
    read_card(make_card("proof", HeldCredential(credential, signer)))
    return point


def _public(point: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError as error:
        raise IntegrityFailure("the token's credential is not a P-256 key") from error


@contextmanager
def _opened(place: TokenCredential, *, writable: bool = False) -> Iterator[_Card]:
    """Log in; the process has no other use, and so keeps its memory to itself."""
    harden()
    cryptoki = Cryptoki(place.module)
    try:
        token = pkcs11.lib(place.module).get_token(token_label=place.label)
        with token.open(rw=writable, user_pin=place.pin, attribute_mapper=Mapper()) as session:
            yield _Card(session, cryptoki)
    except NoSuchToken as error:
        raise NotFound(
            f"there is no token {place.label}", hint="is it plugged in, and its label right?"
        ) from error
    except MultipleTokensReturned as error:
        raise IntegrityFailure(f"more than one token is labelled {place.label}") from error
    except PKCS11Error as error:
        raise Faults(_NO_RULES).translate(error) from error
