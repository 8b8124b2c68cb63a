"""A check of the whole log while the service runs: every entry is read from the disk again, and the
tree over them must pass through every signed checkpoint and the head that the HSM remembers.

It runs in threads, a slice at a time, so that nobody waits for it; one at a time.
"""

import asyncio
import logging

from kms.errors import ConclaveError
from kms.policy.authorizer import Target
from kms.usecases.log_head import checkpoint_keys
from kms.usecases.log_walk import Checked, LogCheck, Trouble, Walk
from kms.usecases.services import Call, Services, authorize

_LOG = logging.getLogger(__name__)
_MOST_TROUBLES = 20
_NOBODY = -1


async def read_check(services: Services, call: Call) -> LogCheck:
    """Return how far the check is, and the last result."""
    await authorize(services, call, Target(), "audit")
    return services.log_check


async def start_check(services: Services, call: Call) -> None:
    """Begin to check the whole log, unless that goes on already."""
    await authorize(services, call, Target(), "audit")
    state = services.log_check
    if state.running:
        return
    state.done, state.size, state.began = 0, services.store.tree_size(), services.seconds()
    state.task = asyncio.create_task(_run(services, state, call.principal.name))


async def _run(services: Services, state: LogCheck, by: str) -> None:
    walk = Walk(services.store, state.size)
    token = await _ask_token(services, walk)
    try:
        walk.keys = checkpoint_keys(services)
    except ConclaveError:
        walk.note(Trouble.UNKNOWN)
    try:
        while await asyncio.to_thread(walk.step):
            state.done = len(walk.tree)
        walk.end(services.store.root)
    except ConclaveError as error:
        _LOG.warning("the check of the log broke off: %s", error.code)
        walk.note(Trouble.UNKNOWN)
    state.done = len(walk.tree)
    state.last = Checked(
        state.began, services.seconds(), by, len(walk.tree), walk.tree.root(), walk.held, token,
        tuple(walk.found[:_MOST_TROUBLES]),
    )  # fmt: skip


async def _ask_token(services: Services, walk: Walk) -> int:
    """Have the walk pass through the head that the HSM remembers; return that head's size."""
    try:
        size, root = await services.workers.site.last_checkpoint()
    except ConclaveError:
        walk.note(Trouble.TOKEN)
        return _NOBODY
    if size > services.store.tree_size():
        walk.note(Trouble.CUT)
    walk.expect(size, root)
    return size
