"""Reading reports and taking them away: each export is a paper of its own that says on every page
for whom it was made and when, with a statement by the site's token, and stands in the log.
"""

import asyncio
from dataclasses import dataclass

from kms.audit.leaf import Outcome, Phase
from kms.domain.approvals import RequestState
from kms.domain.ids import parse_request_id
from kms.domain.reports import UNMASKED_SECONDS, ReportTarget, parse_report
from kms.domain.rows import SealedRow
from kms.errors import ApprovalRequired, InvalidInput, NotFound
from kms.i18n import Language, speak
from kms.policy.authorizer import Target
from kms.ports import ReportOrder, Unit
from kms.reports.content import Content, told_by_name
from kms.reports.paper import Mark, pdf
from kms.statements.canonical import digest, unb64u
from kms.statements.request import CheckedRequest, peek_request
from kms.usecases.approvals.effect import Effect
from kms.usecases.reports.folder import Kept, read_content
from kms.usecases.reports.making import folder_of, signed
from kms.usecases.services import Call, Services, authorize, uninterrupted


@dataclass(frozen=True, slots=True)
class Exported:
    """What leaves: the PDF, its figures (JSON) and the statement about both (JWS)."""

    report: str
    paper: bytes
    figures: bytes
    statement: str


async def list_reports(services: Services, call: Call) -> tuple[list[Kept], list[str]]:
    """Return every report, the newest first, and the ids of those that were altered; raise
    Forbidden.
    """
    await authorize(services, call, Target(), "reports")
    folder = folder_of(services)
    return await asyncio.to_thread(lambda: (list(folder.all()), folder.altered()))


async def read_report(services: Services, call: Call, report: str) -> tuple[Kept, bytes]:
    """Return a report and its figures (reports.content decodes them), names masked; raise NotFound,
    Forbidden, IntegrityFailure.
    """
    kept = await _find(services, call, report)
    _, data = await asyncio.to_thread(read_content, kept, full=False)
    return kept, data


async def go_on_taking(services: Services, call: Call, report: str) -> Kept:
    """Return a report whose evidence bundle somebody took a part of before; raise as
    ``read_report``.
    """
    return await _find(services, call, report)


async def take_evidence(services: Services, call: Call, report: str) -> Kept:
    """Return a report, once the log says that the caller takes its evidence bundle, in which no
    name is masked. Raise as ``read_report``.
    """
    kept = await _find(services, call, report)
    details = {"report": report, "bundle": kept.told.bundle}
    leaf = call.leaf(
        "", f"reports/{report}", Phase.EVENT, Outcome.SUCCEEDED, action="report.evidence",
        details=details,
    )  # fmt: skip
    await services.store.commit(Unit(leaves=(leaf,)))
    return kept


@uninterrupted
async def export(
    services: Services, call: Call, report: str, language: Language, request: str = ""
) -> Exported:
    """Return a report for the caller, marked as the caller's, names masked unless ``request`` is an
    executed request to show them. Raise NotFound, Forbidden, ApprovalRequired, IntegrityFailure,
    HsmUnavailable.
    """
    kept = await _find(services, call, report)
    row, register = await _approved(services, report, request) if request else (None, "")
    now, actor = services.seconds(), call.principal.name
    content, data = await asyncio.to_thread(read_content, kept, full=bool(request))
    shown = told_by_name(content, _names(services)) if request else content
    mark = Mark(actor, now, request)
    paper = await asyncio.to_thread(_set, kept, shown, data, mark, language)
    order = ReportOrder(
        report=report,
        since=kept.told.since,
        until=kept.told.until,
        size=kept.told.size,
        root=unb64u(kept.told.root),
        proof=(),
        bundle=kept.told.bundle,
        figures=digest(data),
        actor=actor,
        paper=digest(paper),
        language=language.value,
        request=row,
        register=register,
    )
    statement = await signed(services, order)
    leaf = call.leaf(
        "",
        f"reports/{report}",
        Phase.EVENT,
        Outcome.SUCCEEDED,
        action="report.export",
        details={
            "report": report,
            "language": language.value,
            "request": request,
            "paper": order.paper,
            "statement": digest(statement.encode()),
        },
    )
    await services.store.commit(Unit(leaves=(leaf,)))
    return Exported(report, paper, data, statement)


async def prepare_unmask(services: Services, call: Call, checked: CheckedRequest) -> Effect:
    """Return what an approved request to show a report's names does: nothing but that it stands in
    the log. Raise InvalidInput, NotFound.
    """
    del call
    wanted = checked.parameters
    if not isinstance(wanted, ReportTarget) or checked.wanted.space:
        raise InvalidInput("the request names no report")
    report = folder_of(services).find(wanted.report).told.report
    return Effect(f"reports/{report}", (), details={"report": report})


async def _find(services: Services, call: Call, report: str) -> Kept:
    await authorize(services, call, Target(), f"reports/{parse_report(report)}")
    return await asyncio.to_thread(folder_of(services).find, report)


async def _approved(services: Services, report: str, request: str) -> tuple[SealedRow, str]:
    """Return the row and register (JWS) of an executed request to show a report's names; raise
    ApprovalRequired.
    """
    try:
        record, _ = await services.cache.request(parse_request_id(request))
    except NotFound as error:
        raise ApprovalRequired(
            "there is no such request", hint="ask for it: conclave approval request report.unmask"
        ) from error
    wanted, row = peek_request(record.request), services.store.request(request)
    asked = (wanted.operation, wanted.parameters) == ("report.unmask", {"report": report})
    if row is None or record.state is not RequestState.EXECUTED or not asked:
        raise ApprovalRequired(
            "the request does not show this report's names",
            hint="ask for it: conclave approval request report.unmask",
        )
    if services.seconds() >= record.ended + UNMASKED_SECONDS:
        raise ApprovalRequired(
            "the request was carried out too long ago",
            hint="ask for it: conclave approval request report.unmask",
        )
    state = services.settings.paths.state
    past = services.registers.once_in_force(services.store, state, wanted.register)
    return row, past.token


def _names(services: Services) -> dict[str, str]:
    """Return what the people of the register in force are called, by slug."""
    known = services.registers.in_force(services.store, services.settings.paths.state).register
    return {one.name: one.display for one in known.people}


def _set(kept: Kept, content: Content, data: bytes, mark: Mark, language: Language) -> bytes:
    """Return the PDF; in a thread of its own, whose language it sets."""
    speak(language)
    files = {"report.json": data.decode()}
    if not content.masked:
        files["report.jws"] = kept.token  # it names who made the report
    return pdf(content, mark, files)
