"""Details of the leaves about compliance reports, and about evidence that people take away."""

import msgspec

from kms.audit.life_words import ByRequest


class ReportMade(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of report.make: the period (whole seconds), how many leaves the bundle holds, the
    SHA-256 of bundle, figures (masked, and with names in full) and statement.
    """

    report: str
    since: int
    until: int
    size: int
    bundle: str
    figures: str
    full: str
    statement: str


class ReportExported(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of report.export: the SHA-256 of the PDF and of the statement about it. ``request``
    is the approved request by which it shows names in full; empty: they are masked.
    """

    report: str
    language: str
    request: str
    paper: str
    statement: str


class EvidenceTaken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of report.evidence: the SHA-256 of the bundle, in which nothing is masked."""

    report: str
    bundle: str


class LogTaken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of audit.evidence: how many leaves the bundle holds, and its SHA-256. Nothing in it
    is masked.
    """

    size: int
    bundle: str


class ReportUnmasked(ByRequest, frozen=True):
    """Details of report.unmask."""

    report: str


DETAILS: dict[str, type[msgspec.Struct]] = {
    "report.make": ReportMade,
    "report.evidence": EvidenceTaken,
    "report.export": ReportExported,
    "audit.evidence": LogTaken,
    "report.unmask": ReportUnmasked,
}
"""The shape of each action's details."""
