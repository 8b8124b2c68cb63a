"""Checks a report offline: statement, digests, and every figure worked out again from the bundle.

That the bundle itself holds is the audit verifier's business (kms/audit/verify.py), which goes
first. Queries are those that the report names: the statement says that the site's service put them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kms.audit.checks import Verdict
from kms.audit.report import Report
from kms.domain.reports import Period
from kms.errors import VerificationFailed
from kms.reports.catalogue import figures
from kms.reports.content import Content, FigureOut, decode, judge
from kms.reports.figures import opened
from kms.reports.masking import mask_rows
from kms.statements.canonical import b64u, digest
from kms.statements.keylist import KeyList
from kms.statements.report import ReportStatement, verify_report


class ReportCheck(StrEnum):
    """The checks, in order."""

    BUNDLE = "RV-01"
    STATEMENT = "RV-02"
    DIGESTS = "RV-03"
    FIGURES = "RV-04"
    CLAUSES = "RV-05"
    PAPER = "RV-06"


@dataclass(frozen=True, slots=True)
class Checked:
    """One check: how many things were looked at, and what does not hold."""

    check: ReportCheck
    looked_at: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """What is verified: the figures (JSON), the statement (JWS), the SHA-256 of the bundle, and the
    PDF's (base64url; empty: none was given).
    """

    figures: bytes
    statement: str
    bundle: str
    paper: str = ""


def verify(
    path: Path, files: Files, keys: KeyList, audited: Report, progress: Callable[[int], None]
) -> tuple[Checked, ...]:
    """Return what came of every check; ``audited`` is the verifier's report about the bundle at
    ``path``. Raise VerificationFailed for a statement or figures that cannot be read at all.
    """
    told, content = verify_report(files.statement, keys), decode(files.figures)
    return (
        Checked(ReportCheck.BUNDLE, audited.leaves, _bundle(audited)),
        Checked(ReportCheck.STATEMENT, 1, tuple(_statement(told, content, audited))),
        Checked(ReportCheck.DIGESTS, 2, tuple(_digests(told, files))),
        Checked(
            ReportCheck.FIGURES, len(content.figures), tuple(_figures(path, content, progress))
        ),
        Checked(ReportCheck.CLAUSES, len(content.clauses), tuple(_clauses(content))),
        Checked(ReportCheck.PAPER, bool(files.paper), tuple(_paper(told, files))),
    )


def raise_if_failed(found: tuple[Checked, ...]) -> None:
    """Raise VerificationFailed unless everything holds."""
    wrong = [one.check for one in found if one.problems]
    if wrong:
        raise VerificationFailed(f"the report does not hold: {', '.join(wrong)}")


def _bundle(audited: Report) -> tuple[str, ...]:
    return ("the evidence bundle does not hold",) if audited.verdict is Verdict.FAIL else ()


def _statement(told: ReportStatement, content: Content, audited: Report) -> list[str]:
    """Return where statement, figures and bundle are about different things."""
    same: dict[str, set[object]] = {
        "the site": {told.iss, content.site, audited.site},
        "the report": {told.report, content.report},
        "the period": {(told.since, told.until), (content.since, content.until)},
        "the size of the log": {told.size, content.size, audited.leaves},
        "the root of the log": {told.root, content.root, b64u(bytes.fromhex(audited.root))},
        "whether names are masked": {not told.request, content.masked},
    }
    return [f"{name} differs" for name, values in same.items() if len(values) > 1]


def _digests(told: ReportStatement, files: Files) -> list[str]:
    pairs = {
        "the bundle": (told.bundle, files.bundle),
        "the figures": (told.figures, digest(files.figures)),
    }
    return [f"{name} is not what was signed" for name, (a, b) in pairs.items() if a != b]


def _figures(path: Path, content: Content, progress: Callable[[int], None]) -> list[str]:
    """Return which figures come out otherwise, and which this version does not know."""
    wrong = [f"{name}: it is missing" for name in figures() if not _has(content, name)]
    with opened(path, Period(content.since, content.until)) as evidence:
        for count, one in enumerate(content.figures, 1):
            known = figures().get(one.id)
            if known is None or (known.query, known.sources) != (one.query, one.sources):
                wrong.append(f"{one.id}: another version asks otherwise")
                continue
            worked = evidence.work_out(one.query, one.sources)
            rows = mask_rows(known, worked.rows) if content.masked else worked.rows
            again = FigureOut(
                id=one.id,
                query=one.query,
                rows=rows,
                more=worked.more,
                counted=worked.counted,
                first=worked.first,
                last=worked.last,
                sources=one.sources,
                evidence=worked.evidence,
            )
            if again != one:
                wrong.append(f"{one.id}: the bundle gives something else")
            progress(count)
    return wrong


def _has(content: Content, name: str) -> bool:
    return any(one.id == name for one in content.figures)


def _clauses(content: Content) -> list[str]:
    known = {one.id for one in content.figures} >= set(figures())
    if not known or judge(content.figures) != content.clauses:
        return ["the clauses do not come to what the report says"]
    return []


def _paper(told: ReportStatement, files: Files) -> list[str]:
    if files.paper and files.paper != told.paper:
        return ["the PDF is not the one that was signed"]
    return []
