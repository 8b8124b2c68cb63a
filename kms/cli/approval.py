"""approval: what needs several people's word, the inbox of requests, cancelling, carrying out."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli import approval_sign
from kms.cli.approval_view import (
    note_request,
    read_request,
    request_document,
    request_row,
)
from kms.cli.disk_view import note_target
from kms.cli.exits import Exit
from kms.cli.output import Column, word, yes_no
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.domain.approvals import Standing
from kms.domain.asked import IRREVOCABLE, missing_in_words, needs_in_words, summary_of
from kms.errors import InvalidInput, QuorumNotMet, StateNotAllowed
from kms.i18n import _

if TYPE_CHECKING:
    from kms.statements.request import OperationRequest
    from kms.wire.approvals import RequestOut, RuleOut

_RULES = (
    Column("Operation", "operation"),
    Column("Meaning", "meaning"),
    Column("Must approve", "must"),
)
_INBOX = (
    Column("Request", "id"),
    Column("Space", "space"),
    Column("Operation", "operation"),
    Column("Asked for by", "requester"),
    Column("Approved by", "approved", lambda names: ", ".join(names) or "-"),
    Column("Missing", "lacking"),
    Column("Open until", "expires"),
    Column("State", "standing"),
)
_DETAIL = (
    *_INBOX[:4],
    Column("Reason", "reason"),
    *_INBOX[4:],
    Column("Can be carried out", "ready", yes_no),
    Column("Ended", "ended"),
    Column("Digest", "digest_hex"),
)
RequestArgument = Annotated[str, typer.Argument(help="The request's id (UUIDv7).")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    approvals = group("Approvals: what several people must agree to before it happens.")
    register(approvals, "rules", rules)
    register(approvals, "list", list_requests)
    register(approvals, "show", show)
    approval_sign.add(approvals)
    register(approvals, "cancel", cancel)
    register(approvals, "execute", execute)
    app.add_typer(approvals, name="approval")


def rules(
    session: Session,
    space: Annotated[str | None, typer.Option(help="As the policy of this space says.")] = None,
    partner: Annotated[
        str | None, typer.Option(help="The other space, of what both must approve.")
    ] = None,
) -> None:
    """Show what needs approval, and by whom."""
    with session.client() as client:
        found = client.approval_rules(space, partner)
    rows = [
        {
            "operation": one.operation,
            "meaning": summary_of(one.operation),
            "must": _must(one),
        }
        for one in found.items
    ]
    session.output.table(found.model_dump(mode="json"), rows, _RULES)


def _must(rule: "RuleOut") -> str:
    """Return who must approve; that a partner has to as well, where none was named yet."""
    needs = needs_in_words(rule.needs)
    if not rule.both or any(one.space for one in rule.needs):
        return needs
    return _("{needs}; and the partner's space").format(needs=needs)


def list_requests(
    session: Session,
    state: Annotated[Standing, typer.Option(help="Requests that stand so.")] = Standing.PENDING,
) -> None:
    """List requests, who has still to approve them, and until when; exit code 3 if some wait."""
    if state is Standing.OUTDATED:
        raise InvalidInput("those outdated are listed among those pending")
    with session.client() as client:
        pages = list(client.approval_pages(state.value))
    found = [one for page in pages for one in page.items]
    unknown = sorted({space for page in pages for space in page.unknown})
    items = list(map(request_document, found))
    rows = list(map(request_row, found))
    document = {"items": items, "unknown": unknown}
    session.output.table(document, rows, _INBOX, empty=_("No request stands so."))
    for space in unknown:
        text = _("UNKNOWN: requests of {space} could not be checked: a token cannot be asked")
        session.output.banner(text.format(space=space))
    if unknown or (state is Standing.PENDING and items):
        raise typer.Exit(Exit.ATTENTION)


def show(session: Session, request: RequestArgument) -> None:
    """Show a request as it was signed, who approved it and who is missing."""
    with session.client() as client:
        found = client.approval_request(request)
    note_request(session.output, read_request(found))
    session.output.record(request_document(found), request_row(found), _DETAIL)


def cancel(session: Session, request: RequestArgument) -> None:
    """Cancel a request; any officer may."""
    with session.client() as client:
        ended = client.cancel_request(request)
    session.output.record(request_document(ended), request_row(ended), _DETAIL)


def execute(
    session: Session,
    request: RequestArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the request's id.")] = False,
) -> None:
    """Carry out a request that enough people approved, once.

    Shows what it does and asks for the request's id; --yes leaves the question out, and without a
    terminal to ask on it is needed.
    """
    with session.client() as client:
        found = client.approval_request(request)
        wanted = read_request(found)
        note_request(session.output, wanted)
        note_target(session.output, client, wanted)
        if dry_run:
            document = {**request_document(found), "dry_run": True}
            session.output.record(document, request_row(found), _DETAIL)
            return
        if not yes:
            _check_ready(found)
            _confirm(wanted)
        done = client.execute_request(request)
    session.output.record(request_document(done), request_row(done), _DETAIL)
    if wanted.operation.startswith("disk."):
        session.output.note(_("The appliance goes on: conclave disk orders shows how far it is."))


def _check_ready(found: "RequestOut") -> None:
    """Raise what the service would answer, before anybody types anything."""
    if found.state is not Standing.PENDING:
        text = _("the request can no longer be carried out: {state}")
        raise StateNotAllowed(text.format(state=word(found.state.value)))
    if not found.ready:
        text = _("the quorum is not met, still missing: {missing}")
        missing = missing_in_words(found.missing, lacks_credential=found.lacks_credential)
        raise QuorumNotMet(text.format(missing=missing))


def _confirm(wanted: "OperationRequest") -> None:
    """Raise InvalidInput unless the request's id is typed back."""
    if not sys.stdin.isatty():
        raise InvalidInput(
            "carrying out asks for a confirmation and there is no terminal to ask on",
            hint="check with --dry-run, then use --yes",
        )
    gone = wanted.operation in IRREVOCABLE
    text = (
        _("Nothing undoes this. Type the request's id to do it")
        if gone
        else _("Type the request's id to do it")
    )
    if typer.prompt(text, err=True).strip() != wanted.id:
        raise InvalidInput("this is not the request's id; nothing was done")
