"""The site's own time, in which people read and say when something was: a fixed distance from UTC.

Like the language it belongs to the context (a request). What is signed and what programs read stays
in UTC.
"""

from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, timezone

_offset: ContextVar[int] = ContextVar("site-time", default=0)


def keep_time(offset: int) -> None:
    """Choose the time of the present context: ``offset`` minutes ahead of UTC."""
    _offset.set(offset)


def zone() -> timezone:
    """Return the time zone of the present context."""
    return zone_of(_offset.get())


def zone_seconds() -> int:
    """Return by how many seconds the time of the present context is ahead of UTC."""
    return 60 * _offset.get()


def local(seconds: float) -> datetime:
    """Return seconds since 1970 in the time of the present context."""
    return datetime.fromtimestamp(seconds, UTC).astimezone(zone())


def zone_of(offset: int) -> timezone:
    """Return the time zone that is ``offset`` minutes ahead of UTC."""
    return timezone(timedelta(minutes=offset))


def zone_name(offset: int | None = None) -> str:
    """Return how far a time is ahead of UTC (None: the present context's), such as UTC+08:00."""
    ahead = _offset.get() if offset is None else offset
    hours, minutes = divmod(abs(ahead), 60)
    return f"UTC{'-' if ahead < 0 else '+'}{hours:02d}:{minutes:02d}"
