"""The site's facts as metrics: what the watcher saw last, so that a scrape looks at no meeting."""

from collections import Counter
from collections.abc import Mapping

from kms.api.metrics import Family
from kms.domain.alerts import Severity
from kms.domain.models import RotationReason
from kms.usecases.services import Services
from kms.usecases.watch.state import READY, Watched


def families(services: Services) -> list[Family]:
    """Return every family."""
    watched = services.watched
    return [
        *_log(services),
        *_keys(services),
        *_people(watched),
        *_machine(services),
        *_channels(services),
    ]


def _log(services: Services) -> list[Family]:
    store, watched = services.store, services.watched
    signed = store.last_checkpoint()
    return [
        _gauge("audit_leaves", "Durable leaves of the audit log.", store.tree_size()),
        _gauge(
            "audit_checkpoint_leaves",
            "Leaves under the newest signed checkpoint.",
            signed[0] if signed else 0,
        ),
        _gauge(
            "audit_unsigned_seconds",
            "How long the oldest leaf under no checkpoint has waited.",
            watched.facts.unsigned,
        ),
        _gauge(
            "audit_writable", "1 if the log could be written.", float(not watched.facts.log_error)
        ),
        _gauge(
            "audit_open_intents",
            "Operations that have begun and not ended.",
            len(store.open_intents()),
        ),
        _counter("refusals_total", "Refused requests and approvals.", watched.history.refused),
    ]


def _keys(services: Services) -> list[Family]:
    watched = services.watched
    keys = watched.facts.keys.values()
    states: Counter[str] = Counter()
    for one in keys:
        states.update(one.states)
    oldest = min((one.oldest for one in keys if one.oldest), default=0)
    vaults = watched.facts.vaults.values()
    minted = dict.fromkeys((one.value for one in RotationReason), 0) | watched.history.minted
    known = {"pre-activation": 0, "active": 0, "suspended": 0, "compromised": 0}
    return [
        _gauge("open_meetings", "Meetings with a key in use.", sum(one.open for one in keys)),
        _family("epochs", "Epochs that are not over, by state.", known | states, "state"),
        _gauge(
            "rotation_overdue",
            "Open meetings whose key is older than its maximum age.",
            sum(one.overdue for one in keys),
        ),
        _gauge(
            "oldest_epoch_seconds",
            "Age of the oldest key in use.",
            max(0, services.seconds() - oldest) if oldest else 0,
        ),
        Family(
            "conclave_epochs_minted_total", "counter", "Keys made, by reason.", minted, "reason"
        ),
        _gauge(
            "reseal_remaining",
            "Epochs that still depend on an older vault key.",
            sum(one.remaining for one in vaults),
        ),
        _counter(
            "resealed_total", "Epochs wrapped to a newer vault key.", watched.history.resealed
        ),
    ]


def _people(watched: Watched) -> list[Family]:
    active = Counter(one.severity.value for one in watched.board.active())
    facts = watched.facts
    return [
        _family(
            "alerts",
            "Active alerts by severity.",
            {one.value: active[one.value] for one in Severity},
            "severity",
        ),
        _gauge("approvals_pending", "Requests that wait for approval.", len(facts.waiting)),
        _gauge("grants", "Granted roles in force.", facts.grants),
        _gauge("grants_flagged", "Granted roles that nobody uses or needs.", facts.flagged.total()),
        _gauge(
            "escrow_gaps",
            "Keys that could not be recovered.",
            facts.escrow.gaps if facts.escrow else 0,
        ),
        _gauge(
            "escrow_drills_overdue",
            "Officers whose drill is overdue.",
            facts.escrow.drills if facts.escrow else 0,
        ),
    ]


def _machine(services: Services) -> list[Family]:
    watched, workers = services.watched, services.watched.facts.workers
    return [
        _gauge("workers", "HSM tokens of the configuration.", len(services.settings.hsm.tokens)),
        _gauge(
            "workers_up",
            "HSM tokens that answered.",
            sum(state == READY for state in workers.values()),
        ),
        _gauge("spaces_sealed", "Sealed spaces.", len(watched.facts.sealed)),
        _gauge(
            "clock_offset_seconds",
            "By how much the wall clock is ahead of the service's.",
            watched.offset(),
        ),
    ]


def _channels(services: Services) -> list[Family]:
    size, channels = services.store.tree_size(), services.watched.channels
    return [
        _family(
            "notify_lag_leaves",
            "Leaves that a notification channel has yet to look at.",
            {name: size - one.position for name, one in channels.items()},
            "channel",
        ),
        _family(
            "notify_failing",
            "1 while a notification channel does not deliver.",
            {name: float(one.failing_since is not None) for name, one in channels.items()},
            "channel",
        ),
    ]


def _gauge(name: str, meaning: str, value: float) -> Family:
    return _family(name, meaning, {"": value}, "")


def _family(name: str, meaning: str, values: Mapping[str, float], label: str) -> Family:
    return Family(f"conclave_{name}", "gauge", meaning, values, label)


def _counter(name: str, meaning: str, value: float) -> Family:
    return Family(f"conclave_{name}", "counter", meaning, {"": value})
