"""approval request, approval sign: one person with their own credential.

What is signed is shown from its own bytes, never from what the service says of it.
"""

import os
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.approval_parameters import parameters_of, seconds_of
from kms.cli.approval_view import (
    note_request,
    read_request,
    request_document,
    request_row,
)
from kms.cli.disk_view import note_target
from kms.cli.inputs import read_root
from kms.cli.last_word import ask_last_word
from kms.cli.output import Column, word
from kms.cli.register import register
from kms.cli.session import Session
from kms.cli.unlock import (
    KeyOption,
    ModuleOption,
    PasswordFdOption,
    PinFdOption,
    Place,
    TokenOption,
    one_place,
)
from kms.domain.approvals import RULES, Standing
from kms.domain.asked import summary_of
from kms.errors import AlreadyExists, InvalidInput, NotFound, StateNotAllowed, VerificationFailed
from kms.hardening import harden
from kms.i18n import _

if TYPE_CHECKING:
    from kms.client.api import Client
    from kms.domain.people import Register
    from kms.statements.card import HeldCredential
    from kms.statements.request import OperationRequest
    from kms.wire.approvals import RequestOut, RulesOut

PersonOption = Annotated[str, typer.Option(help="Who you are, as the register has it.")]
SiteRootOption = Annotated[
    Path | None,
    typer.Option(help="The pinned public key of the site (PEM): checks the register with it."),
]


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks for what several people must approve, why, and with which credential."""

    person: PersonOption
    reason: Annotated[str, typer.Option(help="Why; those who approve read it.")]
    expires_in: Annotated[str, typer.Option(help="How long it stays open, such as 8h.")] = "2d"
    token: TokenOption = None
    module: ModuleOption = None
    key: KeyOption = None
    pin_fd: PinFdOption = None
    password_fd: PasswordFdOption = None
    site_root: SiteRootOption = None

    def place(self) -> Place:
        """Return where the credential is; raise InvalidInput."""
        return _place(self.token, self.module, self.key, self.pin_fd, self.password_fd)


SIGNED = (
    Column("Request", "id"),
    Column("Operation", "operation"),
    Column("State", "standing"),
    Column("Approved by", "approved", lambda names: ", ".join(names) or "-"),
    Column("Digest", "digest_hex"),
)


def add(approvals: typer.Typer) -> None:
    """Add the commands."""
    register(approvals, "request", request, epilog=_operations())
    register(approvals, "sign", sign)


def _operations() -> str:
    """Return every operation that can be asked for, each with its parameters."""
    lines = [
        f"{name} ({', '.join(one.name for one in fields(rule.parameters))}): {summary_of(name)}"
        for name, rule in RULES.items()
    ]
    return "\n\n".join([_("Operations, and the parameters of each:"), *lines])


def request(
    session: Session,
    operation: Annotated[str, typer.Argument(help="What to ask for, such as meeting.destroy.")],
    asking: Asking,
    space: Annotated[
        str | None, typer.Option(help="The space; none for what is the site's.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A parameter, NAME=VALUE; may be given several times."),
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="Parameters in a JSON file; - reads stdin.")
    ] = None,
) -> None:
    """Ask for what several people must approve, and sign it.

    Shows what is signed and its digest as eight words; type the last one to sign.
    """
    asking.place()
    given = parameters_of(operation, set_ or [], parameters)
    with session.client() as client:
        hand_in(session, client, asking, operation, space, given)


def hand_in(
    session: Session,
    client: "Client",
    asking: Asking,
    operation: str,
    space: str | None,
    given: dict[str, Any],
) -> None:
    """Make a request, let the person look at it and sign, hand it in and show how it stands."""
    place = asking.place()
    harden()
    partner = str(given["partner"]) if RULES[operation].both else None
    rules = client.approval_rules(space, partner)
    known = _register(rules, asking.site_root)
    said = (space or "", asking.person, asking.reason, seconds_of(asking.expires_in))
    wanted = _made(rules, known, operation, given, said)
    held = _agreed(session, place, known, asking.person, wanted)
    _submit(session, client, wanted, held)


def sign(
    session: Session,
    request: Annotated[str, typer.Argument(help="The request's id (UUIDv7).")],
    person: PersonOption,
    token: TokenOption = None,
    module: ModuleOption = None,
    key: KeyOption = None,
    pin_fd: PinFdOption = None,
    password_fd: PasswordFdOption = None,
    site_root: SiteRootOption = None,
) -> None:
    """Approve a request with your signature.

    Shows exactly what would run and its digest as eight words, then asks for the last one: compare
    them with those that the requester saw.
    """
    from kms.statements.approval import Approval, sign_approval  # noqa: PLC0415 -- heavy
    from kms.statements.request import check_approval  # noqa: PLC0415 -- heavy

    place = _place(token, module, key, pin_fd, password_fd)
    harden()
    with session.client() as client:
        found = client.approval_request(request)
        wanted = read_request(found)
        if wanted.id != request:
            raise VerificationFailed("the service answered with another request")
        known = _register(client.approval_rules(), site_root)
        _check_asked(known, wanted, found.request)
        _check_person(known, wanted, found, person)
        note_target(session.output, client, wanted)
        held = _agreed(session, place, known, person, wanted)
        approval = Approval(wanted.digest(), person, int(time.time()))
        signed = sign_approval(approval, held.credential.kid, held.signer)
        check_approval(wanted, known, signed)
        done = client.sign_request(request, signed)
    session.output.record(request_document(done), request_row(done), SIGNED)
    if done.ready:
        text = _("Approved by all who must. To carry it out: {command}")
        session.output.note(text.format(command=f"conclave approval execute {request}"))


def _place(
    token: str | None,
    module: Path | None,
    key: Path | None,
    pin_fd: int | None,
    password_fd: int | None,
) -> Place:
    if (token is None) == (key is None):
        raise one_place()
    return Place(token, module, key, pin_fd, password_fd)


def _register(rules: "RulesOut", site_root: Path | None) -> "Register":
    """Return the service's register; checked if the site root is given."""
    from kms.domain.people import Register  # noqa: PLC0415 -- heavy
    from kms.statements import jws  # noqa: PLC0415 -- heavy
    from kms.statements.canonical import decode_record, digest  # noqa: PLC0415 -- heavy
    from kms.statements.register import TYP, verify_register  # noqa: PLC0415 -- heavy

    if digest(rules.people.encode()) != rules.sha256:
        raise VerificationFailed("the service's register is not the one whose digest it names")
    if site_root is not None:
        return verify_register(rules.people, read_root(site_root))
    return decode_record(jws.unverified_payload(rules.people, typ=TYP), Register)


def _made(
    rules: "RulesOut",
    known: "Register",
    operation: str,
    given: dict[str, object],
    said: tuple[str, str, str, int],
) -> "OperationRequest":
    """Return a new request; ``said``: space, requester, reason and how many seconds it is open."""
    from uuid_utils import uuid7  # noqa: PLC0415 -- heavy

    from kms.domain.policies import GroupNeed  # noqa: PLC0415 -- heavy
    from kms.statements.canonical import b64u  # noqa: PLC0415 -- heavy
    from kms.statements.request import (  # noqa: PLC0415 -- heavy
        NONCE_BYTES,
        OperationRequest,
        check_form,
    )

    rule = next((one for one in rules.items if one.operation == operation), None)
    if rule is None:
        raise NotFound(f"the service knows no rule for {operation}")
    now, (space, person, reason, life) = int(time.time()), said
    wanted = OperationRequest(
        site=known.site,
        space=space,
        id=str(uuid7()),
        operation=operation,
        parameters=given,
        reason=reason,
        requester=known.person(person).name,
        register=rules.sha256,
        quorum=tuple(GroupNeed(one.group, one.count, one.space or "") for one in rule.needs),
        nonce=b64u(os.urandom(NONCE_BYTES)),
        issued=now,
        expires=now + life,
    )
    check_form(wanted)
    return wanted


def _agreed(
    session: Session, place: Place, known: "Register", person: str, wanted: "OperationRequest"
) -> "HeldCredential":
    """Return the person's credential once they have looked at what it is to sign. A key in a file
    is opened before, so that one that does not fit is refused before anybody reads and types.
    """
    from kms.statements.canonical import unb64u  # noqa: PLC0415 -- heavy

    held = _held(session, place, known, person) if place.key else None
    note_request(session.output, wanted)
    ask_last_word(
        person,
        unb64u(wanted.digest()),
        _("If that is what shall happen, type the last of the eight words:"),
        hint="compare the words with those that the others see; if they differ, sign nothing",
    )
    return held or _held(session, place, known, person)


def _held(session: Session, place: Place, known: "Register", person: str) -> "HeldCredential":
    """Return the credential at a place; raise VerificationFailed unless it is the person's."""
    kids = [one.kid for one in known.person(person).credentials]
    held = place.open(session)
    if held.credential.kid not in kids:
        raise VerificationFailed(f"this is no credential of {person}")
    return held


def _submit(
    session: Session, client: "Client", wanted: "OperationRequest", held: "HeldCredential"
) -> None:
    from kms.statements.request import sign_request  # noqa: PLC0415 -- heavy

    signed = sign_request(wanted, held.credential.kid, held.signer)
    done = client.submit_request(signed)
    session.output.record(request_document(done), request_row(done), SIGNED)


def _check_person(
    known: "Register", wanted: "OperationRequest", found: "RequestOut", person: str
) -> None:
    """Raise why this person's approval would be refused, before they read and type."""
    from kms.statements.request import check_voter  # noqa: PLC0415 -- heavy

    if found.state is not Standing.PENDING:
        text = _("the request can no longer be approved: {state}")
        raise StateNotAllowed(text.format(state=word(found.state.value)))
    if person in found.approved:
        raise AlreadyExists("this person has approved the request before")
    if not known.person(person).in_office(int(time.time())):
        raise VerificationFailed(_("{person} is not in office").format(person=person))
    check_voter(wanted, known.person(person))


def _check_asked(known: "Register", wanted: "OperationRequest", token: str) -> None:
    """Raise VerificationFailed unless the named requester signed it, InvalidInput otherwise."""
    from kms.statements.personal import verify_personal  # noqa: PLC0415 -- heavy
    from kms.statements.request import TYP  # noqa: PLC0415 -- heavy

    if wanted.site != known.site:
        raise InvalidInput("the request is another site's")
    if verify_personal(token, TYP, known, wanted.issued).person.name == wanted.requester:
        return
    raise VerificationFailed(f"{wanted.requester} did not sign this request")
