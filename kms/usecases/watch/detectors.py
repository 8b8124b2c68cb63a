"""What is seen becomes conditions: one function a detector, from facts and history to causes.

Nothing here knows thresholds; a number that is too small raises nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kms.domain.alerts import Condition
from kms.domain.disks import DiskState
from kms.usecases.watch.history import Subject
from kms.usecases.watch.state import Watched

_HOUR, _DAY, _MINUTE = 3600, 24 * 3600, 60
_MOST_OF_LIFE = 4
SITE = "site"


@dataclass(frozen=True, slots=True)
class View:
    """What detectors look at; ``now`` in whole seconds since 1970, ``monotonic`` for durations."""

    watched: Watched
    now: int
    monotonic: float


Detector = Callable[[View], Iterator[Condition]]


def rotation_overdue(view: View) -> Iterator[Condition]:
    """Count overdue keys by space."""
    for space, keys in view.watched.facts.keys.items():
        yield Condition("rotation-overdue", space, space, keys.overdue)


def vault_overdue(view: View) -> Iterator[Condition]:
    """Count the days by which a space's vault key is overdue, the first one begun."""
    for space, vaults in view.watched.facts.vaults.items():
        if vaults.due and view.now >= vaults.due:
            days = (view.now - vaults.due) // _DAY + 1
            yield Condition("vault-overdue", space, space, days)


def vault_retirable(view: View) -> Iterator[Condition]:
    """Count the older vault keys that nothing depends on."""
    for space, vaults in view.watched.facts.vaults.items():
        yield Condition("vault-retirable", space, space, vaults.retirable)


def reseal_stuck(view: View) -> Iterator[Condition]:
    """Measure for how long resealing stands still, unless somebody paused it."""
    facts = view.watched.facts
    for space, vaults in facts.vaults.items():
        if vaults.remaining and not vaults.paused:
            minutes = int(view.monotonic - facts.stuck[space][1]) // _MINUTE
            yield Condition("reseal-stuck", space, space, minutes, f"{vaults.remaining} remain")


def bulk_fetch(view: View) -> Iterator[Condition]:
    """Count envelopes by caller and minute."""
    yield from _counted("bulk-fetch", view.watched.history.bulk.take())


def unusual_fetch(view: View) -> Iterator[Condition]:
    """Compare each caller's hour with its own past."""
    yield from _counted("unusual-fetch", view.watched.history.past.take())


def repeated_refusals(view: View) -> Iterator[Condition]:
    """Count refusals by caller and ten minutes."""
    yield from _counted("repeated-refusals", view.watched.history.refusals.take())


def integrity_failure(view: View) -> Iterator[Condition]:
    """Count what was found altered."""
    yield from _counted("integrity-failure", view.watched.history.altered.take())


def key_compromised(view: View) -> Iterator[Condition]:
    """Count keys marked compromised."""
    yield from _counted("key-compromised", view.watched.history.compromised.take())


def passkey_new(view: View) -> Iterator[Condition]:
    """Count, by person, the approval passkeys that somebody enrolled or admitted."""
    yield from _counted("passkey-new", view.watched.history.vouching.take())


def _counted(alert: str, counts: dict[Subject, int]) -> Iterator[Condition]:
    for (space, subject), number in counts.items():
        yield Condition(alert, space, subject, number)


def clock_jump(view: View) -> Iterator[Condition]:
    """Tell the largest jump since the last look."""
    jumps, view.watched.history.jumps = view.watched.history.jumps, []
    if jumps:
        largest = max(jumps, key=abs)
        yield Condition("clock-jump", "", "clock", abs(largest), f"{largest:+d} s")


def escrow(view: View) -> Iterator[Condition]:
    """Tell gaps, late drills and generations to replace."""
    found = view.watched.facts.escrow
    if found is not None:
        yield Condition("escrow-gap", "", SITE, found.gaps)
        yield Condition("escrow-drill-overdue", "", SITE, found.drills)
        yield Condition("escrow-owed", "", SITE, found.owed)


def hsm_trouble(view: View) -> Iterator[Condition]:
    """Count a token's silent looks."""
    facts = view.watched.facts
    for token, space in facts.tokens.items():
        yield Condition("hsm-trouble", space, token, facts.misses[token], facts.workers[token])


def grant_forgotten(view: View) -> Iterator[Condition]:
    """Count flagged grants by space."""
    for space, number in view.watched.facts.flagged.items():
        yield Condition("grant-forgotten", space, space, number)


def log_trouble(view: View) -> Iterator[Condition]:
    """Measure for how long the log cannot be written, or its tail is not signed."""
    facts = view.watched.facts
    if facts.log_error:
        seconds = int(view.monotonic - facts.log_since)
        yield Condition("log-trouble", "", "log", seconds, facts.log_error)
    yield Condition("log-trouble", "", "checkpoint", int(facts.unsigned))


def approval_waiting(view: View) -> Iterator[Condition]:
    """Measure for how long each request waits; one that has little time left waits long enough."""
    for one in view.watched.facts.waiting:
        if view.now >= one.expires:
            continue
        waited = max(0, view.now - one.issued)
        late = waited * _MOST_OF_LIFE >= (one.expires - one.issued) * (_MOST_OF_LIFE - 1)
        hours = max(waited // _HOUR, _DAY // _HOUR) if late else waited // _HOUR
        text = f"{one.operation}, {(one.expires - view.now) // _MINUTE} minutes left"
        yield Condition("approval-waiting", one.space, one.request, hours, text)


def disk_unknown(view: View) -> Iterator[Condition]:
    """Tell devices that are no enrolled disk."""
    for one in view.watched.facts.devices:
        if one.state is DiskState.UNKNOWN:
            yield Condition("disk-unknown", one.space, one.serial, 1)


def disk_quarantined(view: View) -> Iterator[Condition]:
    """Tell disks that failed a check, and which."""
    for one in view.watched.facts.devices:
        if one.state is DiskState.QUARANTINED:
            yield Condition("disk-quarantined", one.space, one.serial, 1, one.code)


def disk_gone_open(view: View) -> Iterator[Condition]:
    """Count how often a disk was gone that was open."""
    yield from _counted("disk-gone-open", view.watched.history.torn.take())


def disk_recovery_overdue(view: View) -> Iterator[Condition]:
    """Count disks by space whose recovery key is long due."""
    for space, number in view.watched.facts.untested.items():
        yield Condition("disk-recovery-overdue", space, space, number)


def disk_order_failed(view: View) -> Iterator[Condition]:
    """Count orders that failed."""
    yield from _counted("disk-order-failed", view.watched.history.failed.take())


def seal(view: View) -> Iterator[Condition]:
    """Tell what is sealed."""
    for space in view.watched.facts.sealed:
        yield Condition("seal", space, space or SITE, 1)


def delivery_failed(view: View) -> Iterator[Condition]:
    """Measure for how long each channel fails, or does not go on."""
    for name, channel in view.watched.channels.items():
        known = [one for one in (channel.failing_since, channel.still_since) if one is not None]
        if known:
            minutes = int(view.monotonic - min(known)) // _MINUTE
            yield Condition("delivery-failed", "", name, minutes, channel.error)


DETECTORS: tuple[Detector, ...] = (
    rotation_overdue,
    vault_overdue,
    vault_retirable,
    reseal_stuck,
    bulk_fetch,
    unusual_fetch,
    repeated_refusals,
    integrity_failure,
    key_compromised,
    passkey_new,
    clock_jump,
    escrow,
    hsm_trouble,
    grant_forgotten,
    log_trouble,
    approval_waiting,
    disk_unknown,
    disk_quarantined,
    disk_gone_open,
    disk_recovery_overdue,
    disk_order_failed,
    seal,
    delivery_failed,
)
