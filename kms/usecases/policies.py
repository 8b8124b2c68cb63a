"""The policy in force in a space: its own, or the configuration's defaults."""

from kms.domain.ids import SpaceName
from kms.domain.policies import Labels, RotationRules, SpacePolicy
from kms.errors import NotFound
from kms.settings import Rotation
from kms.usecases.services import Services


def default_policy(space: SpaceName, rotation: Rotation) -> SpacePolicy:
    """Return the policy of a space that has none of its own."""
    rules = RotationRules(
        interval_seconds=rotation.interval_seconds,
        maximum_age_seconds=rotation.epoch_seconds,
        publish_ahead_seconds=rotation.publish_ahead_seconds,
    )
    return SpacePolicy(space, Labels(), rules, rotation.retention_seconds)


async def policy_in_force(services: Services, space: SpaceName) -> tuple[SpacePolicy, int]:
    """Return a space's policy and its row's version (0: the defaults); raise IntegrityFailure."""
    try:
        return await services.cache.policy(space)
    except NotFound:
        return default_policy(space, services.settings.rotation), 0
