"""What ceremonies may change, as the log tells it: spaces, keepers, escrow generations.

Replayed beside the meetings: a space that was retired mints nothing, and an escrow generation is
not destroyed while a key is left that only it can recover.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kms.audit.actions import REWRAPPING
from kms.audit.checks import Broken, Check, Tally
from kms.audit.facts import EpochFacts, MeetingFacts, check_rows
from kms.audit.leaf import Leaf
from kms.audit.proofs import Manifests
from kms.audit.words import (
    Generation,
    Held,
    Issued,
    RecipientTold,
    Recovered,
    RecoveredDisk,
    Restored,
    Rewrapped,
    SpaceEnded,
    SpaceMade,
    details,
    row_place,
)
from kms.domain.models import RecipientKind
from kms.domain.states import KeyState

_DETAILS: dict[str, type[Any]] = {
    "ceremony.run": Held,
    "register.change": Issued,
    "key-list.issue": Issued,
    "space.create": SpaceMade,
    "space.retire": SpaceEnded,
    "space.destroy": SpaceEnded,
    "recipient.register": RecipientTold,
    "recipient.revoke": RecipientTold,
    "escrow.generate": Generation,
    "escrow.destroy": Generation,
    "escrow.drill": Generation,
    "escrow.recover": Recovered,
    "escrow.recover-disk": RecoveredDisk,
    "site.restore": Restored,
}
_KEEPER = {"escrow.rewrap": RecipientKind.ESCROW, "vault.rewrap": RecipientKind.VAULT}
_SPACES = frozenset({"space.create", "space.retire", "space.destroy"})
_RECIPIENTS = frozenset({"recipient.register", "recipient.revoke"})


class Officers:
    """Applies the leaves that are about no meeting alone; ``meetings`` is the history's own."""

    def __init__(
        self,
        meetings: Mapping[tuple[str, str], MeetingFacts],
        manifests: Manifests,
        tally: Tally,
    ) -> None:
        self._meetings = meetings
        self._manifests = manifests
        self._tally = tally
        self._ended: set[str] = set()
        self._generation = 0
        self._steps: dict[str, Callable[[Leaf], None]] = {
            "space.retire": self._retire,
            "space.destroy": self._destroy_space,
            "escrow.generate": self._generate,
            "escrow.destroy": self._destroy_generation,
        }

    def apply(self, leaf: Leaf) -> None:
        """Apply one succeeded leaf; raise Broken."""
        if leaf.action in REWRAPPING:
            self._rewrap(leaf)
            return
        check_rows(leaf, _own_rows(leaf))
        if leaf.action in _DETAILS:
            details(leaf, _DETAILS[leaf.action])
        self._steps.get(leaf.action, _nothing)(leaf)

    def check_in_use(self, space: str) -> None:
        """Raise Broken if the space was retired: nothing is minted there any more."""
        if space in self._ended:
            raise Broken(Check.STATES, "空间已停用，仍生成密钥", "minted in a retired space")

    def check_retired(self, space: str) -> None:
        """Raise Broken unless the space was retired: only then its keys go without a request."""
        if space not in self._ended:
            raise Broken(Check.STATES, "空间未停用即销毁", "destroyed before it was retired")

    def _rewrap(self, leaf: Leaf) -> None:
        told, rows = details(leaf, Rewrapped), sorted(leaf.rows)
        if not rows or len(rows) != len(told.addenda):
            raise Broken(Check.ROWS, "改动的数据行与动作不符", "not an addendum for each row")
        for row, sha256 in zip(rows, told.addenda, strict=True):
            self._tally.guard(partial(self._keep, leaf, told, row, sha256), leaf.seq)
        if leaf.action == "escrow.rewrap" and told.version != self._generation:
            raise Broken(Check.STATES, "不是现用托管代", "not the present escrow generation")

    def _keep(self, leaf: Leaf, told: Rewrapped, row: str, sha256: str) -> None:
        place = row_place(row)
        self._tally.count(Check.MANIFESTS)
        meeting = self._meetings.get(place[:2])
        epoch = None if meeting is None else meeting.epochs.get(place[2])
        if place[0] != leaf.space or epoch is None or epoch.state is KeyState.DESTROYED:
            raise Broken(Check.STATES, "密钥周期不存在或已销毁", "no such epoch to keep")
        kind = _KEEPER[leaf.action]
        self._manifests.check_addendum(place, told, kind, sha256)
        if kind is RecipientKind.ESCROW:
            epoch.generation = told.version
        else:
            epoch.vault = told.recipient

    def _retire(self, leaf: Leaf) -> None:
        if leaf.space in self._ended:
            raise Broken(Check.STATES, "空间已停用", "the space was retired before")
        self._ended.add(leaf.space)

    def _destroy_space(self, leaf: Leaf) -> None:
        self.check_retired(leaf.space)
        if any(space == leaf.space for space, _ in self._meetings):
            raise Broken(Check.STATES, "空间内尚有会议密钥", "keys of the space are left")

    def _generate(self, leaf: Leaf) -> None:
        told = details(leaf, Generation)
        last, self._generation = self._generation, told.generation
        if told.generation != last + 1:
            raise Broken(Check.NUMBERS, "托管代号不连续", "the generation does not follow")

    def _destroy_generation(self, leaf: Leaf) -> None:
        told = details(leaf, Generation)
        left = [epoch for epoch in self._living() if epoch.generation == told.generation]
        if told.generation >= self._generation or left:
            raise Broken(
                Check.STATES,
                "托管代销毁时尚有密钥只有它能恢复",
                f"{len(left)} keys are left that only the destroyed generation recovers",
            )

    def _living(self) -> list[EpochFacts]:
        return [
            epoch
            for meeting in self._meetings.values()
            for epoch in meeting.epochs.values()
            if epoch.state is not KeyState.DESTROYED
        ]


def _nothing(_leaf: Leaf) -> None:
    """Nothing follows from the leaf but what its words say."""


def _own_rows(leaf: Leaf) -> set[str]:
    """Return the one row that an action changes, named by its resource."""
    match leaf.resource.split("/"):
        case ["spaces", space] if leaf.action in _SPACES:
            return {f"space/{space}"}
        case ["spaces", space, "recipients", recipient] if leaf.action in _RECIPIENTS:
            return {f"recipient/{space}/{recipient}"}
        case _:
            return set()
