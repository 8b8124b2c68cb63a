"""Trends: what people would rather look at than read. Each figure is a table too."""

from dataclasses import dataclass

from starlette.responses import Response

from kms.domain.ids import SpaceName
from kms.domain.models import Space
from kms.errors import InvalidInput, StoreUnavailable
from kms.i18n import _
from kms.usecases import recorder
from kms.usecases.queries import living_spaces, unknown_spaces
from kms.usecases.series import (
    Series,
    fetch_series,
    hsm_series,
    key_age_series,
    rotation_series,
    score_series,
)
from kms.usecases.watch.state import AGES
from kms.web.links import chosen_space, first_space
from kms.web.plotted import Axis, Plot, bars, busiest, lines
from kms.web.roles import OVERSEERS, PEOPLE
from kms.web.visit import Page, Visit

_DAY = 24 * 3600
PERIODS = {"day": _DAY, "week": 7 * _DAY, "month": 30 * _DAY, "year": 365 * _DAY}
"""How far back, in seconds."""
_MOST_TOKENS = 5
"""Lines that can be told apart."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What the journal has kept of a time; ``scores`` of one space, empty for none."""

    rotations: Plot
    scores: tuple[Plot, ...]
    speed: tuple[Plot, ...]


async def _plots(visit: Visit) -> Response:
    period, now = visit.query("period", "day"), visit.services.seconds()
    if period not in PERIODS:
        raise InvalidInput("the period is day, week, month or year")
    span = Axis(_("Time"), now - PERIODS[period], now)
    counted, ages = await _ages(visit)
    space, spaces = await _space(visit)
    return visit.show(
        "plots.html",
        period=period,
        periods=_periods(),
        space=space,
        spaces=spaces,
        counted=counted,
        ages=ages,
        kept=await _kept(visit, space, span),
    )


async def _kept(visit: Visit, space: SpaceName | str, span: Axis) -> Kept | None:
    """Return what was kept, None while the journal is made anew."""
    try:
        return Kept(
            await _rotations(visit, span),
            await _scores(visit, space, span) if space else (),
            (*await _fetches(visit, span), *await _tokens(visit, span)),
        )
    except StoreUnavailable:
        return None


def _periods() -> tuple[tuple[str, str], ...]:
    texts = {"day": _("24 hours"), "week": _("7 days"), "month": _("30 days"), "year": _("a year")}
    return tuple(texts.items())


async def _space(visit: Visit) -> tuple[SpaceName | str, list[Space]]:
    """Return whose scores are shown (empty: nobody's), and the spaces to choose from."""
    if not visit.principal.roles & OVERSEERS:
        return "", []
    spaces = await living_spaces(visit.services, visit.call("space.list"))
    unknown = await unknown_spaces(visit.services, visit.call("space.list"))
    present = [one for one in spaces if one.space not in unknown]
    chosen = chosen_space(visit)
    first = first_space(visit, present)
    return chosen or (first.space if first else ""), spaces


async def _rotations(visit: Visit, span: Axis) -> Plot:
    call = visit.call("rotation.read")
    found = await rotation_series(visit.services, call, span.since, span.until)
    texts = {
        "opened": _("Meetings began"),
        "time": _("Time or uses"),
        "roster": _("Somebody joined or left"),
        "manual": _("By hand"),
        "suspicion": _("Suspicion or compromise"),
    }
    named = [(texts[one.name], one) for one in found]
    return lines(_("New keys of meetings"), _("keys"), span, named, whole=True)


async def _ages(visit: Visit) -> tuple[int, Plot]:
    """Return when keys were counted last, and how old they were."""
    counted, found = await key_age_series(visit.services, visit.call("rotation.read"))
    title, axis = _("How long present keys have been in use"), _("In use for")
    return counted, bars(title, _("keys"), axis, _("Keys"), found, _age)


def _age(end: int) -> str:
    """Return a bucket of ages in words; the last has no end."""
    texts = {
        900: _("under 15 min"),
        3600: _("under 1 h"),
        4 * 3600: _("under 4 h"),
        _DAY: _("under 1 day"),
        7 * _DAY: _("under 7 days"),
    }
    return texts[end] if end in AGES else _("longer")


async def _fetches(visit: Visit, span: Axis) -> tuple[Plot, Plot]:
    call = visit.call("status.read")
    found = await fetch_series(visit.services, call, span.since, span.until)
    by_name = {one.name: one for one in found}
    took = [
        (_("50 of 100 took at most"), by_name[recorder.FETCH_P50]),
        (_("95 of 100 took at most"), by_name[recorder.FETCH_P95]),
    ]
    rate = [(_("Fetches"), by_name[recorder.FETCHES])]
    return (
        lines(_("How long fetching a key takes"), _("milliseconds"), span, took, 1000),
        lines(_("Keys fetched"), _("a second"), span, rate),
    )


async def _tokens(visit: Visit, span: Axis) -> tuple[Plot, Plot]:
    call = visit.call("hsm.read")
    found = await hsm_series(visit.services, call, span.since, span.until)
    return (
        lines(
            _("How busy the HSM is"), _("% of the time"), span,
            _of_tokens(found, recorder.HSM_BUSY), 100,
        ),
        lines(
            _("Requests to the HSM"), _("a second"), span,
            _of_tokens(found, recorder.HSM_REQUESTS),
        ),
    )  # fmt: skip


def _of_tokens(found: tuple[Series, ...], name: str) -> list[tuple[str, Series]]:
    """Return the series of a name under the labels of the busiest tokens."""
    chosen = busiest((one for one in found if one.name == name), _MOST_TOKENS)
    return [(one.subject, one) for one in chosen]


async def _scores(visit: Visit, space: SpaceName | str, span: Axis) -> tuple[Plot, Plot]:
    call = visit.call("score.read")
    found = await score_series(visit.services, call, space, span.since, span.until)
    by_name = {one.name: one for one in found}
    scores = [
        (_("Mean"), by_name[recorder.SCORE_MEAN]),
        (_("Lowest"), by_name[recorder.SCORE_LOWEST]),
    ]
    meetings = [
        (_("Open meetings"), by_name[recorder.OPEN]),
        (_("Overdue"), by_name[recorder.OVERDUE]),
    ]
    return (
        lines(_("Score of open meetings"), _("0 to 1"), span, scores),
        lines(_("Open meetings and overdue keys"), "", span, meetings, whole=True),
    )


PAGES = (Page("plots", "/plots", PEOPLE, _plots),)
