"""What one operation is, and the roles, paths and error codes that the tables share."""

from dataclasses import dataclass

from kms.domain.models import Role
from kms.domain.states import MeetingState


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a caller can ask for.

    ``states``: the meeting states in which it is allowed (empty: any, or no meeting involved).
    ``creates``: it makes something new, so it wants an Idempotency-Key. ``errors``: stable codes
    beyond those that every operation can answer with (COMMON_ERRORS). ``action``: the name under
    which policy and log know it, where that is another operation's.
    """

    id: str
    method: str
    path: str
    roles: frozenset[Role]
    summary_en: str
    summary_zh: str
    states: frozenset[MeetingState] = frozenset()
    creates: bool = False
    errors: tuple[str, ...] = ()
    action: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Method and path: fetch and relay share one."""
        return self.method, self.path


COMMON_ERRORS = (
    "invalid_input",
    "unauthenticated",
    "forbidden",
    "too_large",
    "request_timeout",
    "integrity_failure",
    "unavailable",
    "hsm_unavailable",
    "store_unavailable",
    "internal_error",
)
"""``hsm_unavailable`` because a server's registration is a row that a worker checks."""

SERVER = Role.MEETING_SERVER
OFFICER = Role.OFFICER
AUDITOR = Role.AUDITOR
OPERATOR = Role.OPERATOR
APPLIANCE = Role.APPLIANCE
EVERYONE = frozenset(Role)
READERS = frozenset({SERVER, OFFICER, AUDITOR})
WATCHERS = frozenset({OFFICER, AUDITOR, OPERATOR})
OPEN = frozenset({MeetingState.OPEN})
KEPT = frozenset({MeetingState.OPEN, MeetingState.CLOSED})

MEETINGS = "/v1/spaces/{space}/meetings"
MEETING = MEETINGS + "/{meeting}"
ROSTER = MEETING + "/roster"
EPOCHS = MEETING + "/epochs"
ENVELOPE = EPOCHS + "/{epoch}/envelopes/{recipient}"

READ_ERRORS = ("not_found",)
CHANGE_ERRORS = (*READ_ERRORS, "state_not_allowed", "audit_unavailable")
MINT_ERRORS = (*CHANGE_ERRORS, "verification_failed")
CREATE_ERRORS = (*MINT_ERRORS, "idempotency_key_reused")
ROSTER_ERRORS = (*MINT_ERRORS, "precondition_failed")
