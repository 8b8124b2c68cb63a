"""Who did what with a meeting's keys: what the journal counted, and the newest leaves, which it
does not know yet.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

from kms.audit.leaf import Leaf
from kms.errors import StoreUnavailable
from kms.policy.authorizer import Target
from kms.ports import Deed, Deeds, LeafFilter
from kms.usecases.journal import TAIL, leaf_moment, tail
from kms.usecases.services import Call, Services, authorize


async def deeds_of(
    services: Services,
    call: Call,
    space: str,
    meeting: str,
    actions: Collection[str],
    since: str,
    until: str,
) -> Deeds:
    """Return who did which of these actions to a meeting in a time, such as fetch its keys, up to
    the log's end; who may search the log may ask this.

    Raise Forbidden, InvalidInput, StoreUnavailable while the journal is made anew: what it does not
    know yet must not read as what nobody did.
    """
    await authorize(services, call, Target(), "audit")
    if not call.principal.reaches(space):
        return Deeds((), whole=True)
    wanted = LeafFilter(leaf_moment(since), leaf_moment(until), meeting=meeting, space=space)
    size, indexed = services.store.tree_size(), services.journal.indexed
    if size - indexed > TAIL:
        raise StoreUnavailable(
            "the journal of the log is being made anew", hint="wait a moment and try again"
        )
    known = await asyncio.to_thread(services.journal.actors_of, wanted, actions, indexed)
    fresh = await tail(services, wanted, indexed, size)
    return _joined(known, [leaf for leaf, _ in reversed(fresh) if leaf.action in actions])


def _joined(deeds: Deeds, fresh: Sequence[Leaf]) -> Deeds:
    """Return the deeds with those of newer leaves, which come oldest first."""
    found = {(one.actor, one.action, one.outcome, one.recipient): one for one in deeds.items}
    for leaf in fresh:
        key = (leaf.actor, leaf.action, leaf.outcome.value, str(leaf.details.get("recipient", "")))
        known = found.get(key, Deed(*key, 0, leaf.seq, leaf.seq, leaf.time, leaf.time))
        found[key] = replace(known, number=known.number + 1, last=leaf.seq, ended=leaf.time)
    return replace(deeds, items=tuple(sorted(found.values(), key=lambda one: -one.last)))
