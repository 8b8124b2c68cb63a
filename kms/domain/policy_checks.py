"""What a space's policy must keep to, whoever approves it: nothing in it may be impossible to keep
or lock everybody out.
"""

from collections.abc import Collection, Iterable

from kms.domain.alerts import ALERTS
from kms.domain.approvals import RULES, check_needs
from kms.domain.people import Register
from kms.domain.policies import GroupNeed, Labels, Quorum, SpacePolicy, check_rotation
from kms.domain.text import visible
from kms.errors import InvalidInput

_LONGEST_LABEL = 128


def check_policy(policy: SpacePolicy, register: Register, spaces: Collection[str]) -> None:
    """Raise InvalidInput unless the policy can be kept by the people of ``register``."""
    _check_labels(policy.labels)
    check_rotation(policy.rotation)
    if policy.retention_seconds < 0:
        raise InvalidInput("retention_seconds counts from 0")
    _refuse_twins("a quorum", [quorum.operation for quorum in policy.quorums])
    for quorum in policy.quorums:
        _check_quorum(quorum, register, spaces)
    _refuse_twins("a threshold", [threshold.alert for threshold in policy.thresholds])
    for threshold in policy.thresholds:
        if threshold.alert not in ALERTS:
            raise InvalidInput(f"{threshold.alert} is no alert of the catalogue")
        if threshold.number < 0:
            raise InvalidInput("a threshold counts from 0, which switches the alert off")


def _check_labels(labels: Labels) -> None:
    for name in labels.__slots__:
        value: str = getattr(labels, name)
        if len(value) > _LONGEST_LABEL or value != visible(value).strip():
            raise InvalidInput(f"{name} is at most {_LONGEST_LABEL} characters on one line")


def _check_quorum(quorum: Quorum, register: Register, spaces: Collection[str]) -> None:
    if quorum.operation not in RULES:
        raise InvalidInput(f"{quorum.operation} is nothing that is approved")
    check_needs(quorum.needs)
    for need in quorum.needs:
        _check_need(need, register, spaces)


def _check_need(need: GroupNeed, register: Register, spaces: Collection[str]) -> None:
    if need.group not in {group.name for group in register.groups}:
        raise InvalidInput(f"the register has no group {need.group}")
    if need.space and need.space not in spaces:
        raise InvalidInput(f"there is no space {need.space}")
    if need.count > len(register.holders(need.group)):
        raise InvalidInput(f"group {need.group} has fewer than {need.count} officers")


def _refuse_twins(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidInput(f"{what} for {name} stands there twice")
        seen.add(name)
