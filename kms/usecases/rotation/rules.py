"""When and why a meeting's next epoch is due, and when an epoch starts and ends; pure.

Times are whole seconds since 1970. Nothing here destroys anything: time alone only makes new keys.
"""

import hashlib
from dataclasses import dataclass

from kms.domain.models import URGENT, Epoch, RotationReason
from kms.domain.policies import RotationRules
from kms.domain.states import IN_USE, KeyState

MARGIN = 20
"""So long before an epoch's end the next one is to have started: longer than a dead process's lease
stands, or a busy token takes."""
_SHARE, _MOST_SPREAD = 50, 50  # less than a minute, the shortest time between quiet hours
_DAY, _MINUTE = 86_400, 60


@dataclass(frozen=True, slots=True)
class Due:
    """The next epoch is to be made at ``at``, or was if that has passed, for a reason."""

    at: int
    reason: RotationReason


def next_due(
    rules: RotationRules, present: Epoch, published: Epoch | None, uses: int, now: int
) -> Due | None:
    """Return when an open meeting's next epoch is due; None while there is nothing to do: it is
    published already, or people suspended the present one, and only they go on.

    ``uses`` counts the envelopes served of the present epoch. A compromised epoch is replaced at
    once, whatever was published or the quiet hours say.
    """
    if present.state not in IN_USE:
        return Due(present.activates, RotationReason.COMPROMISE)
    if present.state is KeyState.SUSPENDED:
        return None
    due = _due(rules, present, uses, now)
    starts = max(due.at, now) + rules.publish_ahead_seconds
    if published is not None and published.activates <= starts:
        return None
    return due


def _due(rules: RotationRules, present: Epoch, uses: int, now: int) -> Due:
    latest = _by_age(rules, present)
    if rules.maximum_uses and uses >= rules.maximum_uses:
        return Due(min(latest, now), RotationReason.USES)
    return Due(min(latest, _by_interval(rules, present, now)), RotationReason.TIME)


def _by_age(rules: RotationRules, present: Epoch) -> int:
    """Return when to make the next epoch at the latest: it starts before this one ends."""
    age = present.retires - present.activates
    early = MARGIN + _spread(present, min(age, rules.maximum_age_seconds))
    wanted = present.retires - rules.publish_ahead_seconds - early
    return max(wanted, present.activates + age // 2, present.activates)


def _by_interval(rules: RotationRules, present: Epoch, now: int) -> int:
    """Return when the interval ends, or if that is within quiet hours, when they do."""
    if not rules.interval_seconds:
        return present.retires
    ahead, spread = rules.publish_ahead_seconds, _spread(present, rules.interval_seconds)
    wanted = max(present.activates + rules.interval_seconds - spread - ahead, present.activates)
    starts = max(wanted, now) + ahead
    free = _after_quiet(rules, starts, spread)
    return wanted if free == starts else free - ahead


def _after_quiet(rules: RotationRules, starts: int, spread: int) -> int:
    """Return ``starts``, or if that is within quiet hours or hardly past, ``spread`` past them."""
    end = quiet_end(rules, starts)
    return quiet_end(rules, starts - spread) + spread if end == starts else end + spread


def _spread(present: Epoch, period: int) -> int:
    """Return by how many seconds this meeting differs from others that are due with it."""
    most = min(period // _SHARE, _MOST_SPREAD)
    digest = hashlib.sha256(f"{present.space}/{present.meeting}".encode()).digest()
    return int.from_bytes(digest[:4]) % (most + 1)


def quiet_end(rules: RotationRules, when: int) -> int:
    """Return ``when``, or if it is within quiet hours, when they end."""
    minute = when % _DAY // _MINUTE
    length = (rules.quiet_until - rules.quiet_from) % (_DAY // _MINUTE)
    into = (minute - rules.quiet_from) % (_DAY // _MINUTE)
    if into >= length:
        return when
    return when - when % _MINUTE + (length - into) * _MINUTE


def lifetime(
    rules: RotationRules, reason: RotationReason, present: Epoch | None, now: int
) -> tuple[int, int]:
    """Return when an epoch that is minted now starts and ends at the latest.

    A join waits for the present epoch's age; nothing waits beyond the present epoch's end, or when
    that one is no longer in use.
    """
    if present is None or reason in URGENT:
        return now, now + rules.maximum_age_seconds
    wanted = now + rules.publish_ahead_seconds
    if reason is RotationReason.JOIN:
        wanted = max(wanted, present.activates + rules.join_age_seconds)
    end = present.retires if present.state in IN_USE else now
    starts = min(wanted, max(end, now + 1))
    return starts, starts + rules.maximum_age_seconds
