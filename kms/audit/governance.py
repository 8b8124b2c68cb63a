"""What governs the keys, as the log tells it: legal holds, policies, grants, shares and seals. What
needs approval is held against its request.
"""

from collections.abc import Callable
from datetime import datetime

from kms.audit.approvals import Approvals, expect, request_row
from kms.audit.checks import Broken, Check, Tally
from kms.audit.facts import MeetingFacts, check_rows
from kms.audit.leaf import Leaf
from kms.audit.life_words import ByRequest, Granted, HoldLifted, HoldPlaced, PolicyChanged, Shared
from kms.audit.words import details, meeting_place
from kms.domain.approvals import GrantWish, HoldTarget, PolicyChange, Sharing, SitePolicyChange
from kms.domain.ids import MeetingId, SpaceName
from kms.statements.request import CheckedRequest

Meetings = dict[tuple[str, str], MeetingFacts]
Step = Callable[[Leaf], None]
"""Applies a leaf of one action; raises Broken."""


class Governance:
    """Applies the leaves about spaces and the site; ``meetings`` is the history's own."""

    def __init__(self, meetings: Meetings, approvals: Approvals, tally: Tally) -> None:
        self._meetings = meetings
        self._approvals = approvals
        self._tally = tally
        self._holds: dict[tuple[str, str], str] = {}
        self._retention: dict[str, int] = {}
        self._sealed: set[str] = set()
        self._steps: dict[str, Step] = {
            "hold.place": self._place_hold,
            "hold.lift": self._lift_hold,
            "policy.change": self._change_policy,
            "site-policy.change": self._change_site_policy,
            "grant.create": self._grant,
            "meeting.share": self._share,
            "space.seal": lambda leaf: self._sealed.add(leaf.space),
            "space.unseal": lambda leaf: self._sealed.discard(leaf.space),
            "site.seal": lambda _leaf: self._sealed.add(""),
            "site.unseal": lambda _leaf: self._sealed.discard(""),
        }

    def apply(self, leaf: Leaf) -> None:
        """Apply one succeeded leaf, if it governs anything; raise Broken."""
        step = self._steps.get(leaf.action)
        if step is not None:
            step(leaf)

    def check_in_service(self, space: str) -> None:
        """Raise Broken if the space or the box was sealed."""
        if not self._sealed.isdisjoint({space, ""}):
            raise Broken(Check.STATES, "封存期间仍有密钥操作", "a key operation while sealed")

    def check_may_go(self, leaf: Leaf, facts: MeetingFacts) -> None:
        """Raise Broken if a legal hold stands, or the time of retention was not over."""
        self._tally.count(Check.DESTRUCTION)
        if any(
            space == facts.space and meeting in {"", facts.meeting}
            for (space, _), meeting in self._holds.items()
        ):
            raise Broken(Check.DESTRUCTION, "法律保全期间销毁", "destroyed under a legal hold")
        kept = self._retention.get(facts.space, 0)
        if facts.closed and _seconds(leaf.time) < facts.closed + kept:
            raise Broken(Check.DESTRUCTION, "保存期限未满即销毁", "destroyed before its time")

    def _place_hold(self, leaf: Leaf) -> None:
        told = details(leaf, HoldPlaced)
        self._holds[leaf.space, told.hold] = told.meeting

    def _lift_hold(self, leaf: Leaf) -> None:
        told = details(leaf, HoldLifted)
        checked = self._approved(leaf, told)
        expect([checked.parameters], [HoldTarget(told.hold)])
        if self._holds.pop((leaf.space, told.hold), None) is None:
            raise Broken(Check.STATES, "解除的法律保全不存在", "no such hold to lift")

    def _change_policy(self, leaf: Leaf) -> None:
        told = details(leaf, PolicyChanged)
        wanted = self._approved(leaf, told).parameters
        if not isinstance(wanted, PolicyChange):
            raise Broken(Check.APPROVALS, "批准的是另一操作", "another operation was approved")
        expect([leaf.space, told.version], [wanted.policy.space, wanted.version])
        self._retention[leaf.space] = wanted.policy.retention_seconds

    def _change_site_policy(self, leaf: Leaf) -> None:
        told = details(leaf, PolicyChanged)
        wanted = self._approved(leaf, told).parameters
        if not isinstance(wanted, SitePolicyChange):
            raise Broken(Check.APPROVALS, "批准的是另一操作", "another operation was approved")
        expect([told.version], [wanted.version])

    def _grant(self, leaf: Leaf) -> None:
        told = details(leaf, Granted)
        wish = self._approved(leaf, told).parameters
        if not isinstance(wish, GrantWish):
            raise Broken(Check.APPROVALS, "批准的是另一操作", "another operation was approved")
        expect(
            [told.grant, told.principal, told.role, told.expires],
            [told.request, wish.principal, wish.role, wish.expires],
        )

    def _share(self, leaf: Leaf) -> None:
        told = details(leaf, Shared)
        facts = self._meetings.get(meeting_place(leaf))
        if facts is None:
            raise Broken(Check.STATES, "会议从未开启或已销毁", "no such meeting to share")
        checked = self._approved(leaf, told)
        wanted = Sharing(MeetingId(facts.meeting), SpaceName(told.partner))
        expect([checked.parameters], [wanted])
        sides = {need.space == told.partner for need in checked.wanted.quorum}
        if sides != {True, False}:
            raise Broken(Check.APPROVALS, "并非双方空间均已批准", "one side was not asked")
        if facts.partner:
            raise Broken(Check.STATES, "会议已与另一空间共享", "the meeting was shared before")
        facts.partner = told.partner
        share = f"share/{facts.space}/{facts.meeting}"
        check_rows(leaf, {share, facts.row(), request_row(leaf.space, told.request)})

    def _approved(self, leaf: Leaf, told: ByRequest) -> CheckedRequest:
        self._tally.count(Check.APPROVALS)
        return self._approvals.check(leaf, told)


def _seconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp())
