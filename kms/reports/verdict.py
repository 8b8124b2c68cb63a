"""What came of the checks on a report, in words and as a document."""

from collections.abc import Iterator
from typing import Any

from kms.domain.text import visible
from kms.i18n import _
from kms.reports.content import Content
from kms.reports.verification import Checked, ReportCheck
from kms.reports.wording import days


def to_text(content: Content, found: tuple[Checked, ...]) -> str:
    """Return which report was looked at, a line for each check, and the conclusion."""
    period = days(content.since, content.until, content.offset)
    lines = [
        _("Offline verification of a compliance report · site {site}").format(
            site=visible(content.site)
        ),
        _("Report {report}").format(report=visible(content.report)),
        _("Period {period}").format(period=period),
        _("Names masked") if content.masked else _("Names in full"),
        "",
        *(line for one in found for line in _lines(one)),
        "",
        _("Conclusion: it does not hold. Do not rely on this report.")
        if any(one.problems for one in found)
        else _("Conclusion: it holds. Every figure comes out again from the evidence."),
    ]
    return "\n".join(lines)


def document(content: Content, found: tuple[Checked, ...]) -> dict[str, Any]:
    """Return the same as one JSON document."""
    checks = [
        {
            "check": one.check.value,
            "text": _sentence(one),
            "holds": not one.problems,
            "looked_at": one.looked_at,
            "problems": list(one.problems),
        }
        for one in found
    ]
    verdict = "pass" if all(one["holds"] for one in checks) else "fail"
    return {
        "verdict": verdict,
        "report": content.report,
        "masked": content.masked,
        "checks": checks,
    }


def _lines(one: Checked) -> Iterator[str]:
    word = _("fails") if one.problems else _("passes") if one.looked_at else _("not looked at")
    yield f"{one.check} [{word}] {_sentence(one)}"
    yield from (f"      {visible(problem)}" for problem in one.problems)


def _sentence(one: Checked) -> str:
    sentences = {
        ReportCheck.BUNDLE: _(
            "The evidence bundle holds, as conclave audit verify finds ({count} leaves)"
        ),
        ReportCheck.STATEMENT: _(
            "Statement, figures and bundle are about one site, report, period and log; names in "
            "full only by an approved request ({count} statement)"
        ),
        ReportCheck.DIGESTS: _(
            "Bundle and figures are those that the HSM signed for ({count} files)"
        ),
        ReportCheck.FIGURES: _("Every figure comes out again from the bundle ({count} figures)"),
        ReportCheck.CLAUSES: _("The clauses come to what their figures bear out ({count} clauses)"),
        ReportCheck.PAPER: _(
            "The PDF is the one that the HSM signed for ({count} file, named by --pdf)"
        ),
    }
    return sentences[one.check].format(count=one.looked_at)
