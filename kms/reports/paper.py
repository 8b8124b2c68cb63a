"""Sets a report for print: what stands on which page, in the present language."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kms.documents.report import render_report
from kms.domain.reports import Period
from kms.reports.catalogue import Clause, Figure, clauses, figures, numbers, parts
from kms.reports.content import Content, FigureOut
from kms.reports.figures import ahead
from kms.reports.wording import cell, chosen, days, moment, say
from kms.site_time import zone_of
from kms.statements.canonical import unb64u

_SHOWN = 60
"""Rows of a table that are printed; the others are in report.json."""
_BARS = 62
"""Bars that a chart of days can have before days are put together."""
_RESULTS = ("as-expected", "to-explain", "shown", "attested", "n/a")


@dataclass(frozen=True, slots=True)
class Mark:
    """Who exported a report, when (whole seconds), by which request (empty: names are masked)."""

    actor: str
    time: int
    request: str = ""


def pdf(content: Content, mark: Mark, attachments: dict[str, str]) -> bytes:
    """Return a report as PDF/A-3 in the present language, with texts attached by their names;
    raise ConfigurationError if a font is missing.
    """
    data = paper_data(content, mark) | {
        "attachments": [{"name": name, "text": text} for name, text in attachments.items()]
    }
    return render_report(data, mark.time)


def paper_data(content: Content, mark: Mark) -> dict[str, Any]:
    """Return what the template is given, attachments aside."""
    known = numbers()
    return {
        "title": say("title"),
        "kind": say("kind"),
        "watermark": _watermark(content, mark),
        "footer": f"{content.site} · {say('page', report=content.report)}",
        "words": {name: say(name) for name in _FIXED},
        "attached": say("attached_masked" if content.masked else "attached"),
        "cover": _cover(content, mark),
        "score": _score(content),
        "results": _results(content),
        "clauses": [_clause(content, one) for one in clauses()],
        "sections": [
            {
                "title": chosen(part),
                "facts": [_fact(content, name, known) for name in part.figures if _single(name)],
                "figures": [
                    _table(content, name, known) for name in part.figures if not _single(name)
                ],
            }
            for part in parts()
        ],
        "attests": [
            _to_sign(content, one)
            for one in clauses()
            if content.result(one.id) in {"attested", "to-explain"}
        ],
        "appendix": [_source(content, name, known) for name in figures()],
        "appendix_note": _appendix_note(content),
    }


_FIXED = (
    "contents", "summary", "clauses", "signatures", "appendix", "score", "score_note", "rows_note",
    "clause_note", "score_title", "results_title", "c_clause", "c_requirement", "c_level",
    "c_evidence", "c_result", "figure", "value", "none", "query", "evidence",
    "sign_note", "sign_made", "sign_checked", "sign_audit", "date", "key_figures",
)  # fmt: skip


def _watermark(content: Content, mark: Mark) -> str:
    time = moment(mark.time, content.offset)
    if mark.request:
        return say("watermark_request", actor=mark.actor, time=time, request=mark.request)
    return say("watermark", actor=mark.actor, time=time)


def _cover(content: Content, mark: Mark) -> list[list[str]]:
    names = say("unmasked", request=mark.request) if mark.request else say("masked")
    return [
        [say("site"), content.site],
        [say("period"), days(content.since, content.until, content.offset)],
        [say("made"), moment(content.made, content.offset)],
        [say("maker"), content.maker],
        [say("report"), content.report],
        [say("tree"), say("tree_value", size=content.size)],
        [say("root"), unb64u(content.root).hex()],
        [say("bundle"), unb64u(content.bundle).hex()],
        [say("names"), names],
    ]


def _score(content: Content) -> dict[str, Any]:
    """Return the mean of the meetings' scores, and how many have which."""
    told = content.figure("meetings.scores")
    values = [int(row[-1]) for row in told.rows]
    if not values:
        return {"value": "-", "of": say("score_none"), "bars": []}
    count = Counter(values)
    bars = [{"label": f"{one / 100:.2f}", "value": count[one]} for one in sorted(count)]
    mean = f"{sum(values) / len(values) / 100:.2f}"
    return {"value": mean, "of": say("score_of", count=len(values)), "bars": bars}


def _results(content: Content) -> list[dict[str, Any]]:
    count = Counter(one.result for one in content.clauses)
    return [{"label": _result(name), "value": count[name]} for name in _RESULTS]


def _result(name: str) -> str:
    return say(name.replace("/", "_"))


def why(content: Content, one: Clause) -> str:
    """Return the figure that leaves a clause to be explained, its value, and what was expected;
    empty for any other clause.
    """
    if content.result(one.id) != "to-explain":
        return ""
    told = content.figure(one.figures[0])
    if one.expect == "none":
        value, expected = str(len(told.rows) + told.more), "= 0"
    else:
        value, expected = str(told.rows[0][0] if told.rows else "-"), one.expect
    return say("why", figure=numbers()[told.id], value=value, expected=expected)


def _to_sign(content: Content, one: Clause) -> str:
    """Return a clause that people state or explain in writing, with why."""
    reason = why(content, one)
    name = "attest_why" if reason else "attest"
    return say(name, clause=one.named, text=chosen(one), why=reason)


def _clause(content: Content, one: Clause) -> dict[str, Any]:
    result = content.result(one.id)
    return {
        "clause": f"{one.named}{' †' if one.unverified else ''}",
        "text": chosen(one),
        "level": say(one.level),
        "evidence": ", ".join(numbers()[name] for name in one.figures) or "-",
        "result": _result(result),
        "why": why(content, one),
        "grave": result == "to-explain",
    }


def _single(name: str) -> bool:
    """Whether a figure is one number, told in a line."""
    figure = figures()[name]
    return len(figure.columns) == 1 and not figure.chart


def _fact(content: Content, name: str, known: dict[str, str]) -> list[str]:
    told, figure = content.figure(name), figures()[name]
    value = told.rows[0][0] if told.rows else "-"
    return [known[name], chosen(figure), cell(figure.columns[0], value, content.offset)]


def _table(content: Content, name: str, known: dict[str, str]) -> dict[str, Any]:
    told, figure = content.figure(name), figures()[name]
    more = told.more + max(0, len(told.rows) - _SHOWN)
    return {
        "number": known[name],
        "title": chosen(figure),
        "headings": [_heading(chosen(one)) for one in figure.columns],
        "kinds": [one.kind for one in figure.columns],
        "rows": [
            [cell(*one, content.offset) for one in zip(figure.columns, row, strict=True)]
            for row in ([] if figure.chart == "days" else told.rows[:_SHOWN])
        ],
        "more": say("more", count=more) if more and figure.chart != "days" else "",
        "chart": figure.chart if told.rows else "",
        "bars": list(_bars(content, figure, told)) if figure.chart else [],
    }


def _bars(content: Content, figure: Figure, told: FigureOut) -> Iterator[dict[str, Any]]:
    """Yield the bars of a chart: of days each one of the period, several put together if there
    are too many.
    """
    if figure.chart == "bars":
        for row in told.rows:
            label = cell(figure.columns[0], row[0], content.offset)
            yield {"label": label, "value": row[-1]}
        return
    counts = {str(row[0]): int(row[1]) for row in told.rows}
    zone = zone_of(content.offset)
    ends = (content.since, content.until - 1)
    first, last = (datetime.fromtimestamp(end, zone).date() for end in ends)
    step = -(-((last - first).days + 1) // _BARS)
    for start in range(0, (last - first).days + 1, step):
        group = [str(first + timedelta(days=start + extra)) for extra in range(step)]
        yield {"label": group[0], "value": sum(counts.get(day, 0) for day in group)}


def _heading(text: str) -> str:
    return text[:1].upper() + text[1:]


def _source(content: Content, name: str, known: dict[str, str]) -> dict[str, str]:
    told = content.figure(name)
    if told.first < 0:
        counted = say("counted", count=told.counted)
    else:
        counted = say("counted_leaves", count=told.counted, first=told.first, last=told.last)
    return {
        "number": known[name],
        "id": name,
        "title": chosen(figures()[name]),
        "query": told.query,
        "counted": counted,
        "evidence": unb64u(told.evidence).hex(),
    }


def _appendix_note(content: Content) -> str:
    since, until = Period(content.since, content.until).bounds
    return say("appendix_note", since=since, until=until, ahead=ahead(content.offset))
