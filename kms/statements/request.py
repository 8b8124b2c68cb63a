"""Requests for what several people must approve, frozen and signed by whoever asks, and the check
of all that was handed in for one. HSM workers, the service and the offline verifier share it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kms.domain.approvals import (
    RULES,
    EpochTarget,
    GrantWish,
    MeetingTarget,
    Parameters,
    PolicyChange,
    Request,
    Rule,
    Sharing,
    SitePolicyChange,
    VaultTarget,
    check_needs,
    unmet,
)
from kms.domain.asked import IRREVOCABLE
from kms.domain.disks import DiskTarget, DiskWish, check_description, check_size
from kms.domain.ids import (
    parse_disk,
    parse_epoch,
    parse_meeting,
    parse_request_id,
    parse_serial,
    parse_space,
)
from kms.domain.people import Part, Person, Register
from kms.domain.policies import GroupNeed
from kms.domain.reports import ReportTarget, parse_report
from kms.domain.text import check_reason
from kms.errors import InvalidInput, QuorumNotMet, VerificationFailed
from kms.statements import jws
from kms.statements.approval import TYP as APPROVAL_TYP
from kms.statements.approval import Approval
from kms.statements.canonical import canonical, decode_record, digest, encode_record, unb64u
from kms.statements.passkeys import MAX_SKEW, peek_admission
from kms.statements.personal import peek_payload, peek_proof, verify_personal

TYP = "conclave-request+jws"
MAX_SECONDS = 30 * 24 * 3600
"""How long a request can be open at most."""
NONCE_BYTES = 16
_MAX_REASON = 1000
_WHERE = {True: "the site, not about a space", False: "a space"}


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """What is asked for, exactly as it will run. ``space`` is empty for the site's own.

    ``parameters`` are builtins in the shape of the operation's rule, ``register`` the SHA-256 of
    the register of people in force (its JWS), ``nonce`` 16 random bytes, both base64url. Times in
    whole seconds.
    """

    site: str
    space: str
    id: str
    operation: str
    parameters: dict[str, Any]
    reason: str
    requester: str
    register: str
    quorum: tuple[GroupNeed, ...]
    nonce: str
    issued: int
    expires: int

    def digest(self) -> str:
        """Return the SHA-256 of its canonical form, which approvals name."""
        return digest(encode_record(self))

    @property
    def rule(self) -> Rule:
        """The rule of its operation; raise InvalidInput."""
        try:
            return RULES[self.operation]
        except KeyError:
            raise InvalidInput("the operation is nothing that is approved") from None

    def parameters_as(self) -> Parameters:
        """Return the parameters in their type; raise InvalidInput unless they are exactly that."""
        try:
            found: Parameters = msgspec.convert(self.parameters, self.rule.parameters)
        except msgspec.ValidationError as error:
            raise InvalidInput(
                "the parameters of {operation}: {error}",
                about={"operation": self.operation, "error": error},
            ) from error
        if encode_record(found) != canonical(self.parameters):
            raise InvalidInput(
                "the parameters of {operation} are not in their exact form",
                about={"operation": self.operation},
            )
        return found


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request whose signature holds, who asked, and whose approvals hold, by person. ``lapses``
    says of those who signed by a passkey when its admission ends, in seconds.
    """

    wanted: OperationRequest
    parameters: Parameters
    requester: Person
    approvals: dict[str, Approval]
    lapses: dict[str, int] = field(default_factory=dict)

    def lapsed(self, name: str, at: int) -> bool:
        """Whether somebody signed by a passkey whose admission has ended at that time."""
        return name in self.lapses and at >= self.lapses[name]

    def lacks_credential(self, present: Sequence[Person]) -> bool:
        """Whether one of the approvers ``present`` has yet to have signed with a credential of the
        register. An authenticator shows no text: what a passkey signs may be another request than
        its page showed. What nothing undoes wants a signature from a machine that read it itself.
        """
        irrevocable = self.wanted.operation in IRREVOCABLE
        return irrevocable and all(one.name in self.lapses for one in present)


def sign_request(request: OperationRequest, kid: str, signer: jws.RawSigner) -> str:
    """Return a request as its requester's JWS."""
    return jws.sign(encode_record(request), typ=TYP, kid=kid, signer=signer)


def peek_request(token: str) -> OperationRequest:
    """Return a request WITHOUT checking its signature; raise InvalidInput."""
    try:
        return decode_record(peek_payload(token, TYP), OperationRequest)
    except VerificationFailed as error:
        raise InvalidInput(f"not a request: {error.message}") from error


def verify_request(record: Request, site: str, register: Register, sha256: str) -> CheckedRequest:
    """Return a stored request with everything in it checked, but for time and quorum.

    ``sha256`` is that of the register's JWS. Raise VerificationFailed, InvalidInput.
    """
    wanted = peek_request(record.request)
    if (wanted.site, wanted.space, wanted.id) != (site, record.space, record.id):
        raise VerificationFailed("the request is about something else")
    if wanted.register != sha256:
        raise VerificationFailed(
            "the register of people has changed since the request was made",
            hint="make the request again",
        )
    requester = verify_personal(record.request, TYP, register, wanted.issued).person
    if requester.name != wanted.requester or not requester.in_office(wanted.issued):
        raise VerificationFailed("the request is made in another's name, or out of office")
    parameters = check_form(wanted)
    approvals: dict[str, Approval] = {}
    lapses = _lapse(record.request, TYP, requester.name)
    for token in record.approvals:
        person, approval = check_approval(wanted, register, token)
        if person.name in approvals:
            raise VerificationFailed("{name} has approved this before", about={"name": person.name})
        approvals[person.name] = approval
        lapses |= _lapse(token, APPROVAL_TYP, person.name)
    return CheckedRequest(wanted, parameters, requester, approvals, lapses)


def _lapse(token: str, typ: str, name: str) -> dict[str, int]:
    """Return when the admission ends that a verified statement by a passkey carries, by person."""
    proof = peek_proof(token, typ)
    return {name: peek_admission(proof.admission).expires} if proof else {}


def check_form(wanted: OperationRequest) -> Parameters:
    """Return the parameters of a request that can mean something, whoever signed it; raise
    InvalidInput.
    """
    parse_request_id(wanted.id)
    if wanted.space:
        parse_space(wanted.space)
    if bool(wanted.space) is wanted.rule.site:
        raise InvalidInput(f"{wanted.operation} is about {_WHERE[wanted.rule.site]}")
    if len(unb64u(wanted.nonce)) != NONCE_BYTES:
        raise InvalidInput(f"a nonce has {NONCE_BYTES} bytes")
    if not 0 < len(wanted.reason) <= _MAX_REASON:
        raise InvalidInput(
            "a request says why in 1 to {most} characters", about={"most": _MAX_REASON}
        )
    check_reason(wanted.reason)
    if not 0 < wanted.expires - wanted.issued <= MAX_SECONDS:
        raise InvalidInput(
            "a request is open for at most {most} seconds", about={"most": MAX_SECONDS}
        )
    check_needs(wanted.quorum)
    parameters = wanted.parameters_as()
    _check_names(wanted, parameters)
    return parameters


def _check_names(wanted: OperationRequest, parameters: Parameters) -> None:
    """Raise InvalidInput unless what the parameters name can exist and lies in the space."""
    if isinstance(parameters, EpochTarget | MeetingTarget | Sharing):
        parse_meeting(parameters.meeting)
    match parameters:
        case EpochTarget():
            parse_epoch(parameters.epoch)
        case Sharing() if parse_space(parameters.partner) == wanted.space:
            raise InvalidInput("a space does not share with itself")
        case PolicyChange() if parameters.policy.space != wanted.space:
            raise InvalidInput("the policy is another space's")
        case PolicyChange() | SitePolicyChange() | VaultTarget() if parameters.version < 1:
            raise InvalidInput("versions count from 1")
        case DiskWish():
            _check_disk(parameters)
        case DiskTarget():
            parse_disk(parameters.disk)
        case ReportTarget():
            parse_report(parameters.report)
        case GrantWish() if not 0 <= parameters.starts < parameters.expires:
            raise InvalidInput("a grant ends after it starts")
        case _:
            return


def _check_disk(wish: DiskWish) -> None:
    parse_disk(wish.disk)
    parse_serial(wish.serial)
    check_description(wish.label, wish.mount)
    check_size(wish.size)
    if wish.replaces and parse_disk(wish.replaces) == wish.disk:
        raise InvalidInput("a disk does not replace itself")


def check_approval(
    wanted: OperationRequest, register: Register, token: str
) -> tuple[Person, Approval]:
    """Return whose approval it is, and it; raise VerificationFailed unless it counts."""
    approval = peek_approval(token)
    person = verify_personal(token, APPROVAL_TYP, register, approval.signed).person
    name = person.name
    if approval.person != name:
        raise VerificationFailed(
            "the approval of {person} was signed by {name}",
            about={"person": approval.person, "name": name},
        )
    if approval.request != wanted.digest():
        raise VerificationFailed(
            "the approval of {name} is for another request", about={"name": name}
        )
    check_voter(wanted, person)
    if not wanted.issued <= approval.signed < wanted.expires:
        raise VerificationFailed(
            "the approval of {name} was not signed while it was asked for", about={"name": name}
        )
    if not person.in_office(approval.signed):
        raise VerificationFailed("{name} was not in office when signing", about={"name": name})
    return person, approval


def peek_approval(token: str) -> Approval:
    """Return an approval WITHOUT checking its signature; raise VerificationFailed."""
    try:
        return decode_record(peek_payload(token, APPROVAL_TYP), Approval)
    except InvalidInput as error:
        raise VerificationFailed("not an approval") from error


def check_voter(wanted: OperationRequest, person: Person) -> None:
    """Raise VerificationFailed for somebody whose approval would never count."""
    name = person.name
    if name == wanted.requester:
        raise VerificationFailed("nobody approves a request of their own")
    if person.part is not Part.OFFICER:
        raise VerificationFailed(
            "{name} is {part}, not an officer", about={"name": name, "part": person.part}
        )
    if not any(_counts(person, need, wanted.space) for need in wanted.quorum):
        raise VerificationFailed(
            "{name} has no say in this: another group or another space", about={"name": name}
        )


def check_quorum(checked: CheckedRequest, register: Register, at: int) -> None:
    """Raise VerificationFailed if the request has expired at ``at`` or was signed later,
    QuorumNotMet with what is missing. Whoever signed by a passkey counts while its admission does:
    the time of signing is the signer's own word.
    """
    wanted = checked.wanted
    if at >= wanted.expires:
        raise VerificationFailed("the request has expired", hint="make the request again")
    if checked.lapsed(wanted.requester, at):
        raise VerificationFailed(
            "the admission of the passkey that asked has ended", hint="make the request again"
        )
    signed = [wanted.issued, *(one.signed for one in checked.approvals.values())]
    if max(signed) > at + MAX_SKEW:
        raise VerificationFailed("a signature is from the future: a clock is wrong")
    signers = (name for name in checked.approvals if not checked.lapsed(name, at))
    people = [register.person(name) for name in signers]
    present = [person for person in people if person.in_office(at)]
    missing = unmet(wanted.quorum, wanted.space, present)
    if missing:
        raise QuorumNotMet(
            "the quorum is not met: {missing}",
            hint="conclave approval show says who is missing",
            about={"missing": spell(missing)},
        )
    if checked.lacks_credential(present):
        raise QuorumNotMet(
            "nothing undoes this, and nobody has approved it with a credential of the register",
            hint="an officer who has not approved it signs with a credential: "
            "conclave approval sign",
        )


def spell(needs: Sequence[GroupNeed]) -> str:
    """Return needs in words."""
    sides = {need: f" for {need.space}" if need.space else "" for need in needs}
    return "; ".join(f"{need.count} of group {need.group}{sides[need]}" for need in needs)


def _counts(person: Person, need: GroupNeed, space: str) -> bool:
    return person.group == need.group and person.reaches(need.space or space)
