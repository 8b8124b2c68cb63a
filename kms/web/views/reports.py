"""Compliance reports: which there are, making one, taking one away; each export is logged."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from starlette.responses import FileResponse, Response

from kms.domain.models import Role
from kms.domain.reports import parse_report
from kms.errors import InvalidInput, StoreUnavailable
from kms.i18n import Language, language
from kms.ports import LeafFilter
from kms.reports.catalogue import Clause, clauses
from kms.reports.content import Content, decode
from kms.reports.paper import why
from kms.reports.wording import chosen, days, say
from kms.statements.report import peek_report
from kms.usecases.journal import search_leaves
from kms.usecases.reports.exporting import (
    Exported,
    export,
    list_reports,
    read_report,
    take_evidence,
)
from kms.usecases.reports.making import log_began, name_of, period_named
from kms.usecases.reports.progress import ReportMaking
from kms.usecases.reports.starting import begin_report, watch_report
from kms.web.files import attachment
from kms.web.roles import AUDITORS, OVERSEERS
from kms.web.visit import PAGE_ROWS, Kind, Page, Visit

_NAMED = (
    "last-quarter", "last-month", "this-month", "this-quarter", "last-year", "this-year",
)  # fmt: skip
"""The first that the log reaches back to is proposed."""
_ASKED = "report"
_TONES = {"as-expected": "ready", "to-explain": "warning"}
_MOST_REQUESTS = 5


@dataclass(frozen=True, slots=True)
class Choice:
    """A period that is offered by its name; impossible if it ended before the log began."""

    name: str
    since: int
    possible: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A clause, its words, and what it comes to: in words, as the state of a chip, and why."""

    clause: Clause
    text: str
    level: str
    result: str
    state: str
    why: str


async def _reports(visit: Visit) -> Response:
    began = log_began(visit.services)
    choices = tuple(_choices(visit, began))
    return visit.show("reports.html", choices=choices, began=began, **await _values(visit))


def _choices(visit: Visit, began: int) -> Iterator[Choice]:
    for name in _NAMED:
        with suppress(InvalidInput):  # in its first second a month has nothing to report
            period = period_named(visit.services, name)
            yield Choice(name, period.since, possible=period.until > began)


async def _now(visit: Visit) -> Response:
    return visit.show("part-reports.html", **await _values(visit))


async def _values(visit: Visit) -> dict[str, Any]:
    services = visit.services
    found, altered = await list_reports(services, visit.call("report.list"))
    return {
        "reports": found[:PAGE_ROWS],
        "altered": altered,
        "total": len(found),
        "making": await _making(visit),
        "period": lambda one: _days(visit, one.since, one.until),
    }


async def _making(visit: Visit) -> ReportMaking | None:
    """Return the report that is being made, for auditors; what came of it only once, to the session
    that asked.
    """
    if Role.AUDITOR not in visit.principal.roles:
        return None
    making = await watch_report(visit.services, visit.call("report.make"))
    if making.running or making.task is None:
        return making
    return making if visit.session.take_draft(_ASKED) is making.task else None


def _days(visit: Visit, since: int, until: int) -> str:
    return days(since, until, visit.services.settings.site.utc_offset_minutes)


async def _make(visit: Visit) -> Response:
    first, last = visit.form("first"), visit.form("last")
    if bool(first) is not bool(last):
        raise InvalidInput("a period of your own has a first and a last day")
    name = f"{first}..{last}" if first else visit.form("period")
    await begin_report(visit.services, visit.call("report.make"), name)
    visit.session.keep_draft(_ASKED, visit.services.report_making.task)
    return visit.go("/reports")


# --- one report ----------------------------------------------------------------------------------


async def _report(visit: Visit) -> Response:
    name = parse_report(visit.path("report"))
    kept, data = await read_report(visit.services, visit.call("report.read"), name)
    content = decode(data)
    return visit.show(
        "report.html",
        told=kept.told,
        name=name_of(visit.services, kept.told),
        period=_days(visit, kept.told.since, kept.told.until),
        bundle_bytes=kept.bundle.stat().st_size,
        rows=tuple(_rows(content)),
        requests=await _unmasking(visit, name),
        languages=Language,
        say=say,
    )


def _rows(content: Content) -> list[Row]:
    return [_row(content, one) for one in clauses()]


def _row(content: Content, clause: Clause) -> Row:
    result = content.result(clause.id)
    words, state = say(result.replace("/", "_")), _TONES.get(result, result)
    return Row(clause, chosen(clause), say(clause.level), words, state, why(content, clause))


async def _unmasking(visit: Visit, report: str) -> list[tuple[str, str]]:
    """Return the executed requests to show a report's names, with their times, newest first."""
    wanted = LeafFilter(action="report.unmask", resource_prefix=f"reports/{report}")
    try:
        found = await search_leaves(
            visit.services, visit.call("audit.search"), wanted, None, _MOST_REQUESTS
        )
    except StoreUnavailable:
        return []
    return [(str(one.details.get("request", "")), one.time) for one in found.leaves]


async def _export(visit: Visit) -> Response:
    """Give the report with names masked: one step, logged and watermarked."""
    return await _exported(visit, "")


async def _export_full(visit: Visit) -> Response:
    """Give the report with full names, by an executed request."""
    request = visit.form("request")
    if not request:
        raise InvalidInput("full names want an approved request")
    return await _exported(visit, request)


async def _exported(visit: Visit, request: str) -> Response:
    name = parse_report(visit.path("report"))
    try:
        wanted = Language(visit.form("language", language().value))
    except ValueError as error:
        raise InvalidInput("the language is zh or en") from error
    call = visit.call("report.export")
    found = await export(visit.services, call, name, wanted, request)
    kind = f"names-{wanted.value}" if request else wanted.value  # beside the masked one in a folder
    stem = f"{name_of(visit.services, peek_report(found.statement))}-{kind}"
    if visit.form("form") == "zip":
        return attachment(_zip(found, stem), f"{stem}.zip", "application/zip")
    return attachment(found.paper, f"{stem}-reading.pdf", "application/pdf")


def _zip(found: Exported, stem: str) -> bytes:
    """Return everything of an export in one file, named as ``conclave report verify`` wants it."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{stem}.pdf", found.paper)
        file.writestr(f"{stem}.json", found.figures)
        file.writestr(f"{stem}.jws", found.statement + "\n")
    return data.getvalue()


async def _evidence(visit: Visit) -> Response:
    """Give the bundle, in which nothing is masked: it wants fresh proof, and stands in the log."""
    name = parse_report(visit.path("report"))
    kept = await take_evidence(visit.services, visit.call("report.evidence"), name)
    file = f"{name_of(visit.services, kept.told)}.db"
    return FileResponse(kept.bundle, media_type="application/vnd.sqlite3", filename=file)


_PATH = "/reports/{report}"
PAGES = (
    Page("reports", "/reports", OVERSEERS, _reports),
    Page("reports-now", "/parts/reports", OVERSEERS, _now, Kind.FRAGMENT),
    Page("report-make", "/reports", AUDITORS, _make, Kind.ACT),
    Page("report", _PATH, AUDITORS, _report),
    Page("report-export", _PATH + "/export", AUDITORS, _export, Kind.ACT),
    Page(
        "report-export-full", _PATH + "/export-full", AUDITORS, _export_full, Kind.ACT, risky=True
    ),
    Page("report-evidence", _PATH + "/evidence.db", AUDITORS, _evidence, Kind.ACT, risky=True),
)
