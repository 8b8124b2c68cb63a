"""After a crash: every intent without a result gets one that says so."""

from kms.audit.leaf import Leaf, LeafDraft, Outcome, Phase, decode_leaf
from kms.ports import Unit
from kms.usecases.services import Services

_KEPT = ("epoch", "serial", "work")
"""What of an intent its result repeats: which epoch, or what of which disk."""


async def close_open_intents(services: Services) -> None:
    """Write an ``interrupted`` result for each operation that the service died in.

    Its effect is known: epoch and result leaf commit together, so nothing was stored.
    """
    drafts = []
    for seq in services.store.open_intents():
        (data,) = services.store.leaves(seq, 1)
        drafts.append(_interrupted(decode_leaf(data)))
    if drafts:
        await services.store.commit(Unit(leaves=tuple(drafts)))


def _interrupted(intent: Leaf) -> LeafDraft:
    return LeafDraft(
        action=intent.action,
        actor=intent.actor,
        auth=intent.auth,
        space=intent.space,
        resource=intent.resource,
        phase=Phase.RESULT,
        outcome=Outcome.INTERRUPTED,
        request=intent.request,
        intent=intent.seq,
        details={name: intent.details[name] for name in _KEPT if name in intent.details},
    )
