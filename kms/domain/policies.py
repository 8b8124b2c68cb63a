"""What a space's policy says: labels, when keys rotate, how long they are kept, who must approve,
when to raise an alert. A space without a policy of its own has the defaults of the configuration.

Changed by an approved request alone (kms/domain/approvals.py).
"""

from dataclasses import dataclass

from kms.domain.ids import SpaceName
from kms.errors import InvalidInput

_DAY_MINUTES = 24 * 60
_LEAST_AGE = 60


@dataclass(frozen=True, slots=True)
class Labels:
    """What the policy engine knows of a space; empty: not said."""

    department: str = ""
    business_type: str = ""
    region: str = ""
    customer_level: str = ""
    classification: str = ""


@dataclass(frozen=True, slots=True)
class RotationRules:
    """When the epochs of a space's meetings end. Whole seconds; 0 switches a rule off, except
    ``maximum_age_seconds``.

    ``interval_seconds``: a new epoch so long after the last; not within quiet hours, which are
    minutes of the day in UTC, from ``quiet_from`` up to ``quiet_until`` (equal: none; they may
    wrap midnight). ``maximum_age_seconds``: the manifest's exp; it holds in quiet hours too.
    ``join_age_seconds``: a join starts the next epoch only once the present one is so old; a leave
    always starts it at once. ``maximum_uses``: so many envelopes served of an epoch.
    ``vault_seconds``: the vault key's cryptoperiod.
    """

    interval_seconds: int
    maximum_age_seconds: int
    join_age_seconds: int = 0
    maximum_uses: int = 0
    quiet_from: int = 0
    quiet_until: int = 0
    publish_ahead_seconds: int = 2
    vault_seconds: int = 0


@dataclass(frozen=True, slots=True)
class GroupNeed:
    """So many officers of one group must approve. ``space``: those who reach this space count;
    empty: the space that the request is about.
    """

    group: str
    count: int
    space: str = ""


@dataclass(frozen=True, slots=True)
class Quorum:
    """Who must approve an operation of this space, instead of the default."""

    operation: str
    needs: tuple[GroupNeed, ...]


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which number on an alert of the catalogue is raised in this space (0: never)."""

    alert: str
    number: int


@dataclass(frozen=True, slots=True)
class SpacePolicy:
    """One space's policy. ``retention_seconds``: how long after its end a meeting's keys are kept
    at least.
    """

    space: SpaceName
    labels: Labels
    rotation: RotationRules
    retention_seconds: int
    quorums: tuple[Quorum, ...] = ()
    thresholds: tuple[Threshold, ...] = ()

    def quorum(self, operation: str) -> tuple[GroupNeed, ...]:
        """Return who must approve an operation here; empty: the default."""
        return next((one.needs for one in self.quorums if one.operation == operation), ())

    def threshold(self, alert: str, default: int) -> int:
        """Return from which number on an alert is raised."""
        return next((one.number for one in self.thresholds if one.alert == alert), default)


@dataclass(frozen=True, slots=True)
class SitePolicy:
    """The site's own Cedar policies, beside those shipped; one text."""

    name: str
    text: str


SITE_POLICY = "site"
"""The name of the one SitePolicy."""


def check_rotation(rules: RotationRules) -> None:
    """Raise InvalidInput unless the rules can all be kept."""
    numbers = (
        rules.interval_seconds,
        rules.join_age_seconds,
        rules.maximum_uses,
        rules.vault_seconds,
    )
    if min(numbers) < 0:
        raise InvalidInput("times and numbers of a policy count from 0")
    if rules.maximum_age_seconds < max(_LEAST_AGE, rules.interval_seconds):
        raise InvalidInput(
            f"maximum_age_seconds is at least {_LEAST_AGE} and not below interval_seconds"
        )
    if not 1 <= rules.publish_ahead_seconds <= _LEAST_AGE:
        raise InvalidInput(f"publish_ahead_seconds is 1 to {_LEAST_AGE}")
    if rules.join_age_seconds >= rules.maximum_age_seconds:
        raise InvalidInput("join_age_seconds is below maximum_age_seconds")
    for minute in (rules.quiet_from, rules.quiet_until):
        if not 0 <= minute < _DAY_MINUTES:
            raise InvalidInput(f"quiet hours are minutes of the day, 0 to {_DAY_MINUTES - 1}")
