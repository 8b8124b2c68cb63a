"""Compliance reports on the wire."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from kms.wire.base import Count, Jws, Meeting, Recipient, Text, Time, Wire

Figures = Annotated[str, StringConstraints(max_length=64 << 20)]
Paper = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=128 << 20)]
FileName = Annotated[str, StringConstraints(pattern=r"^conclave-report-[0-9a-f-]{1,48}$")]
Part = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=8 << 20)]
PART_BYTES = 4 << 20
"""How much of a bundle one answer holds at most."""


class MakeReport(Wire):
    """The report of a period that is named, such as last-quarter or 2026-Q3."""

    period: Text


class ExportReport(Wire):
    """An export; ``request`` is an executed request to show names in full."""

    language: Literal["zh", "en"] = "zh"
    request: Meeting | None = None


class ReportOut(Wire):
    """A report and the statement about it; digests in base64url. ``name`` is how its files are
    named, language and ending aside.
    """

    report: Meeting
    name: FileName
    since: Time
    until: Time
    made: Time
    maker: Text
    size: Count
    bundle: Recipient
    bundle_bytes: Count
    figures: Recipient
    statement: Jws


class ReportList(Wire):
    """Every report, the newest first; ``altered`` are those whose statements do not hold."""

    items: Annotated[tuple[ReportOut, ...], Field(max_length=10_000)]
    altered: Annotated[tuple[Text, ...], Field(max_length=10_000)] = ()


class ReportContent(Wire):
    """A report's figures as they were signed (JSON in canonical form), names masked."""

    report: Meeting
    figures: Figures
    statement: Jws


class ExportedOut(Wire):
    """An exported report: the PDF, the figures that go with it (JSON), the statement about both."""

    report: Meeting
    paper: Paper
    figures: Figures
    statement: Jws


class EvidencePart(Wire):
    """A part of a report's evidence bundle from ``offset`` on, of ``total`` bytes in all."""

    offset: Count
    total: Count
    data: Part
