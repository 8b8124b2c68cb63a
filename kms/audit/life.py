"""What the life cycle may change, as the log tells it: suspensions, compromises, destructions,
policies, holds, grants, shares, seals, vault keys. What needs approval is held against its request.
"""

from collections.abc import Set as AbstractSet

from kms.audit.approvals import Approvals, Destroyed, expect, request_row
from kms.audit.checks import Broken, Check, Said, Tally
from kms.audit.facts import MeetingFacts, check_rows
from kms.audit.governance import Governance, Meetings, Step
from kms.audit.leaf import Leaf
from kms.audit.life_rows import own_rows
from kms.audit.life_words import (
    DETAILS,
    ByRequest,
    Certified,
    Compromised,
    EpochByRequest,
    MeetingDestroyed,
    Suspended,
    VaultRetired,
)
from kms.audit.words import details, epoch_place
from kms.domain.approvals import (
    EpochTarget,
    MeetingTarget,
    VaultTarget,
)
from kms.domain.ids import MeetingId
from kms.domain.states import KeyState, MeetingState
from kms.statements.request import CheckedRequest

_BY_CEREMONY = "ceremony/"


class LifeCycle:
    """Applies the leaves of the life cycle; ``meetings`` is the history's own."""

    def __init__(self, meetings: Meetings, approvals: Approvals, tally: Tally) -> None:
        self._meetings = meetings
        self._approvals = approvals
        self._tally = tally
        self._governance = Governance(meetings, approvals, tally)
        self._uncertified: dict[str, Destroyed] = {}
        self._steps: dict[str, Step] = {
            "epoch.suspend": self._suspend,
            "epoch.resume": self._resume,
            "epoch.compromise": self._compromise,
            "epoch.destroy": self._destroy_epoch,
            "destruction.certify": self._certify,
            "vault.retire": self._retire_vault,
        }

    def knows(self, leaf: Leaf) -> bool:
        """Whether the leaf is about the life cycle."""
        return leaf.action in DETAILS and leaf.action != "meeting.destroy"

    def apply(self, leaf: Leaf) -> None:
        """Apply one succeeded leaf; raise Broken."""
        details(leaf, DETAILS[leaf.action])
        step = self._steps.get(leaf.action, self._governance.apply)
        step(leaf)
        if leaf.action not in _OWN_ROWS_CHECKED:
            check_rows(leaf, own_rows(leaf))

    def check_in_service(self, space: str) -> None:
        """Raise Broken if the space or the box is sealed."""
        self._governance.check_in_service(space)

    def check_grant(self, leaf: Leaf) -> None:
        """Raise Broken unless the grant that a caller acted under was the caller's, in force."""
        self._governance.check_grant(leaf)

    def check_destruction(self, leaf: Leaf, facts: MeetingFacts, living: set[int]) -> set[str]:
        """Return the row of the request that a destroyed meeting names; none if a ceremony
        destroyed its space. Raise Broken.
        """
        if "request" not in leaf.details:
            if not leaf.actor.startswith(_BY_CEREMONY):
                raise Broken(Check.APPROVALS, "未经批准即销毁", "destroyed without approval")
            self._governance.check_may_go(leaf, facts, facts.closed)
            return set()
        told = details(leaf, MeetingDestroyed)
        checked = self._approved(leaf, told)
        expect([checked.parameters], [MeetingTarget(MeetingId(facts.meeting))])
        self._governance.check_may_go(leaf, facts, facts.closed)
        if living:
            self._destroyed(leaf, facts, checked, living)
        return {request_row(leaf.space, told.request)}

    def end(self) -> None:
        """Note what was destroyed and has no certificate."""
        for destroyed in self._uncertified.values():
            said = Said("销毁尚无证书", "destroyed, and no certificate yet")
            self._tally.finding(Check.DESTRUCTION, said, destroyed.leaf.seq)

    # --- states ----------------------------------------------------------------------------------

    def _suspend(self, leaf: Leaf) -> None:
        told = details(leaf, Suspended)
        facts = self._meeting(epoch_place(leaf, told.epoch))
        check_rows(leaf, {facts.row(told.epoch)})
        facts.move(told.epoch, KeyState.SUSPENDED)

    def _resume(self, leaf: Leaf) -> None:
        told = details(leaf, EpochByRequest)
        facts = self._meeting(epoch_place(leaf, told.epoch))
        checked = self._approved(leaf, told)
        expect([checked.parameters], [EpochTarget(MeetingId(facts.meeting), told.epoch)])
        check_rows(leaf, {facts.row(told.epoch), request_row(leaf.space, told.request)})
        facts.move(told.epoch, KeyState.ACTIVE)

    def _compromise(self, leaf: Leaf) -> None:
        told = details(leaf, Compromised)
        facts = self._meeting(epoch_place(leaf, told.epoch))
        rows = {facts.row(told.epoch)}
        if facts.pending == told.epoch:
            facts.pending = None
            rows.add(facts.row())
        check_rows(leaf, rows)
        known = facts.epochs.get(told.epoch)
        facts.move(told.epoch, KeyState.COMPROMISED)
        if known is not None and known.readers != frozenset(told.readers):
            raise Broken(
                Check.STATES, "泄露所涉接收方有误", "the compromise tells of other readers"
            )

    def _destroy_epoch(self, leaf: Leaf) -> None:
        told = details(leaf, EpochByRequest)
        facts = self._meeting(epoch_place(leaf, told.epoch))
        checked = self._approved(leaf, told)
        expect([checked.parameters], [EpochTarget(MeetingId(facts.meeting), told.epoch)])
        check_rows(leaf, {facts.row(told.epoch), request_row(leaf.space, told.request)})
        self._governance.check_may_go(leaf, facts, facts.ended(told.epoch))
        facts.move(told.epoch, KeyState.DESTROYED)
        self._destroyed(leaf, facts, checked, {told.epoch})
        if facts.state is MeetingState.OPEN and told.epoch == facts.current:
            raise Broken(Check.STATES, "销毁了会议现用的密钥", "the present key was destroyed")

    def _certify(self, leaf: Leaf) -> None:
        self._tally.count(Check.DESTRUCTION)
        told = details(leaf, Certified)
        destroyed = self._uncertified.pop(told.request, None)
        if destroyed is None:
            raise Broken(Check.DESTRUCTION, "证书所指并未销毁", "a certificate of nothing")
        self._approvals.check_certificate(leaf, told, destroyed)

    # --- vault keys ------------------------------------------------------------------------------

    def _retire_vault(self, leaf: Leaf) -> None:
        told = details(leaf, VaultRetired)
        checked = self._approved(leaf, told)
        expect([checked.parameters], [VaultTarget(told.version)])
        vault = leaf.resource.rpartition("/")[2]
        left = [
            epoch
            for facts in self._meetings.values()
            if facts.space == leaf.space
            for epoch in facts.epochs.values()
            if epoch.state is not KeyState.DESTROYED and epoch.vault == vault
        ]
        if left:
            raise Broken(
                Check.STATES,
                "旧版保管库密钥销毁时尚有密钥依赖它",
                f"{len(left)} keys are left that only the retired vault key opens",
            )

    # --- parts -----------------------------------------------------------------------------------

    def _destroyed(
        self, leaf: Leaf, facts: MeetingFacts, checked: CheckedRequest, epochs: AbstractSet[int]
    ) -> None:
        """Note what a certificate is to follow for."""
        told = Destroyed(leaf, facts.meeting, frozenset(epochs), checked)
        self._uncertified[checked.wanted.id] = told

    def _approved(self, leaf: Leaf, told: ByRequest) -> CheckedRequest:
        self._tally.count(Check.APPROVALS)
        return self._approvals.check(leaf, told)

    def _meeting(self, place: tuple[str, str]) -> MeetingFacts:
        self._tally.count(Check.STATES)
        facts = self._meetings.get(place)
        if facts is None or facts.state is MeetingState.DESTROYED:
            raise Broken(
                Check.STATES, "会议从未开启或已销毁", "the meeting was never opened or is destroyed"
            )
        return facts


_OWN_ROWS_CHECKED = frozenset(
    {"epoch.suspend", "epoch.resume", "epoch.compromise", "epoch.destroy", "meeting.share"}
)
