"""Compliance reports: made, listed, read, exported, and the evidence that they were made from."""

import asyncio
import base64
from pathlib import Path

from starlette.responses import Response

from kms.api.context import Context
from kms.api.endpoints import Endpoint, json_reply
from kms.errors import InvalidInput
from kms.i18n import Language
from kms.usecases.reports.exporting import (
    export,
    go_on_taking,
    list_reports,
    read_report,
    take_evidence,
)
from kms.usecases.reports.folder import Kept
from kms.usecases.reports.making import make_report, name_of, period_named
from kms.usecases.services import Services
from kms.wire.base import rfc3339
from kms.wire.reports import (
    PART_BYTES,
    EvidencePart,
    ExportedOut,
    ExportReport,
    MakeReport,
    ReportContent,
    ReportList,
    ReportOut,
)

REPORT_SECONDS = 600.0
"""How long the making of a report may keep its caller waiting."""


def endpoints() -> tuple[Endpoint, ...]:
    """Return the endpoints."""
    taking: set[tuple[str, str]] = set()

    async def evidence(context: Context) -> Response:
        return await _evidence(context, taking)

    return (
        Endpoint("report.make", _make, ReportOut, MakeReport),
        Endpoint("report.list", _list, ReportList),
        Endpoint("report.read", _read, ReportContent),
        Endpoint("report.export", _export, ExportedOut, ExportReport),
        Endpoint(
            "report.evidence", evidence, EvidencePart, query=(("offset", "byte to begin at"),)
        ),
    )


async def _make(context: Context) -> Response:
    context.query()
    period = period_named(context.services, context.message(MakeReport).period)
    made = await make_report(context.services, context.call, period)
    return json_reply(_report(context.services, made))


async def _list(context: Context) -> Response:
    context.query()
    found, altered = await list_reports(context.services, context.call)
    items = tuple(_report(context.services, one) for one in found)
    return json_reply(ReportList(items=items, altered=tuple(altered)))


async def _read(context: Context) -> Response:
    context.query()
    kept, data = await read_report(context.services, context.call, context.report)
    figures = data.decode()
    return json_reply(ReportContent(report=kept.told.report, figures=figures, statement=kept.token))


async def _export(context: Context) -> Response:
    context.query()
    wish, report = context.message(ExportReport), context.report
    request, language = wish.request or "", Language(wish.language)
    found = await export(context.services, context.call, report, language, request)
    return json_reply(
        ExportedOut(
            report=found.report,
            paper=base64.b64encode(found.paper).decode(),
            figures=found.figures.decode(),
            statement=found.statement,
        )
    )


async def _evidence(context: Context, taking: set[tuple[str, str]]) -> Response:
    """Give a part of the bundle; the first is logged, and nobody gets another without it."""
    offset = context.query("offset").number("offset", 0)
    services, call, report = context.services, context.call, context.report
    taker = (context.principal.name, report)
    if not offset:
        kept = await take_evidence(services, call, report)
        taking.add(taker)
    else:
        kept = await go_on_taking(services, call, report)
        if taker not in taking:
            raise InvalidInput("the bundle is not being taken", hint="begin at its first byte")
    data, total = await asyncio.to_thread(_part, kept.bundle, offset)
    if offset + len(data) >= total:
        taking.discard(taker)
    part = EvidencePart(offset=offset, total=total, data=base64.b64encode(data).decode())
    return json_reply(part)


def _part(path: Path, offset: int) -> tuple[bytes, int]:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PART_BYTES), path.stat().st_size


def _report(services: Services, kept: Kept) -> ReportOut:
    told = kept.told
    return ReportOut(
        report=told.report,
        name=name_of(services, told),
        since=rfc3339(told.since),
        until=rfc3339(told.until),
        made=rfc3339(told.issued),
        maker=told.actor,
        size=told.size,
        bundle=told.bundle,
        bundle_bytes=kept.bundle.stat().st_size,
        figures=told.figures,
        statement=kept.token,
    )
