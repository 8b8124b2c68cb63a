"""ceremony sign: one person, at a terminal of their own, with their own credential.

What does not hold is refused before anything is written; the administrator's terminal looks again.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli.ceremony_plan import StateOption
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
from kms.errors import Forbidden, InvalidInput, VerificationFailed
from kms.hardening import harden
from kms.i18n import _

if TYPE_CHECKING:
    from kms.ceremonies.people.signing import Due
    from kms.ceremonies.record.folder import Folder
    from kms.domain.people import Register
    from kms.statements.card import HeldCredential

_SIGNED = (
    Column("Ceremony", "id"),
    Column("Person", "person"),
    Column("Signed", "what", word),
    Column("Saved as", "file"),
)


def add(app: typer.Typer) -> None:
    """Add the command."""
    register(app, "sign", sign)


def sign(
    session: Session,
    person: Annotated[str, typer.Option(help="Who you are, as plan and register have it.")],
    ceremony: Annotated[
        str | None, typer.Argument(help="The ceremony's id, else its folder by --folder.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="The ceremony's folder, such as on a memory stick.")
    ] = None,
    token: TokenOption = None,
    module: ModuleOption = None,
    key: KeyOption = None,
    pin_fd: PinFdOption = None,
    password_fd: PasswordFdOption = None,
    state: StateOption = None,
) -> None:
    """Sign what is due: the approval before the ceremony, the transcript after it.

    Shows what is signed and its digest as eight words. Compare all eight with those of the
    administrator's terminal, then type the last one: that is your word that they are the same.
    """
    from kms.ceremonies.people import signing  # noqa: PLC0415 -- heavy
    from kms.ceremonies.record.folder import Folder  # noqa: PLC0415 -- heavy
    from kms.cli.records_view import folder_of  # noqa: PLC0415 -- heavy

    harden()
    if (ceremony is None) == (folder is None):
        raise InvalidInput("give either the ceremony's id or --folder")
    if (token is None) == (key is None):
        raise one_place()
    place = Folder(folder or folder_of(session, ceremony or "", state))
    due = signing.due(place.path, person)
    known = _register(session, place, state)
    _check_person(known, person)
    _show(session, place, due, known)
    _confirm(person, due)
    held = Place(token, module, key, pin_fd, password_fd).open(session)
    _check_held(known, person, held)
    written = _write(place, due, person, held, known)
    document = {
        "id": due.plan.file.id,
        "person": person,
        "what": due.what.value,
        "file": str(written),
    }
    session.output.record(document, document, _SIGNED)


def _register(session: Session, folder: "Folder", state: Path | None) -> "Register":
    """Return the register that the ceremony was called under; that of a first one is its plan's."""
    from kms.cli import premises, records_view  # noqa: PLC0415 -- heavy

    request, plan = folder.request(), folder.plan()
    if not request.register:
        return premises.founding_brief(plan).register
    return premises.register_named(records_view.state_of(session, state), request.register)


def _check_person(known: "Register", name: str) -> None:
    person = known.person(name)
    if not person.in_office(int(time.time())):
        raise Forbidden(f"{name} is not in office")


def _show(session: Session, folder: "Folder", due: "Due", known: "Register") -> None:
    from kms.ceremonies.people.signing import What  # noqa: PLC0415 -- heavy
    from kms.ceremonies.people.words import digest_words  # noqa: PLC0415 -- heavy
    from kms.cli import plan_view, premises, records_view  # noqa: PLC0415 -- heavy

    note = session.output.note
    ceremony = premises.kind_of(due.plan.file.ceremony)
    plan_view.note_plan(session.output, plan_view.plan_document(due.plan, ceremony, known))
    if due.what is What.APPROVAL:
        note(_("To approve: SHA-256 {sha256}").format(sha256=due.sha256.hex()))
    else:
        records_view.note_outline(session.output, folder)
        note(_("To sign: SHA-256 of the transcript {sha256}").format(sha256=due.sha256.hex()))
    session.output.banner(" ".join(digest_words(due.sha256)))


def _confirm(person: str, due: "Due") -> None:
    """Return once the person typed the last of the words; raise Abandoned."""
    ask_last_word(
        person,
        due.sha256,
        _("Compare all eight words with the administrator's terminal. The last one:"),
        hint="if the words differ from the administrator's, say stop: somebody has another plan",
    )


def _check_held(known: "Register", name: str, held: "HeldCredential") -> None:
    """Raise VerificationFailed unless the credential is the person's own, whoever it is instead."""
    from kms.ceremonies.people.signatures import holder_of  # noqa: PLC0415 -- heavy

    holder, _credential = holder_of(known, held.credential.kid)
    if holder != name:
        raise VerificationFailed(f"this is the credential of {holder}, not of {name}")


def _write(
    folder: "Folder", due: "Due", person: str, held: "HeldCredential", known: "Register"
) -> Path:
    """Sign, look whether it counts, and only then write it."""
    from kms.ceremonies.people.quorum import check_approval  # noqa: PLC0415 -- heavy
    from kms.ceremonies.people.signing import What, sign_into  # noqa: PLC0415 -- heavy
    from kms.statements.approval import Approval, sign_approval  # noqa: PLC0415 -- heavy
    from kms.statements.canonical import b64u  # noqa: PLC0415 -- heavy

    kid, now = held.credential.kid, int(time.time())
    if due.what is What.TRANSCRIPT:
        return sign_into(folder.path, person, kid, held.signer, now, due.sha256)
    token = sign_approval(Approval(b64u(due.sha256), person, now), kid, held.signer)
    check_approval(known, folder.request(), person, token, now)
    return folder.add_approval(person, token)
