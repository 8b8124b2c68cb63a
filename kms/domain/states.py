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
    _K.PRE_ACTIVATION: frozenset({_K.ACTIVE, _K.COMPROMISED, _K.DESTROYED}),
    _K.ACTIVE: frozenset({_K.SUSPENDED, _K.DEACTIVATED, _K.COMPROMISED}),
    _K.SUSPENDED: frozenset({_K.ACTIVE, _K.DEACTIVATED, _K.COMPROMISED}),
    _K.DEACTIVATED: frozenset({_K.COMPROMISED, _K.DESTROYED}),
    _K.COMPROMISED: frozenset({_K.DESTROYED}),
    _K.DESTROYED: frozenset(),
}
"""A suspended key is deactivated before it is destroyed: only what no longer protects goes. One
that is compromised before it starts never becomes active."""

IN_USE = frozenset({_K.ACTIVE, _K.SUSPENDED})
"""States of a meeting's present epoch that end with the next one."""

SERVED = frozenset({_K.PRE_ACTIVATION, _K.ACTIVE, _K.DEACTIVATED})
"""States in which envelopes are released."""


def check_transition(old: KeyState, new: KeyState) -> None:
    """Raise StateNotAllowed unless a key may go from ``old`` to ``new``."""
    if new not in TRANSITIONS[old]:
        raise StateNotAllowed(
            "a key does not go from {old} to {new}", about={"old": old, "new": new}
        )
