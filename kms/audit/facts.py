"""What is known of one meeting while the log is replayed, and what a leaf may change in it."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from kms.audit.checks import Broken, Check
from kms.audit.leaf import Leaf
from kms.audit.words import Minted
from kms.domain.models import ReleaseClass, RotationReason
from kms.domain.states import IN_USE, KeyState, MeetingState, check_transition
from kms.errors import StateNotAllowed


@dataclass(slots=True)
class EpochFacts:
    """An epoch's state, when it may start, whom its manifest names besides vault and escrow, and
    the escrow generation that can recover it. ``vault`` is the vault key that opens it, ``ended``
    when the next one came into use (0: not yet).
    """

    state: KeyState
    starts: int
    readers: frozenset[str]
    generation: int = 0
    vault: str = ""
    ended: int = 0


@dataclass(slots=True)
class MeetingFacts:
    """A meeting as the log tells it; ``current`` is -1 and ``roster_version`` 0 before epoch 0.
    ``host`` is the id in the manifests of a confidential one.
    """

    space: str
    meeting: str
    state: MeetingState = MeetingState.OPEN
    release_class: ReleaseClass | None = None
    current: int = -1
    pending: int | None = None
    last: int = -1
    roster_version: int = 0
    roster: frozenset[str] = frozenset()
    closed: int = 0
    partner: str = ""
    host: str = ""
    epochs: dict[int, EpochFacts] = field(default_factory=dict)

    def row(self, epoch: int | None = None) -> str:
        """Return the row key of the meeting or of one epoch."""
        if epoch is None:
            return f"meeting/{self.space}/{self.meeting}"
        return f"epoch/{self.space}/{self.meeting}/{epoch}"

    def roster_row(self) -> str:
        """Return the row key of the roster."""
        return f"roster/{self.space}/{self.meeting}"

    def in_use(self) -> bool:
        """Whether the present epoch still has to end: not if it was compromised meanwhile."""
        facts = self.epochs.get(self.current)
        return facts is not None and facts.state in IN_USE

    def end(self, epoch: int, at: int) -> None:
        """Note when an epoch was followed by another (seconds since 1970)."""
        if epoch in self.epochs:
            self.epochs[epoch].ended = at

    def ended(self, epoch: int) -> int:
        """Return when an epoch ceased to be of use, 0 while it is: at the end of a closed meeting,
        else when the next one was due. What never came into use: when that was due itself.
        """
        facts = self.epochs.get(epoch)
        if self.closed or facts is None:
            return self.closed
        return 0 if epoch == self.current else facts.ended or facts.starts

    def move(self, epoch: int | None, state: KeyState) -> None:
        """Put an epoch into another state; raise Broken."""
        facts = None if epoch is None else self.epochs.get(epoch)
        if facts is None:
            raise Broken(Check.STATES, "密钥周期不存在", "there is no such epoch")
        old, facts.state = facts.state, state
        try:
            check_transition(old, state)
        except StateNotAllowed as error:
            said = f"密钥周期 {epoch} 不能从 {old} 变为 {state}"
            raise Broken(Check.STATES, said, f"epoch {epoch}: {error.message}") from error


def check_roster(leaf: Leaf, facts: MeetingFacts, told: Minted, readers: frozenset[str]) -> None:
    """Raise Broken unless the mint fits the roster before it: nobody comes or goes unsaid."""
    changes = leaf.action != "epoch.rotate"
    if told.roster_version != facts.roster_version + changes:
        raise Broken(Check.ROSTERS, "名册版本不连续", "the roster's version does not follow")
    if not changes and readers != facts.roster:
        raise Broken(Check.ROSTERS, "名册未变而接收方变了", "recipients changed without the roster")
    if leaf.action != "roster.change":
        return
    joined, left = sorted(readers - facts.roster), sorted(facts.roster - readers)
    if (joined, left) != (sorted(told.joined), sorted(told.left)):
        raise Broken(Check.ROSTERS, "名册变动与日志条目不符", "the change of roster is another one")
    reason = RotationReason.JOIN if joined else RotationReason.MANUAL
    if told.reason is not (RotationReason.LEAVE if left else reason):
        raise Broken(Check.ROSTERS, "名册变动的原因不符", "the reason does not fit the change")


def check_mint_rows(leaf: Leaf, facts: MeetingFacts, told: Minted) -> None:
    """Raise Broken unless a mint changed exactly the rows that it must."""
    rows = {facts.row(), facts.row(told.epoch)}
    if leaf.action != "epoch.rotate":
        rows.add(facts.roster_row())
    if facts.pending is not None:
        rows.add(facts.row(facts.pending))
    if told.state is KeyState.ACTIVE and facts.in_use():
        rows.add(facts.row(facts.current))
    check_rows(leaf, rows)


def check_rows(leaf: Leaf, rows: AbstractSet[str]) -> None:
    """Raise Broken unless the leaf changed exactly these rows."""
    if leaf.rows.keys() != rows:
        raise Broken(Check.ROWS, "改动的数据行与动作不符", "other rows changed than the action's")
