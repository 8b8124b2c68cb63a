"""In whose name the officers' leaves stand: a ceremony's, from its intent until its result.

The log does not prove that a ceremony was held: its transcript does, whose SHA-256 its result
names (``conclave ceremony verify``).
"""

from dataclasses import dataclass

from kms.audit.checks import Broken, Check
from kms.audit.leaf import Leaf, Outcome, Phase

_ACTOR = "ceremony/"
_RUN = "ceremony.run"
_OFFICERS = frozenset(
    {
        "register.change",
        "key-list.issue",
        "space.create",
        "space.retire",
        "space.destroy",
        "space.unseal",
        "site.unseal",
        "site.restore",
        "recipient.register",
        "recipient.revoke",
        "escrow.generate",
        "escrow.rewrap",
        "escrow.destroy",
        "escrow.drill",
        "escrow.recover",
        "escrow.recover-disk",
    }
)
"""What nobody but a ceremony does."""
_KINDS = {
    "meeting.destroy": "destroy-space",
    "escrow.recover-disk": "recover-disk",
    "space.unseal": "unseal",
    "site.unseal": "unseal",
}
"""The one kind of ceremony that does it."""


@dataclass(frozen=True, slots=True)
class _Sitting:
    intent: int
    kind: str


class Ceremonies:
    """Follows which ceremonies are being held; one that was interrupted begins anew."""

    def __init__(self) -> None:
        self._open: dict[str, _Sitting] = {}

    def follow(self, leaf: Leaf) -> None:
        """Take in that a ceremony began or ended; raise Broken for one of two names."""
        if leaf.action != _RUN:
            return
        actor = leaf.actor
        if leaf.phase is Phase.RESULT:
            sitting = self._open.get(actor)
            if sitting is not None and sitting.intent == leaf.intent:
                del self._open[actor]
            return
        name = str(leaf.details.get("ceremony", ""))
        if (actor, leaf.resource) != (_ACTOR + name, f"ceremonies/{name}"):
            raise _broken("密钥仪式的名称前后不一", "a ceremony that goes by two names")
        self._open[actor] = _Sitting(leaf.seq, str(leaf.details.get("kind", "")))

    def check(self, leaf: Leaf) -> None:
        """Raise Broken unless an officers' leaf stands in the name of a ceremony being held."""
        if leaf.action == _RUN or leaf.outcome is not Outcome.SUCCEEDED:
            return
        if leaf.action not in _OFFICERS and not leaf.actor.startswith(_ACTOR):
            return
        sitting = self._open.get(leaf.actor)
        if sitting is None:
            raise _broken("并非由进行中的密钥仪式所为", "done by no ceremony that was being held")
        told = leaf.details.get("ceremony") or leaf.actor.removeprefix(_ACTOR)
        if _ACTOR + str(told) != leaf.actor:
            raise _broken("密钥仪式的名称前后不一", "a ceremony that goes by two names")
        if _KINDS.get(leaf.action, sitting.kind) != sitting.kind:
            raise _broken("此类密钥仪式不做此事", "a ceremony of that kind does not do this")


def _broken(zh: str, en: str) -> Broken:
    return Broken(Check.APPROVALS, zh, en)
