"""Time-bound grants, legal holds and shares of a meeting: what people allow or forbid for a while.

Times are whole seconds since 1970.
"""

from dataclasses import dataclass

from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Role


@dataclass(frozen=True, slots=True)
class Grant:
    """A role in one space for a caller who has it not, from a time until a time. ``grant`` is the
    id of the request that made it; ``revoked`` is 0 unless it ended before its time.
    """

    space: SpaceName
    grant: str
    principal: str
    role: Role
    starts: int
    expires: int
    reason: str
    revoked: int = 0

    def holds(self, now: int) -> bool:
        """Whether it is in force."""
        return not self.revoked and self.starts <= now < self.expires


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold: nothing of a meeting, or with an empty ``meeting`` of the whole space, is
    destroyed while it stands. Anybody responsible may place one; lifting it needs a quorum.
    """

    space: SpaceName
    hold: str
    meeting: str
    reason: str
    placed_by: str
    placed: int
    lifted: int = 0

    def covers(self, meeting: str) -> bool:
        """Whether it stands and protects a meeting."""
        return not self.lifted and self.meeting in {"", meeting}


@dataclass(frozen=True, slots=True)
class Share:
    """A meeting whose keys a second space's vault receives too, since both spaces approved."""

    space: SpaceName
    meeting: MeetingId
    partner: SpaceName
    request: str
    since: int
