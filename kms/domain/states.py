"""Key states of NIST SP 800-57 part 1 rev. 5, section 7, and the transitions allowed here."""

from enum import StrEnum

from kms.errors import StateNotAllowed


class KeyState(StrEnum):
    """State of one epoch's key."""

    PRE_ACTIVATION = "pre-activation"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DEACTIVATED = "deactivated"
    COMPROMISED = "compromised"
    DESTROYED = "destroyed"


class MeetingState(StrEnum):
    """State of a meeting."""

    OPEN = "open"
    CLOSED = "closed"
    DESTROYED = "destroyed"


_K = KeyState
TRANSITIONS: dict[KeyState, frozenset[KeyState]] = {
    _K.PRE_ACTIVATION: frozenset({_K.ACTIVE, _K.DESTROYED}),
    _K.ACTIVE: frozenset({_K.DEACTIVATED}),
    _K.SUSPENDED: frozenset(),
    _K.DEACTIVATED: frozenset({_K.DESTROYED}),
    _K.COMPROMISED: frozenset(),
    _K.DESTROYED: frozenset(),
}


def check_transition(old: KeyState, new: KeyState) -> None:
    """Raise StateNotAllowed unless a key may go from ``old`` to ``new``."""
    if new not in TRANSITIONS[old]:
        raise StateNotAllowed(f"a key does not go from {old} to {new}")
