"""What governs the keys, as the log tells it: legal holds, policies, grants, shares and seals. What
needs approval is held against its request.
"""

from collections.abc import Callable
from dataclasses import replace

from kms.audit.approvals import SLACK_SECONDS, Approvals, expect, request_row
from kms.audit.checks import Broken, Check, Tally
from kms.audit.facts import MeetingFacts, check_rows
from kms.audit.leaf import GRANT, Leaf, Outcome, Phase, seconds
from kms.audit.life_words import (
    ByRequest,
    Granted,
    GrantRevoked,
    HoldLifted,
    HoldPlaced,
    PolicyChanged,
    Shared,
)
from kms.audit.words import details, meeting_place
from kms.domain.approvals import (
    GrantWish,
    HoldTarget,
    PolicyChange,
    Sharing,
    SitePolicyChange,
    grant_of,
)
from kms.domain.grants import Grant  # noqa: TC001 -- with the other types of the domain
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
        self._grants: dict[str, Grant] = {}
        self._sealed: set[str] = set()
        self._steps: dict[str, Step] = {
            "hold.place": self._place_hold,
            "hold.lift": self._lift_hold,
            "policy.change": self._change_policy,
            "site-policy.change": self._change_site_policy,
            "grant.create": self._grant,
            "grant.revoke": self._revoke,
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

    def check_grant(self, leaf: Leaf) -> None:
        """Raise Broken unless a grant that let the caller do it was made for that caller and space
        and was in force.
        """
        if GRANT not in leaf.auth or leaf.phase is Phase.RESULT or leaf.outcome is Outcome.REFUSED:
            return
        self._tally.count(Check.APPROVALS)
        grant = self._grants.get(leaf.auth.rpartition(GRANT)[2])
        if grant is None or (grant.space, grant.principal) != (leaf.space, leaf.actor):
            raise Broken(Check.APPROVALS, "所凭授权并不存在", "a grant that was never made")
        begins, ends = grant.starts - SLACK_SECONDS, grant.revoked or grant.expires
        if not begins <= seconds(leaf.time) < ends + SLACK_SECONDS:
            raise Broken(Check.APPROVALS, "所凭授权不在有效期内", "a grant that was not in force")

    def check_may_go(self, leaf: Leaf, facts: MeetingFacts, ended: int) -> None:
        """Raise Broken if a legal hold stands, or the time of retention was not over; what is gone
        ``ended`` then (seconds since 1970; 0: it had not, which is found elsewhere).
        """
        self._tally.count(Check.DESTRUCTION)
        if any(
            space == facts.space and meeting in {"", facts.meeting}
            for (space, _), meeting in self._holds.items()
        ):
            raise Broken(Check.DESTRUCTION, "法律保全期间销毁", "destroyed under a legal hold")
        policy = self._approvals.policies.get(facts.space)
        kept = policy.retention_seconds if policy else 0
        if ended and seconds(leaf.time) < ended + kept:
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
        self._approvals.policies[leaf.space] = wanted.policy

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
        self._grants[told.grant] = grant_of(SpaceName(leaf.space), told.grant, wish, "")

    def _revoke(self, leaf: Leaf) -> None:
        told = details(leaf, GrantRevoked)
        grant = self._grants.get(told.grant)
        if grant is None or grant.space != leaf.space or grant.revoked:
            raise Broken(Check.STATES, "撤回的授权不存在", "no such grant to revoke")
        self._grants[told.grant] = replace(grant, revoked=seconds(leaf.time))

    def _share(self, leaf: Leaf) -> None:
        told = details(leaf, Shared)
        facts = self._meetings.get(meeting_place(leaf))
        if facts is None:
            raise Broken(Check.STATES, "会议从未开启或已销毁", "no such meeting to share")
        wanted = Sharing(MeetingId(facts.meeting), SpaceName(told.partner))
        expect([self._approved(leaf, told).parameters], [wanted])
        if facts.partner:
            raise Broken(Check.STATES, "会议已与另一空间共享", "the meeting was shared before")
        facts.partner = told.partner
        share = f"share/{facts.space}/{facts.meeting}"
        check_rows(leaf, {share, facts.row(), request_row(leaf.space, told.request)})

    def _approved(self, leaf: Leaf, told: ByRequest) -> CheckedRequest:
        self._tally.count(Check.APPROVALS)
        return self._approvals.check(leaf, told)
