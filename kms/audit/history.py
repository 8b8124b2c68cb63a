"""Replays the log: meetings, their epochs and rosters, as they must have been for each leaf.

Memory grows with meetings and epochs that are not destroyed, not with leaves.
"""

from kms.audit.actions import MINTING, SERVING
from kms.audit.approvals import Approvals
from kms.audit.ceremonies import Ceremonies
from kms.audit.checks import Broken, Check, Tally
from kms.audit.disks import Disks
from kms.audit.facts import (
    EpochFacts,
    MeetingFacts,
    check_mint_rows,
    check_roster,
    check_rows,
)
from kms.audit.governance import Step  # noqa: TC001 -- with the other parts of the replay
from kms.audit.leaf import Leaf, Outcome, seconds
from kms.audit.life import LifeCycle
from kms.audit.officers import Officers
from kms.audit.presence import Releases, check_host
from kms.audit.proofs import Manifests
from kms.audit.reports import Reports
from kms.audit.words import (
    Activated,
    Closed,
    Minted,
    Served,
    details,
    epoch_place,
    meeting_place,
)
from kms.domain.models import URGENT, RecipientKind, ReleaseClass, RotationReason
from kms.domain.states import SERVED, KeyState, MeetingState
from kms.statements.addendum import SILENT
from kms.statements.manifest import Manifest

_SERVED_BY = {"envelope.fetch": ReleaseClass.TRUSTED, "envelope.relay": ReleaseClass.ROSTER}


class History:
    """Every succeeded leaf is applied in order; what cannot have been is tallied."""

    def __init__(
        self, manifests: Manifests, approvals: Approvals, disks: Disks, tally: Tally
    ) -> None:
        self._manifests = manifests
        self._tally = tally
        self._meetings: dict[tuple[str, str], MeetingFacts] = {}
        self._gone: set[tuple[str, str]] = set()
        self._versions: dict[str, int] = {}
        self._approvals = approvals
        self._ceremonies = Ceremonies()
        self._officers = Officers(self._meetings, manifests, tally)
        self._life = LifeCycle(self._meetings, approvals, tally)
        self._disks = disks
        self._passkeys = approvals.passkeys
        self._reports = Reports(approvals, tally)
        self._releases = Releases(approvals.site, approvals.passkeys, tally)
        self._steps: dict[str, Step] = {
            **dict.fromkeys(SERVING, self._serve),
            **dict.fromkeys(MINTING, self._mint),
            "epoch.activate": self._activate,
            "meeting.close": self._close,
            "meeting.destroy": self._destroy,
        }

    def apply(self, leaf: Leaf) -> None:
        """Apply one leaf; raise Broken at what stops the rest of it from being checked."""
        self._ceremonies.follow(leaf)
        self._tally.guard(lambda: self._life.check_grant(leaf), leaf.seq)
        self._tally.guard(lambda: self._passkeys.check_actor(leaf), leaf.seq)
        if self._passkeys.knows(leaf):
            self._tally.count(Check.PASSKEYS)
            self._passkeys.apply(leaf)
            return
        if self._disks.announces(leaf):
            self._tally.guard(lambda: self._life.check_in_service(leaf.space), leaf.seq)
            self._disks.announce(leaf)
        if leaf.outcome is not Outcome.SUCCEEDED:
            return
        self._ceremonies.check(leaf)
        step = self._steps.get(leaf.action)
        if step is not None:
            step(leaf)
        elif self._life.knows(leaf):
            self._life.apply(leaf)
        elif self._disks.knows(leaf):
            self._disks.apply(leaf)
        elif self._reports.knows(leaf):
            self._reports.apply(leaf)
        else:
            self._by_officers(leaf)

    def _by_officers(self, leaf: Leaf) -> None:
        self._officers.apply(leaf)
        self._approvals.apply(leaf)
        if leaf.action == "space.destroy":
            self._disks.check_gone(leaf.space)

    def end(self) -> None:
        """Note what the log leaves open."""
        self._approvals.end(self._tally)
        self._life.end()
        self._disks.end()

    def count_rows(self, leaf: Leaf) -> None:
        """Raise Broken unless every row's version is one more than the last."""
        wrong = []
        for key, version in leaf.rows.items():
            if version != self._versions.get(key, 0) + 1:
                wrong.append(key)
            self._versions[key] = version
        self._tally.count(Check.ROWS, len(leaf.rows))
        if wrong:
            said = f"数据行 {wrong[0]} 的版本不连续"
            raise Broken(Check.ROWS, said, f"the version of row {wrong[0]} does not follow")

    def _mint(self, leaf: Leaf) -> None:
        told = details(leaf, Minted)
        space, meeting = epoch_place(leaf, told.epoch)
        self._tally.count(Check.NUMBERS)
        facts = self._minting_meeting(leaf, space, meeting, told)
        found = self._manifest(leaf, facts, told)
        readers, starts, generation, vault = frozenset(told.recipients), 0, 0, ""
        if found:
            facts.release_class, starts = found.release_class, found.nbf
            generation = next(e.version for e in found.recipients if e.kind is RecipientKind.ESCROW)
            vault = next(e.id for e in found.recipients if e.kind is RecipientKind.VAULT)
            readers = frozenset(e.id for e in found.recipients if e.kind not in SILENT)
            self._tally.guard(lambda: check_host(facts, found), leaf.seq)
        self._tally.count(Check.ROSTERS, leaf.action != "epoch.rotate")
        self._tally.guard(lambda: check_roster(leaf, facts, told, readers), leaf.seq)
        self._tally.guard(lambda: check_mint_rows(leaf, facts, told), leaf.seq)
        if readers != facts.roster:
            facts.roster = readers
        facts.roster_version = told.roster_version
        epoch = EpochFacts(told.state, starts, facts.roster, generation, vault)
        self._enter_epoch(leaf, facts, told, epoch)

    def _manifest(self, leaf: Leaf, facts: MeetingFacts, told: Minted) -> Manifest | None:
        self._tally.count(Check.MANIFESTS)
        try:
            return self._manifests.check(
                facts.space, facts.meeting, told, shared=bool(facts.partner)
            )
        except Broken as broken:
            self._tally.fail(broken, leaf.seq)
            return None

    def _minting_meeting(self, leaf: Leaf, space: str, meeting: str, told: Minted) -> MeetingFacts:
        if (space, meeting) in self._gone:
            raise Broken(
                Check.NUMBERS, "已销毁的会议又有新的密钥周期", "a destroyed meeting's new epoch"
            )
        self._tally.guard(lambda: self._officers.check_in_use(space), leaf.seq)
        self._tally.guard(lambda: self._life.check_in_service(space), leaf.seq)
        facts = self._meetings.get((space, meeting))
        opening = leaf.action == "meeting.open"
        if opening != (facts is None) or opening != (told.reason is RotationReason.OPEN):
            self._tally.fail(
                Broken(Check.STATES, "会议未开启或重复开启", "not opened, or opened twice"),
                leaf.seq,
            )
        if facts is None:
            facts = self._meetings[space, meeting] = MeetingFacts(space, meeting)
        if told.epoch != facts.last + 1:
            said = f"密钥周期编号应为 {facts.last + 1}，实为 {told.epoch}"
            en = f"the epoch's number should be {facts.last + 1}, it is {told.epoch}"
            self._tally.fail(Broken(Check.NUMBERS, said, en), leaf.seq)
        return facts

    def _enter_epoch(
        self, leaf: Leaf, facts: MeetingFacts, told: Minted, epoch: EpochFacts
    ) -> None:
        cancelled, current = facts.pending, facts.current
        active = told.state is KeyState.ACTIVE
        ends = active and facts.in_use()
        facts.epochs[told.epoch] = epoch
        facts.last = max(facts.last, told.epoch)
        facts.pending = None if active else told.epoch
        if active:
            facts.current = told.epoch
        self._tally.count(Check.STATES)
        if facts.state is not MeetingState.OPEN or told.cancelled != cancelled:
            raise Broken(
                Check.STATES, "会议已结束，或漏记取消的密钥周期", "not open, or a cancel not told"
            )
        if told.state is not (
            KeyState.ACTIVE if told.reason in URGENT else KeyState.PRE_ACTIVATION
        ):
            raise Broken(
                Check.STATES, "新密钥周期的状态与原因不符", "state does not fit the reason"
            )
        if active and epoch.starts > seconds(leaf.time):
            raise Broken(Check.STATES, "密钥周期在其生效时间之前激活", "active before its time")
        if cancelled is not None:
            facts.move(cancelled, KeyState.DESTROYED)
        if active:
            facts.end(current, epoch.starts)
        if ends:
            facts.move(current, KeyState.DEACTIVATED)

    def _activate(self, leaf: Leaf) -> None:
        told = details(leaf, Activated)
        facts = self._meeting(epoch_place(leaf, told.epoch), Check.STATES)
        self._tally.count(Check.STATES)
        rows, ends = {facts.row(), facts.row(told.epoch)}, facts.in_use()
        if ends:
            rows.add(facts.row(told.deactivated))
        self._tally.guard(lambda: check_rows(leaf, rows), leaf.seq)
        pending, current = facts.pending, facts.current
        facts.pending, facts.current = None, told.epoch
        if (told.epoch, told.deactivated) != (pending, current):
            raise Broken(
                Check.STATES, "激活的不是预先发布的密钥周期", "it is not the one published"
            )
        facts.move(told.epoch, KeyState.ACTIVE)
        facts.end(current, facts.epochs[told.epoch].starts)
        if ends:
            facts.move(told.deactivated, KeyState.DEACTIVATED)
        if facts.epochs[told.epoch].starts > seconds(leaf.time):
            raise Broken(Check.STATES, "密钥周期在其生效时间之前激活", "active before its time")

    def _close(self, leaf: Leaf) -> None:
        told = details(leaf, Closed)
        facts = self._meeting(meeting_place(leaf), Check.STATES)
        self._tally.count(Check.STATES)
        rows, ends = {facts.row()}, facts.in_use()
        if ends:
            rows.add(facts.row(told.deactivated))
        if told.cancelled is not None:
            rows.add(facts.row(told.cancelled))
        self._tally.guard(lambda: check_rows(leaf, rows), leaf.seq)
        state, facts.state = facts.state, MeetingState.CLOSED
        facts.closed = seconds(leaf.time)
        pending, facts.pending = facts.pending, None
        if state is not MeetingState.OPEN:
            raise Broken(Check.STATES, "会议并非进行中", "the meeting was not open")
        if (told.cancelled, told.deactivated) != (pending, facts.current):
            raise Broken(Check.STATES, "结束会议时所记密钥周期有误", "closing told of other epochs")
        if ends:
            facts.move(told.deactivated, KeyState.DEACTIVATED)
        if told.cancelled is not None:
            facts.move(told.cancelled, KeyState.DESTROYED)

    def _destroy(self, leaf: Leaf) -> None:
        place = meeting_place(leaf)
        facts = self._meeting(place, Check.STATES)
        self._tally.count(Check.STATES)
        living = {n for n, e in facts.epochs.items() if e.state is not KeyState.DESTROYED}
        rows = {facts.row(), *(facts.row(number) for number in living)}
        rows |= self._life.check_destruction(leaf, facts, living)
        if "request" not in leaf.details:
            self._tally.guard(lambda: self._officers.check_retired(facts.space), leaf.seq)
        self._tally.guard(lambda: check_rows(leaf, rows), leaf.seq)
        self._forget(place, facts)
        if facts.state is not MeetingState.CLOSED or leaf.details.get("epochs") != len(living):
            raise Broken(
                Check.STATES, "会议未结束，或漏销毁密钥周期", "not closed, or keys left out"
            )
        for number in living:
            facts.move(number, KeyState.DESTROYED)

    def _forget(self, place: tuple[str, str], facts: MeetingFacts) -> None:
        """Nothing may happen to a destroyed meeting any more, so its rows need no counting."""
        for key in (facts.row(), facts.roster_row(), *(facts.row(n) for n in facts.epochs)):
            self._versions.pop(key, None)
        del self._meetings[place]
        self._gone.add(place)

    def _serve(self, leaf: Leaf) -> None:
        told = details(leaf, Served)
        facts = self._meeting(epoch_place(leaf, told.epoch), Check.ACCESS)
        self._tally.count(Check.ACCESS)
        self._tally.guard(lambda: self._life.check_in_service(facts.space), leaf.seq)
        epoch = facts.epochs.get(told.epoch)
        if epoch is None or epoch.state not in SERVED:
            raise Broken(Check.ACCESS, "信封所属密钥周期不存在或已销毁", "no such epoch to serve")
        self._tally.guard(lambda: self._releases.check(leaf, told, facts), leaf.seq)
        if told.recipient not in epoch.readers:
            raise Broken(
                Check.ACCESS, "接收方不在清单上", "the manifest does not name the recipient"
            )
        if told.recipient not in facts.roster:
            raise Broken(Check.ACCESS, "接收方已离开名册", "the recipient had left the roster")
        if facts.release_class not in {None, _SERVED_BY[leaf.action]}:
            raise Broken(
                Check.ACCESS, "交付方式与空间的发放类别不符", "not how this space serves envelopes"
            )
        if leaf.rows:
            raise Broken(Check.ROWS, "交付信封改了数据行", "serving an envelope changed rows")

    def _meeting(self, place: tuple[str, str], check: Check) -> MeetingFacts:
        facts = self._meetings.get(place)
        if facts is None:
            raise Broken(
                check, "会议从未开启或已销毁", "the meeting was never opened or is destroyed"
            )
        return facts
