"""Policies: the one in force in a space, the site's own Cedar policies, and their change by an
approved request.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from kms.domain.approvals import PolicyChange, SitePolicyChange
from kms.domain.ids import SpaceName
from kms.domain.models import Role
from kms.domain.policies import SITE_POLICY, Labels, RotationRules, SitePolicy, SpacePolicy
from kms.domain.policy_checks import check_policy
from kms.errors import Forbidden, InvalidInput, NotFound, PreconditionFailed
from kms.policy.apart import check_apart
from kms.policy.authorizer import Authorizer, Target
from kms.policy.source import Policy
from kms.settings import Caller, Rotation
from kms.statements.request import CheckedRequest
from kms.usecases import callers
from kms.usecases.access import SITE_SOURCE
from kms.usecases.approvals.effect import Effect
from kms.usecases.services import Call, Services, authorize

_WAY_BACK = ("site-policy.read", "approval.submit", "approval.sign", "approval.execute")
_STOP = "site.seal"


@dataclass(frozen=True, slots=True)
class SitePolicies:
    """The site's own policies, their row's version (0: none yet), and every policy in force."""

    text: str
    version: int
    policies: tuple[Policy, ...]


def default_policy(space: SpaceName, rotation: Rotation) -> SpacePolicy:
    """Return the policy of a space that has none of its own."""
    rules = RotationRules(
        interval_seconds=rotation.interval_seconds,
        maximum_age_seconds=rotation.epoch_seconds,
        publish_ahead_seconds=rotation.publish_ahead_seconds,
        vault_seconds=rotation.vault_seconds,
    )
    return SpacePolicy(space, Labels(), rules, rotation.retention_seconds)


async def policy_in_force(services: Services, space: SpaceName) -> tuple[SpacePolicy, int]:
    """Return a space's policy and its row's version (0: the defaults); raise IntegrityFailure."""
    try:
        return await services.cache.policy(space)
    except NotFound:
        return default_policy(space, services.settings.rotation), 0


async def read_policy(services: Services, call: Call, space: SpaceName) -> tuple[SpacePolicy, int]:
    """Return a space's policy in force and its row's version; raise NotFound."""
    await authorize(services, call, Target(space=space), f"spaces/{space}/policy")
    await services.cache.space(space)
    return await policy_in_force(services, space)


async def read_site_policy(services: Services, call: Call) -> SitePolicies:
    """Return the site's own policies and those that come with the software."""
    await authorize(services, call, Target(), "site-policy")
    text, version = await _site_policy(services)
    return SitePolicies(text, version, services.authorizer.policies)


async def prepare_policy(services: Services, call: Call, checked: CheckedRequest) -> Effect:
    """Return the change of a space's policy; raise InvalidInput for one that cannot be kept,
    PreconditionFailed if the policy was changed meanwhile.
    """
    del call
    wanted, space = checked.parameters, SpaceName(checked.wanted.space)
    if not isinstance(wanted, PolicyChange) or wanted.policy.space != space:
        raise InvalidInput("the policy is another space's than the request")
    await services.cache.space(space)
    _, version = await policy_in_force(services, space)
    _check_follows(wanted.version, version)
    state = services.settings.paths.state
    register = services.registers.in_force(services.store, state).register
    check_policy(wanted.policy, register, {one.space for one in services.settings.space_tokens})
    details = {"version": wanted.version}
    resource = f"spaces/{space}/policy"
    return Effect(resource, ((wanted.policy, wanted.version),), details=details)


async def prepare_site_policy(services: Services, call: Call, checked: CheckedRequest) -> Effect:
    """Return the change of the site's own policies; raise InvalidInput for a text that does not
    fit the schema or takes the way back, PreconditionFailed if it was changed meanwhile.
    """
    del call
    wanted = checked.parameters
    if not isinstance(wanted, SitePolicyChange) or checked.wanted.space:
        raise InvalidInput("the site's policies belong to no space")
    _, version = await _site_policy(services)
    _check_follows(wanted.version, version)
    await asyncio.to_thread(check_apart, [(SITE_SOURCE, wanted.text)])
    shipped = services.authorizer.shipped
    policies = shipped.with_site([(SITE_SOURCE, wanted.text)])
    check_way_back(Authorizer(shipped, policies), services.settings.caller)
    record = SitePolicy(SITE_POLICY, wanted.text)
    details = {"version": wanted.version}
    return Effect("site-policy", ((record, wanted.version),), details=details)


def check_way_back(authorizer: Authorizer, known: Collection[Caller]) -> None:
    """Raise InvalidInput if by these policies no officer could change them again, or stop the box.

    Each officer is taken as one who has just connected.
    """
    officers = [callers.local(one) for one in known if Role.OFFICER in one.roles]
    for operation in (*_WAY_BACK, _STOP):
        for officer in officers:
            try:
                authorizer.check(officer, operation, Target())
                break
            except Forbidden:
                continue
        else:
            raise InvalidInput(
                "with these policies no officer may do {operation}: nobody could go back",
                about={"operation": operation},
            )


async def _site_policy(services: Services) -> tuple[str, int]:
    try:
        record, version = await services.cache.site_policy()
    except NotFound:
        return "", 0
    return record.text, version


def _check_follows(wanted: int, present: int) -> None:
    if wanted != present + 1:
        raise PreconditionFailed(
            "the change is to version {wanted}, but the present one is {present}",
            hint="read the policy again and make a new request",
            about={"wanted": wanted, "present": present},
        )
