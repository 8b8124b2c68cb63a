"""Why somebody may do something, or may not: asked for others by those who watch over access."""

from dataclasses import dataclass

from kms.domain.ids import SpaceName
from kms.domain.models import Principal
from kms.errors import InvalidInput, NotFound
from kms.operations import OPERATIONS
from kms.policy.authorizer import NOT_THERE, Target
from kms.policy.explanation import Explanation
from kms.usecases import callers
from kms.usecases.access import acting
from kms.usecases.services import Call, Services, authorize


@dataclass(frozen=True, slots=True)
class Question:
    """Who, what, where; ``space`` is empty for the site's own operations. The rest as in Target."""

    principal: str
    operation: str
    space: str = ""
    on_roster: bool = False
    own_recipient: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """How the policies decide; ``grant``: the one that they need for it, else empty."""

    explanation: Explanation
    grant: str = ""


async def explain(services: Services, call: Call, question: Question) -> Answer:
    """Return how the policies decide now, as if the principal had just connected.

    Raise NotFound for a name or space that the caller may not know of, InvalidInput for an
    unknown operation.
    """
    await authorize(services, call, Target(), "policy")
    if question.operation not in OPERATIONS:
        raise InvalidInput(f"there is no operation {question.operation}")
    if question.space and not call.principal.reaches(question.space):
        raise NotFound(NOT_THERE)
    who = await callers.named(services, question.principal)
    _check_shared(call.principal, who)
    target = await _target(services, question)
    answer = services.authorizer.explain(who, question.operation, target)
    if answer.permitted:
        return Answer(answer)
    for grant in await services.access.grants_of(services, who, question.space):
        granted = services.authorizer.explain(acting(who, grant), question.operation, target)
        if granted.permitted:
            return Answer(granted, grant.grant)
    return Answer(answer)


def _check_shared(asker: Principal, who: Principal) -> None:
    """Raise NotFound for the name of somebody with whom the caller shares no space."""
    if who.spaces and not any(asker.reaches(space) for space in who.spaces):
        raise NotFound(NOT_THERE)


async def _target(services: Services, question: Question) -> Target:
    if question.space:
        await services.cache.space(SpaceName(question.space))
        await services.access.ready(services, question.space)
    return Target(
        space=question.space,
        on_roster=question.on_roster,
        own_recipient=question.own_recipient,
        reason=question.reason,
    )
