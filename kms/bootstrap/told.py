"""Holds a space's row against what the log tells of the space since it was made.

The site's token seals every row that says "sealed", whatever else it says: a web process gone bad
could change the rest with it. The leaves of ceremonies are older than that, and under signed heads.
"""

from kms.audit.leaf import Leaf, Outcome, decode_leaf
from kms.domain.models import Space
from kms.errors import IntegrityFailure
from kms.ports import Store

_PAGE = 2000
_MADE, _RETIRED, _DESTROYED = "space.create", "space.retire", "space.destroy"
_MARKS = tuple(f'"action":"{one}"'.encode() for one in (_MADE, _RETIRED, _DESTROYED))


def check_space(store: Store, record: Space) -> None:
    """Raise IntegrityFailure unless the log tells of the same release class and token, first of all
    that it says, and of the same end.
    """
    told: dict[str, Leaf] = {}
    for leaf in _leaves(store, record.space):
        told.setdefault(leaf.action, leaf)
    made = told[_MADE].details if _MADE in told else {}
    row = (record.release_class.value, record.token, record.retired > 0, record.destroyed > 0)
    log = (made.get("release_class"), made.get("token"), _RETIRED in told, _DESTROYED in told)
    if row != log:
        raise IntegrityFailure(
            f"the row of the space {record.space} says something else than the log",
            hint="somebody changed it with the seal: leave the space sealed and find out who",
        )


def _leaves(store: Store, space: str) -> list[Leaf]:
    """Return the leaves that make or end a space."""
    found, position = [], 0
    while page := store.leaves(position, _PAGE):
        position += len(page)
        for data in page:
            if any(mark in data for mark in _MARKS):
                leaf = decode_leaf(data)
                if leaf.space == space and leaf.outcome is Outcome.SUCCEEDED:
                    found.append(leaf)
    return found
