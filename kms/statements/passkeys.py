"""What a person says of a passkey with a credential of the register of people.

An *invitation* lets whoever brings its one-time code enrol one passkey in the person's name. An
*admission* lets an approval passkey speak for the person. A ceremony admitted the credential; the
credential vouches for the passkey.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kms.domain.passkeys import Purpose, parse_credential
from kms.domain.people import Register, parse_name
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import decode_record, encode_record, unb64u
from kms.statements.card import load_key
from kms.statements.register import holder_of
from kms.statements.webauthn import RelyingParty

INVITATION = "conclave-passkey-invitation+jws"
ADMISSION = "conclave-passkey-admission+jws"
DAY = 24 * 3600
MAX_INVITATION_SECONDS = 3 * DAY
MAX_ADMISSION_SECONDS = 400 * DAY
"""How long an admission counts at most: then the person vouches for the passkey again."""
MAX_SKEW = 300
"""How far clocks may differ, in seconds."""
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Invitation:
    """Whoever brings the code whose SHA-256 (base64url) this is may enrol a passkey in this
    person's name, once. Times in whole seconds.
    """

    site: str
    person: str
    purpose: Purpose
    code_sha256: str
    issued: int
    expires: int


@dataclass(frozen=True, slots=True)
class Admission:
    """Statements by this passkey are the person's. ``credential`` is its id, ``spki`` its public
    key (both base64url), ``rp_id`` and ``origin`` where it answers. Times in whole seconds.
    """

    site: str
    person: str
    credential: str
    spki: str
    rp_id: str
    origin: str
    issued: int
    expires: int

    @property
    def party(self) -> RelyingParty:
        """Where the passkey answers."""
        return RelyingParty(self.rp_id, self.origin)


_Vow = TypeVar("_Vow", Invitation, Admission)


def sign_invitation(invitation: Invitation, kid: str, signer: jws.RawSigner) -> str:
    """Return an invitation as a JWS; raise InvalidInput for one that would not count."""
    _check_invitation(invitation)
    return jws.sign(encode_record(invitation), typ=INVITATION, kid=kid, signer=signer)


def sign_admission(admission: Admission, kid: str, signer: jws.RawSigner) -> str:
    """Return an admission as a JWS; raise InvalidInput for one that would not count."""
    _check_admission(admission)
    return jws.sign(encode_record(admission), typ=ADMISSION, kid=kid, signer=signer)


def verify_invitation(token: str, register: Register, at: int) -> Invitation:
    """Return an invitation that counts at that time; raise VerificationFailed unless a credential
    of the person it names, who is in office, signed it for this site.
    """
    found = _verify(token, INVITATION, Invitation, register, at)
    _accept(lambda: _check_invitation(found))
    return found


def verify_admission(token: str, register: Register, at: int) -> Admission:
    """Return an admission that counts at that time; raise VerificationFailed unless a credential
    of the person it names, who is in office, signed it for this site.
    """
    found = _verify(token, ADMISSION, Admission, register, at)
    _accept(lambda: _check_admission(found))
    return found


def peek_invitation(token: str) -> Invitation:
    """Return an invitation WITHOUT checking its signature; raise InvalidInput."""
    try:
        return decode_record(jws.unverified_payload(token, typ=INVITATION), Invitation)
    except VerificationFailed as error:
        raise InvalidInput(f"not an invitation: {error.message}") from error


def peek_admission(token: str) -> Admission:
    """Return an admission WITHOUT checking its signature; raise InvalidInput."""
    try:
        return decode_record(jws.unverified_payload(token, typ=ADMISSION), Admission)
    except VerificationFailed as error:
        raise InvalidInput(f"not an admission: {error.message}") from error


def _verify(token: str, typ: str, kind: type[_Vow], register: Register, at: int) -> _Vow:
    person, key = holder_of(register, jws.key_id(token, typ=typ))
    try:
        found = decode_record(jws.verify(token, typ=typ, key=key), kind)
    except InvalidInput as error:
        raise VerificationFailed(error.message) from error
    if found.site != register.site:
        raise VerificationFailed("the passkey is vouched for at another site")
    if found.person != person.name or not person.in_office(at):
        raise VerificationFailed("a passkey is vouched for in another's name, or out of office")
    if not found.issued - MAX_SKEW <= at < found.expires:
        raise VerificationFailed(
            "the passkey is not vouched for at that time", hint="conclave passkey admit"
        )
    return found


def _accept(check: Callable[[], None]) -> None:
    try:
        check()
    except InvalidInput as error:
        raise VerificationFailed(error.message) from error


def _check_invitation(invitation: Invitation) -> None:
    parse_name(invitation.person)
    if len(unb64u(invitation.code_sha256)) != _DIGEST_BYTES:
        raise InvalidInput("an invitation names the SHA-256 of its code")
    _check_life(invitation.issued, invitation.expires, MAX_INVITATION_SECONDS)


def _check_admission(admission: Admission) -> None:
    parse_name(admission.person)
    parse_credential(admission.credential)
    _check_life(admission.issued, admission.expires, MAX_ADMISSION_SECONDS)
    try:
        load_key(admission.spki)
    except VerificationFailed as error:
        raise InvalidInput(error.message) from error


def _check_life(issued: int, expires: int, most: int) -> None:
    if not 0 < expires - issued <= most:
        raise InvalidInput(f"a passkey is vouched for during at most {most} seconds")
