"""Whose word counts: checks approvals one by one, and whether those that hold are enough.

Quorums count people. An approval counts for the person in whose name it was handed in, if they
signed exactly this request with a credential of their own while in office.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from kms.ceremonies.ceremony import Needs
from kms.ceremonies.plan import PlanFile
from kms.domain.people import Credential, Group, Part, Person, Register
from kms.errors import InvalidInput, NotFound, QuorumNotMet, VerificationFailed
from kms.statements import jws
from kms.statements.approval import TYP, Approval, ApprovalRequest, verify_approval
from kms.statements.card import credential_key


@dataclass(frozen=True, slots=True)
class Missing:
    """What a quorum lacks: people whose approval is needed, parts that nobody on the roster has,
    and how many more officers of which group. Empty, and so false, if nothing is missing.
    """

    people: tuple[str, ...]
    parts: tuple[Part, ...]
    groups: tuple[tuple[str, int], ...]

    def __bool__(self) -> bool:
        return bool(self.people or self.parts or self.groups)


def check_approval(
    register: Register, request: ApprovalRequest, person: str, token: str, now: int
) -> Approval:
    """Return a person's approval; raise VerificationFailed that names the person and the reason."""
    signatory = _signatory(register, request, person, now)
    credential = _credential(register, signatory, token)
    try:
        approval = verify_approval(token, credential_key(credential))
    except VerificationFailed as error:
        text = f"the approval of {person} does not hold: {error.message}"
        raise VerificationFailed(text) from error
    if approval.person != person:
        raise VerificationFailed(f"the approval of {person} is made out to {approval.person}")
    if approval.request != request.digest():
        raise VerificationFailed(
            f"the approval of {person} is for another request: another plan, or another run of it"
        )
    _check_times(request, signatory, approval.signed)
    return approval


def check_quorum(
    register: Register,
    request: ApprovalRequest,
    tokens: Mapping[str, str],
    needs: Needs,
    now: int,
) -> tuple[Approval, ...]:
    """Return the approvals of a quorum; ``tokens`` maps a person to their approval's JWS.

    Raise VerificationFailed for any approval that does not hold, QuorumNotMet with everything
    that is missing.
    """
    if request.site != register.site:
        raise VerificationFailed(f"the request is for {request.site}, not for {register.site}")
    approvals = [
        check_approval(register, request, person, token, now) for person, token in tokens.items()
    ]
    lacking = missing(register, request, tokens, needs)
    if lacking:
        raise QuorumNotMet(f"the quorum is not met: {_spell(lacking)}")
    return tuple(approvals)


def missing(
    register: Register, request: ApprovalRequest, approved: Collection[str], needs: Needs
) -> Missing:
    """Return what a quorum lacks if the approvals of ``approved`` hold."""
    roster = [_known(register, name) for name in request.roster]
    others = [person for person in roster if person.part is not Part.OFFICER]
    officers = [person for person in roster if person.name in approved]
    counts = [(group.name, _lacks(group, officers)) for group in needed_groups(register, needs)]
    parts = set(Part) - {Part.OFFICER} - {person.part for person in others}
    return Missing(
        tuple(person.name for person in others if person.name not in approved),
        tuple(sorted(parts)),
        tuple((name, count) for name, count in counts if count > 0),
    )


def needed_groups(register: Register, needs: Needs) -> tuple[Group, ...]:
    """Return the groups whose threshold a ceremony needs."""
    return register.groups[:1] if needs is Needs.SECURITY else register.groups


def check_roster(register: Register, file: PlanFile, needs: Needs, now: int) -> None:
    """Raise InvalidInput unless the plan's people have the parts that it gives them, are all in
    office, and are enough.
    """
    if file.site != register.site:
        raise InvalidInput(f"the plan is for {file.site}, the register for {register.site}")
    _check_part(register, file.administrator, Part.ADMINISTRATOR, now)
    _check_part(register, file.witness, Part.WITNESS, now)
    _check_part(register, file.auditor, Part.AUDITOR, now)
    officers = [_check_part(register, name, Part.OFFICER, now) for name in file.officers]
    for group in needed_groups(register, needs):
        if _lacks(group, officers) > 0:
            text = f"too few officers of group {group.name}: {group.threshold} are needed"
            raise InvalidInput(f"the plan names {text}")


def _check_part(register: Register, name: str, part: Part, now: int) -> Person:
    try:
        person = register.person(name)
    except NotFound as error:
        raise InvalidInput(error.message) from error
    if person.part is not part:
        raise InvalidInput(f"the plan names {name} as {part}, the register as {person.part}")
    reason = _absence(person, now)
    if reason:
        raise InvalidInput(f"{name} cannot take part: {reason}")
    return person


def _signatory(register: Register, request: ApprovalRequest, name: str, now: int) -> Person:
    person = _known(register, name)
    if name not in request.roster:
        raise VerificationFailed(f"{name} is not on the plan's roster")
    if now >= request.expires:
        raise VerificationFailed(
            f"the approval of {name} is too late: the request expired at {_moment(request.expires)}"
        )
    reason = _absence(person, now)
    if reason:
        raise VerificationFailed(f"the approval of {name} does not count: {reason}")
    return person


def _known(register: Register, name: str) -> Person:
    try:
        return register.person(name)
    except NotFound as error:
        raise VerificationFailed(error.message) from error


def _absence(person: Person, now: int) -> str:
    """Return why a person is not in office, or nothing."""
    if person.removed:
        return f"removed from the register at {_moment(person.removed)}"
    if now < person.term_from:
        return f"the term begins at {_moment(person.term_from)}"
    if now >= person.term_until:
        return f"the term ended at {_moment(person.term_until)}"
    return ""


def _credential(register: Register, signatory: Person, token: str) -> Credential:
    """Return the signatory's credential that a token names. A key belongs to the first person who
    has it, so that one key in two hands never counts twice.
    """
    name = signatory.name
    try:
        kid = jws.key_id(token, typ=TYP)
    except VerificationFailed as error:
        text = f"what {name} handed in is no approval: {error.message}"
        raise VerificationFailed(text) from error
    for person in register.people:
        for credential in person.credentials:
            if credential.kid == kid and person is signatory:
                return credential
            if credential.kid == kid:
                raise VerificationFailed(
                    f"the approval of {name} was signed with the key of {person.name}"
                )
    raise VerificationFailed(f"the approval of {name} was signed with a key that is not registered")


def _check_times(request: ApprovalRequest, person: Person, signed: int) -> None:
    name = person.name
    if signed < request.issued:
        raise VerificationFailed(f"the approval of {name} was signed before the request was made")
    if signed >= request.expires:
        raise VerificationFailed(f"the approval of {name} was signed after the request expired")
    if not person.in_office(signed):
        raise VerificationFailed(f"the approval of {name} was signed outside their term")


def _lacks(group: Group, people: Collection[Person]) -> int:
    return group.threshold - len({person.name for person in people if person.group == group.name})


def _spell(lacking: Missing) -> str:
    texts = [f"{name} has not approved" for name in lacking.people]
    texts += [f"the roster has no {part}" for part in lacking.parts]
    texts += [f"{count} more of group {name} must approve" for name, count in lacking.groups]
    return "; ".join(texts)


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
