"""Writing leaves about passkeys and sessions: never one that the offline verifier would refuse, for
an append-only log cannot be mended.
"""

from datetime import UTC, datetime

from kms.audit.leaf import LeafDraft, decode_leaf
from kms.ports import Unit
from kms.usecases.services import Services


async def write(services: Services, leaf: LeafDraft) -> None:
    """Write a leaf; raise VerificationFailed, and write none, if the verifier would refuse it."""
    services.passkeys.check_leaf(services.store, leaf, _now(services))
    await services.store.commit(Unit(leaves=(leaf,)))


def _now(services: Services) -> str:
    """Return the time that a leaf gets now: never before that of the last one."""
    now = datetime.fromtimestamp(services.clock.now(), UTC).isoformat(timespec="microseconds")
    last = services.store.leaves(services.store.tree_size() - 1, 1)
    return max([now.replace("+00:00", "Z"), *(decode_leaf(one).time for one in last)])
