"""From series to what a figure shows: lines over time, bars by buckets; each is a table too."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from kms.usecases.series import Series
from kms.web.words import moment

Cell = float | int | None
_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure and its table: ``axis`` names the first column, ``names`` the others; a row is its
    place on the axis, the place in words, and a value for each name (None: nothing there).
    ``span``: from when to when the axis goes, whole seconds (None: as far as the rows). ``whole``:
    its values count things.
    """

    title: str
    unit: str
    axis: str
    names: tuple[str, ...]
    rows: tuple[tuple[int, str, tuple[Cell, ...]], ...]
    span: tuple[int, int] | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of time: what it is called, from when to when it goes (whole seconds)."""

    name: str
    since: int
    until: int


def lines(
    title: str, unit: str, axis: Axis, named: Sequence[tuple[str, Series]], factor: float = 1,
    *, whole: bool = False,
) -> Plot:  # fmt: skip
    """Return series as lines over one time, each under its name, values times ``factor``; of
    ``whole`` ones a mean is rounded up, so that none but nothing is 0.
    """
    columns = [dict(one.points) for _, one in named]
    times = sorted(set().union(*columns))
    rows = (
        (time, moment(time), tuple(_scaled(column.get(time), factor, whole) for column in columns))
        for time in times
    )
    names, span = tuple(name for name, _ in named), (axis.since, axis.until)
    return Plot(title, unit, axis.name, names, tuple(rows), span, whole)


def bars(
    title: str, unit: str, axis: str, name: str, series: Series, label: Callable[[int], str]
) -> Plot:
    """Return a series of buckets as bars, each under what ``label`` says of it; no row at all if
    every bucket is empty.
    """
    rows = tuple(
        (place, label(bucket), (_scaled(value, 1, True),))
        for place, (bucket, value) in enumerate(series.points)
    )
    shown = rows if any(one for _, one in series.points) else ()
    return Plot(title, unit, axis, (name,), shown, whole=True)


def busiest(series: Iterable[Series], most: int) -> list[Series]:
    """Return those series with the greatest sums, in the order that they had."""
    known = list(series)
    chosen = sorted(known, key=lambda one: -sum(value for _, value in one.points))[:most]
    return [one for one in known if one in chosen]


def _scaled(value: float | None, factor: float, whole: bool) -> Cell:
    """Return a value as people read it: three digits that count, whole numbers without a point."""
    if value is None:
        return None
    if whole:
        return ceil(value * factor)
    short = float(f"{value * factor:.{_DIGITS}g}")
    return int(short) if short.is_integer() else short
