"""A report as data: every figure with its query and evidence, and what the clauses come to.

It is JSON in canonical form, so that two who work it out from one bundle get the same bytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kms.domain.reports import Period
from kms.errors import InvalidInput, VerificationFailed
from kms.reports import masking
from kms.reports.catalogue import Clause, clauses, figures, meets
from kms.reports.figures import Rows, opened
from kms.reports.masking import HIDDEN, Names
from kms.statements.canonical import decode_record, encode_record

FORMAT = "conclave-report-1"
_MOST_SECONDS = 250_000_000_000
_DAY_MINUTES = 1440
"""What a date and a distance from UTC can be; a report can come from elsewhere."""


@dataclass(frozen=True, slots=True)
class FigureOut:
    """A figure: its query, what it yields (``more`` rows were left out), how many leaves or
    documents it counts, the first and last of them, the query that yields them, and the SHA-256 of
    their texts (figures.Worked).
    """

    id: str
    query: str
    rows: Rows
    more: int
    counted: int
    first: int
    last: int
    sources: str
    evidence: str


@dataclass(frozen=True, slots=True)
class ClauseOut:
    """What a clause comes to: ``as-expected``, ``to-explain``, ``shown``, ``attested``, ``n/a``."""

    id: str
    result: str


@dataclass(frozen=True, slots=True)
class Content:
    """A whole report. ``maker`` made it; ``size`` and ``root`` (base64url) are the tree of the
    bundle, whose SHA-256 is ``bundle``. ``offset``: minutes that the site's time is ahead of UTC.
    """

    format: str
    site: str
    report: str
    maker: str
    since: int
    until: int
    made: int
    offset: int
    size: int
    root: str
    bundle: str
    masked: bool
    figures: tuple[FigureOut, ...]
    clauses: tuple[ClauseOut, ...]

    def result(self, clause: str) -> str:
        """Return what a clause comes to; ``n/a`` for one that the report does not have."""
        return next((one.result for one in self.clauses if one.id == clause), "n/a")

    def figure(self, name: str) -> FigureOut:
        """Return a figure; raise InvalidInput."""
        for one in self.figures:
            if one.id == name:
                return one
        raise InvalidInput(f"the report has no figure {name}")


def work_out(
    bundle: Path, period: Period, offset: int, progress: Callable[[int], None]
) -> tuple[FigureOut, ...]:
    """Return every figure of a period, whose days are ``offset`` minutes ahead of UTC; ``progress``
    hears how many are done. Raise VerificationFailed for a file that is no bundle.
    """
    found: list[FigureOut] = []
    with opened(bundle, period, offset) as evidence:
        for name, figure in figures().items():
            worked = evidence.work_out(figure.query, figure.sources)
            found.append(
                FigureOut(
                    id=name,
                    query=figure.query,
                    rows=worked.rows,
                    more=worked.more,
                    counted=worked.counted,
                    first=worked.first,
                    last=worked.last,
                    sources=figure.sources,
                    evidence=worked.evidence,
                )
            )
            progress(len(found))
    return tuple(found)


def judge(found: tuple[FigureOut, ...]) -> tuple[ClauseOut, ...]:
    """Return what each clause comes to by these figures."""
    rows = {one.id: one.rows for one in found}
    return tuple(ClauseOut(one.id, _result(one, rows)) for one in clauses())


def _result(clause: Clause, rows: dict[str, Rows]) -> str:
    if clause.result != "auto":
        return clause.result
    if not clause.expect:
        return "shown"
    return "as-expected" if meets(clause.expect, rows[clause.figures[0]]) else "to-explain"


def masked(content: Content) -> Content:
    """Return a report in which nobody, no caller and no meeting stands by name."""
    shown = mask_figures(content.figures, Names())
    return replace(content, maker=HIDDEN, masked=True, figures=shown)


def told_by_name(content: Content, names: Mapping[str, str]) -> Content:
    """Return a report for readers, in which people stand by name and slug; not what was signed."""
    known = figures()
    told = tuple(
        replace(one, rows=masking.told_by_name(known[one.id], one.rows, names))
        for one in content.figures
    )
    return replace(content, maker=masking.called(content.maker, names), figures=told)


def mask_figures(found: tuple[FigureOut, ...], names: Names) -> tuple[FigureOut, ...]:
    """Return figures of this version without the names in them."""
    return tuple(replace(one, rows=names.rows(figures()[one.id], one.rows)) for one in found)


def encode(content: Content) -> bytes:
    """Return a report as canonical JSON; raise InvalidInput."""
    return encode_record(content)


def decode(data: bytes) -> Content:
    """Return a report; raise VerificationFailed for anything that this version did not write."""
    try:
        found = decode_record(data, Content)
    except InvalidInput as error:
        raise VerificationFailed("not a compliance report, or another version's") from error
    if found.format != FORMAT:
        raise VerificationFailed(f"a report of another format: {found.format}")
    if not 0 <= found.since < found.until < _MOST_SECONDS or abs(found.offset) >= _DAY_MINUTES:
        raise VerificationFailed("a report of a time that there is not")
    return found
