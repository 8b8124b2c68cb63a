"""Checks a report offline: statement, digests, and every figure worked out again from the bundle.

That the bundle itself holds is the audit verifier's business (kms/audit/verify.py), which goes
first. Queries are this version's own: a report that names others does not hold.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kms.audit.checks import Verdict
from kms.audit.report import Report
from kms.domain.reports import Period
from kms.errors import VerificationFailed
from kms.i18n import _
from kms.reports.catalogue import figures
from kms.reports.content import Content, decode, judge, mask_figures, work_out
from kms.reports.masking import Names
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
        Checked(ReportCheck.PAPER, int(bool(files.paper)), tuple(_paper(told, files))),
    )


def raise_if_failed(found: tuple[Checked, ...]) -> None:
    """Raise VerificationFailed unless everything holds."""
    wrong = [one.check for one in found if one.problems]
    if wrong:
        raise VerificationFailed(f"the report does not hold: {', '.join(wrong)}")


def _bundle(audited: Report) -> tuple[str, ...]:
    return (_("see conclave audit verify"),) if audited.verdict is Verdict.FAIL else ()


def _statement(told: ReportStatement, content: Content, audited: Report) -> list[str]:
    """Return where statement, figures and bundle are about different things."""
    same: dict[str, set[object]] = {
        _("the site"): {told.iss, content.site, audited.site},
        _("the report"): {told.report, content.report},
        _("the period"): {(told.since, told.until), (content.since, content.until)},
        _("the size of the log"): {told.size, content.size, audited.leaves},
        _("the root of the log"): {told.root, content.root, b64u(bytes.fromhex(audited.root))},
        _("whether names are masked"): {not told.request, content.masked},
    }
    told_apart = _("{name} differs")
    return [told_apart.format(name=name) for name, values in same.items() if len(values) > 1]


def _digests(told: ReportStatement, files: Files) -> list[str]:
    pairs = {
        _("the bundle"): (told.bundle, files.bundle),
        _("the figures"): (told.figures, digest(files.figures)),
    }
    other = _("{name}: not what was signed")
    return [other.format(name=name) for name, (a, b) in pairs.items() if a != b]


def _figures(path: Path, content: Content, progress: Callable[[int], None]) -> list[str]:
    """Return which figures come out otherwise, and which this version does not know."""
    found = work_out(path, Period(content.since, content.until), content.offset, progress)
    again = {one.id: one for one in (mask_figures(found, Names()) if content.masked else found)}
    told = {one.id for one in content.figures}
    wrong = [_("{name}: it is missing").format(name=name) for name in again if name not in told]
    for one in content.figures:
        known = again.get(one.id)
        if known is None or (known.query, known.sources) != (one.query, one.sources):
            wrong.append(_("{name}: another version asks otherwise").format(name=one.id))
        elif known != one:
            wrong.append(_("{name}: the bundle gives something else").format(name=one.id))
    return wrong


def _clauses(content: Content) -> list[str]:
    known = {one.id for one in content.figures} >= set(figures())
    if not known or judge(content.figures) != content.clauses:
        return [_("the clauses do not come to what the report says")]
    return []


def _paper(told: ReportStatement, files: Files) -> list[str]:
    if files.paper and files.paper != told.paper:
        return [_("it is another one")]
    return []
