"""Compliance reports, as the key API gives them."""

import base64
from collections.abc import Iterator

from kms.client.calls import Calls
from kms.errors import Unavailable
from kms.wire.reports import (
    EvidencePart,
    ExportedOut,
    ExportReport,
    MakeReport,
    ReportContent,
    ReportList,
    ReportOut,
)

_PATIENCE = 600
"""Seconds that a report may take; the service ends the request earlier, and goes on."""


class ReportReads(Calls):
    """What auditors ask for about reports."""

    def make_report(self, period: str) -> ReportOut:
        """Return the report of a period, made if need be; raise StateNotAllowed."""
        body = MakeReport(period=period)
        answer = self._to.ask("report.make", body, patience=_PATIENCE)
        return answer.read(ReportOut)

    def reports(self) -> ReportList:
        """Return every report, the newest first."""
        return self._to.ask("report.list").read(ReportList)

    def report(self, report: str) -> ReportContent:
        """Return a report's figures, names masked."""
        return self._to.ask("report.read", report=report).read(ReportContent)

    def export_report(self, report: str, language: str, request: str | None = None) -> ExportedOut:
        """Return a report as PDF in a language, with names in full by an executed request."""
        body = ExportReport.model_validate({"language": language, "request": request})
        answer = self._to.ask("report.export", body, patience=_PATIENCE, report=report)
        return answer.read(ExportedOut)

    def report_evidence(self, report: str) -> Iterator[bytes]:
        """Yield a report's evidence bundle, part by part; raise Unavailable if it is cut off."""
        offset = 0
        while True:
            answer = self._to.ask("report.evidence", query={"offset": offset}, report=report)
            part = answer.read(EvidencePart)
            data = base64.b64decode(part.data)
            yield data
            offset += len(data)
            if offset == part.total:
                return
            if not data:
                raise Unavailable("the bundle was cut off")
