"""To whom a role can be granted for a time: the local callers that the configuration names."""

from dataclasses import dataclass

from kms.domain.ids import SpaceName
from kms.domain.models import Role
from kms.policy.authorizer import Target
from kms.usecases import callers
from kms.usecases.grants import GRANTABLE
from kms.usecases.services import Call, Services, authorize


@dataclass(frozen=True, slots=True)
class Grantee:
    """A caller, and which roles that can be granted the configuration gives it in the space."""

    name: str
    roles: tuple[Role, ...]

    @property
    def lacks(self) -> bool:
        """Whether there is a role to grant."""
        return len(self.roles) < len(GRANTABLE)


async def list_grantees(services: Services, call: Call, space: SpaceName) -> list[Grantee]:
    """Return the callers, those who lack a role in the space first; raise NotFound, Forbidden."""
    await authorize(services, call, Target(space=space), f"spaces/{space}/grants", "approval.read")
    known = {one.principal: one for one in reversed(services.settings.caller)}
    found = []
    for name, one in sorted(known.items()):
        present = GRANTABLE & set(one.roles) if callers.local(one).reaches(space) else set()
        found.append(Grantee(name, tuple(sorted(present))))
    return sorted(found, key=lambda one: not one.lacks)
