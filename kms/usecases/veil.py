"""What operators do not see of confidential meetings: they run the machine, and see times and head
counts alone. Auditors and officers see the rest.
"""

from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Principal, Role
from kms.errors import ConclaveError
from kms.usecases.services import Services

_OPERATORS = frozenset({Role.OPERATOR})


def is_operator_only(principal: Principal) -> bool:
    """Whether a caller is nothing but an operator."""
    return principal.roles <= _OPERATORS


async def is_hidden(services: Services, principal: Principal, space: str, meeting: str) -> bool:
    """Whether a caller may not learn of which meeting something is; in doubt it may not."""
    if not is_operator_only(principal):
        return False
    try:
        record, _ = await services.cache.meeting(SpaceName(space), MeetingId(meeting))
    except ConclaveError:
        return True
    return bool(record.host)
