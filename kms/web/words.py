"""How values read on a page: times, lengths of time, ids, states with an icon beside the word."""

from datetime import UTC, datetime

from kms.domain.states import KeyState
from kms.errors import ConclaveError
from kms.i18n import Language, _, fill, language
from kms.site_time import local, zone
from kms.statements.canonical import unb64u

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_SHORT = 8
_TERMS = frozenset(one.value for one in KeyState)

ICONS = {
    KeyState.PRE_ACTIVATION.value: ("○", "quiet"),
    KeyState.ACTIVE.value: ("●", "good"),
    KeyState.SUSPENDED.value: ("◐", "warn"),
    KeyState.DEACTIVATED.value: ("◌", "quiet"),
    KeyState.COMPROMISED.value: ("▲", "bad"),
    KeyState.DESTROYED.value: ("✕", "quiet"),
    "open": ("●", "good"),
    "closed": ("◌", "quiet"),
    "ready": ("✓", "good"),
    "overdue": ("▲", "bad"),
    "sealed": ("■", "bad"),
    "critical": ("▲", "bad"),
    "warning": ("▲", "warn"),
    "notice": ("○", "quiet"),
    "pending": ("◐", "warn"),
    "outdated": ("◌", "quiet"),
    "expired": ("◌", "quiet"),
    "executed": ("✓", "good"),
    "cancelled": ("✕", "quiet"),
    "succeeded": ("✓", "good"),
    "refused": ("✕", "bad"),
    "failed": ("▲", "bad"),
    "interrupted": ("▲", "warn"),
    "enrolled": ("○", "quiet"),
    "mounted": ("●", "good"),
    "locked": ("■", "warn"),
    "rotating": ("◐", "warn"),
    "erasing": ("◐", "warn"),
    "erased": ("✕", "quiet"),
    "quarantined": ("▲", "bad"),
    "unknown": ("○", "quiet"),
    "seen": ("○", "quiet"),
    "gone": ("◌", "quiet"),
    "waiting": ("○", "quiet"),
    "running": ("◐", "warn"),
    "done": ("✓", "good"),
    "called": ("○", "warn"),
    "begun": ("◐", "warn"),
    "to-be-signed": ("◐", "warn"),
    "aborted": ("✕", "quiet"),
    "in-office": ("●", "good"),
    "term-not-begun": ("○", "quiet"),
    "term-ended": ("◌", "warn"),
    "drill-overdue": ("▲", "bad"),
    "removed": ("✕", "quiet"),
    "in-force": ("●", "good"),
    "scheduled": ("○", "quiet"),
    "revoked": ("✕", "quiet"),
    "unused": ("▲", "warn"),
    "forgotten": ("▲", "warn"),
}
"""Icon and tone of a state; the word always stands beside it."""


def icon(state: str) -> tuple[str, str]:
    """Return a state's icon and tone."""
    return ICONS.get(state, ("·", "quiet"))


def word(value: object) -> str:
    """Return a state, kind or reason in the present language; one that no catalogue spells out has
    spaces where programs write hyphens, save the states of keys, which are terms.
    """
    text = str(value)
    told = _(text)
    return told if told != text or text in _TERMS else text.replace("-", " ")


def moment(value: float | str | None) -> str:
    """Return a time of the site for people: seconds since 1970 or RFC 3339; a dash for none."""
    found = _time(value)
    return found.astimezone(zone()).strftime("%Y-%m-%d %H:%M:%S") if found else "—"


def minutes_of_day(value: int) -> str:
    """Return the site's time of the day, of minutes since midnight (UTC)."""
    return f"{local(60 * value):%H:%M}"


def machine(value: float | str | None) -> str:
    """Return a time as RFC 3339."""
    found = _time(value)
    return found.strftime("%Y-%m-%dT%H:%M:%SZ") if found else ""


def _time(value: float | str | None) -> datetime | None:
    if not value:
        return None
    if isinstance(value, str):
        return datetime.fromisoformat(value).astimezone(UTC)
    return datetime.fromtimestamp(value, UTC)


def duration(seconds: float) -> str:
    """Return a length of time in its one or two greatest units."""
    left = int(abs(seconds))
    texts = (_("{count} d"), _("{count} h"), _("{count} min"), _("{count} s"))
    units = list(zip((_DAY, _HOUR, _MINUTE, 1), texts, strict=True))
    first = next((at for at, (size, _text) in enumerate(units) if left >= size), len(units) - 1)
    parts: list[str] = []
    for size, text in units[first : first + 2]:
        number, left = divmod(left, size)
        if number or not parts:
            parts.append(text.format(count=number))
    return " ".join(parts)


def countdown(seconds: float) -> str:
    """Return how long until a time as a clock, with a plus once it is over; from a day on in words.
    conclave.js goes on counting in this form.
    """
    left = int(abs(seconds))
    if left >= _DAY:
        return (_("in {time}") if seconds >= 0 else _("{time} late")).format(time=duration(left))
    clock = f"{left // _HOUR:02d}:{left // _MINUTE % 60:02d}:{left % 60:02d}"
    return f"+{clock}" if seconds < 0 else clock


def short(value: str) -> str:
    """Return the end of an id, which tells apart those made at one time."""
    return value if len(value) <= _SHORT else f"…{value[-_SHORT:]}"


def hexadecimal(digest: str) -> str:
    """Return a digest in base64url as hexadecimal, as tools for files print it."""
    return unb64u(digest).hex()


def count(value: float) -> str:
    """Return a number with its thousands set apart."""
    return f"{value:,}"


def advice(error: ConclaveError) -> str:
    """Return what an error tells people to do next, in the present language."""
    return fill(error.next, error.about)


def said(error: ConclaveError) -> str:
    """Return what an error says in the present language, as commands do."""
    if type(error) is ConclaveError:  # what failed is the log's business
        return _("A fault in Conclave itself.")
    if language() is not Language.EN and _(error.source) == error.source:
        first = (type(error).__doc__ or "").partition("\n")[0]
        return f"{_(first)} {error.message}"
    return fill(error.source, error.about)
