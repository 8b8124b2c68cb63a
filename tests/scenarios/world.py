"""A world of meetings on real tokens, with a clock that the test moves, and what must always hold.

Every act goes through the service's use cases. After each, the meeting is read back and held
against what it was before: no key changes state but by the table, none is served outside its window
or to whoever left, and escrow keeps every key that is not destroyed.
"""

import heapq
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from uuid_utils import uuid7

from kms.client.rosters import new_meeting, signed_roster
from kms.domain.approvals import RULES, default_needs
from kms.domain.ids import MeetingId, RecipientId, SpaceName
from kms.domain.models import Epoch, Meeting, Principal, ReleaseClass, Role, RotationReason
from kms.domain.states import IN_USE, SERVED, TRANSITIONS, KeyState, MeetingState
from kms.errors import ConclaveError, HsmUnavailable
from kms.statements import jws, manifest
from kms.statements.canonical import decode_record
from kms.usecases.activations import activate
from kms.usecases.approvals.execution import execute_request
from kms.usecases.approvals.requests import sign_request, submit_request
from kms.usecases.envelopes import FetchedEnvelope, Wanted, fetch_envelope
from kms.usecases.lifecycle.compromise import compromise
from kms.usecases.lifecycle.suspension import suspend
from kms.usecases.meetings import change_roster, close_meeting, open_meeting, rotate
from kms.usecases.rosters import WantedRoster
from kms.usecases.rotation.outlook import outlook
from kms.usecases.rotation.turn import rotate_if_due
from kms.usecases.services import Call, Services
from tests.fixtures.approved import REQUESTER, approval, asked, wanted
from tests.fixtures.many_spaces import (
    DeskWorkers,
    ManySpaces,
    StoryClock,
    principal,
    release_class,
)
from tests.fixtures.people import SECURITY

HOUR = 3_600


@dataclass
class Known:
    """A meeting as the world last saw it."""

    space: SpaceName
    meeting: MeetingId
    roster: tuple[str, ...]
    roster_version: int = 1
    state: MeetingState = MeetingState.OPEN
    current: int = 0
    epochs: dict[int, Epoch] = field(default_factory=dict)


class World:
    """The site's service and its meetings."""

    def __init__(self, site: ManySpaces, clock: StoryClock) -> None:
        self.site, self.clock = site, clock
        self.meetings: dict[MeetingId, Known] = {}
        self.counts: Counter[str] = Counter()
        self.living: Counter[SpaceName] = Counter()
        self._events: list[tuple[int, int, MeetingId]] = []
        self._planned: set[tuple[int, MeetingId]] = set()
        self._order = 0
        self._officer = principal(Role.OFFICER)
        self._running: Any = None
        self._signed = 0.0
        self.workers = DeskWorkers(site.settings, clock)
        self.services: Services
        self.parts: Any

    # --- the service -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the service."""
        self._running = self.site.composed(self.clock, self.workers)
        self.parts = await self._running.__aenter__()
        self.services = self.parts.services
        if not self.meetings:
            kept = await self.services.store.count_kept(self.site.escrow_id)
            for space in self.site.names:
                self.living[space] = kept[space]

    async def stop(self) -> None:
        """Stop it."""
        await self._running.__aexit__(None, None, None)

    async def restart(self) -> None:
        """Stop it and start it again."""
        self.counts["restarts"] += 1
        await self.stop()
        await self.start()

    # --- acts ------------------------------------------------------------------------------------

    async def open(self, number: int, roster: Sequence[str]) -> MeetingId | None:
        """Open a meeting; None if the answer was lost."""
        space, meeting = self.site.names[number], new_meeting()
        server = self._server(space)
        known = Known(space, meeting, tuple(roster), roster_version=1)
        call = self._call("meeting.open", server)
        wish = self._wish(known, roster, 1)
        if await self._lost(open_meeting(self.services, call, space, meeting, wish), space):
            return None
        self.meetings[meeting] = known
        await self._look(known)
        return meeting

    async def change(self, meeting: MeetingId, roster: Sequence[str]) -> None:
        """Let people join and leave."""
        known = self.meetings[meeting]
        call = self._call("roster.change", self._server(known.space))
        wish = self._wish(known, roster, known.roster_version + 1)
        coming = change_roster(self.services, call, known.space, meeting, wish)
        if not await self._lost(coming, known.space):
            known.roster, known.roster_version = tuple(roster), known.roster_version + 1
        await self._look(known)

    async def rotate(self, meeting: MeetingId, reason: RotationReason) -> None:
        """Rotate by hand."""
        known = self.meetings[meeting]
        call = self._call("epoch.rotate", self._server(known.space))
        await self._lost(rotate(self.services, call, known.space, meeting, reason), known.space)
        await self._look(known)

    async def suspend(self, meeting: MeetingId) -> None:
        """Suspend the present key."""
        known = self.meetings[meeting]
        call = self._call("epoch.suspend", self._officer)
        coming = suspend(self.services, call, known.space, meeting, None, "the year's story")
        await self._lost(coming, known.space)
        await self._look(known)

    async def resume(self, meeting: MeetingId) -> None:
        """Take it into use again, by three officers' word."""
        known = self.meetings[meeting]
        target = {"meeting": meeting, "epoch": known.current}
        await self._approved("epoch.resume", known.space, target)
        await self._look(known)

    async def compromise(self, meeting: MeetingId, epoch: int) -> None:
        """Mark a key compromised."""
        known = self.meetings[meeting]
        call = self._call("epoch.compromise", self._officer)
        coming = compromise(self.services, call, known.space, meeting, epoch, "the year's story")
        await self._lost(coming, known.space)
        await self._look(known)

    async def close(self, meeting: MeetingId) -> None:
        """End a meeting."""
        known = self.meetings[meeting]
        call = self._call("meeting.close", self._server(known.space))
        await self._lost(close_meeting(self.services, call, known.space, meeting), known.space)
        await self._look(known)

    async def destroy(self, meeting: MeetingId) -> None:
        """Destroy a closed meeting's keys, by three officers' word."""
        known = self.meetings[meeting]
        await self._approved("meeting.destroy", known.space, {"meeting": meeting})
        await self._look(known)

    async def lose_an_answer(self, number: int) -> None:
        """Let the next answer of a space's worker be lost, as if it had died after its work."""
        self.workers.links[self.site.names[number]].lose_answers = 1

    async def fetch(self, meeting: MeetingId, who: str, epoch: int | None = None) -> None:
        """Fetch an envelope and hold what comes, or does not, against the model."""
        known = self.meetings[meeting]
        number = known.current if epoch is None else epoch
        recipient = self._recipient(known.space, who)
        server = self._server(known.space, recipient)
        call = self._call("envelope.fetch", server)
        place = Wanted(known.space, meeting, epoch, recipient)
        try:
            got: FetchedEnvelope | None = await fetch_envelope(self.services, call, place)
        except HsmUnavailable:
            self.counts["lost answers"] += 1
            return
        except ConclaveError:
            got = None
        self.counts["served" if got else "not served"] += 1
        may = (
            known.state is not MeetingState.DESTROYED
            and known.epochs[number].state in SERVED
            and who in known.roster
            and recipient in _readers(known.epochs[number])
        )
        assert (got is not None) == may, (who, number, known)
        if got and number == known.current and known.state is MeetingState.OPEN:
            told = _manifest(got.manifest)
            assert told.nbf <= self.clock.now() < told.exp, "served outside its window"

    # --- time ------------------------------------------------------------------------------------

    async def pass_time(self, seconds: int) -> None:
        """Let time pass; whatever is due meanwhile happens at its moment."""
        end = self.clock.now() + seconds
        while self._events and self._events[0][0] <= end:
            when, _, meeting = heapq.heappop(self._events)
            self._planned.discard((when, meeting))
            self.clock.advance(max(0.0, when - self.clock.now()))
            await self._tick(self.meetings[meeting])
        self.clock.advance(max(0.0, end - self.clock.now()))
        await self._checkpoint()

    async def _tick(self, known: Known) -> None:
        """Do what is due for a meeting, as the background work does."""
        if known.state is not MeetingState.OPEN:
            return
        await self._checkpoint()
        try:
            await activate(self.services, known.space, known.meeting)
            await rotate_if_due(self.services, known.space, known.meeting)
        except HsmUnavailable:
            self.counts["lost answers"] += 1
            self._expect(int(self.clock.now()) + 1, known.meeting)
        await self._look(known)

    async def _checkpoint(self) -> None:
        """Sign the log's head before the two hours are over that this site allows."""
        if self.clock.monotonic() - self._signed >= 1.9 * HOUR:
            await self.parts.checkpointer.keep()
            self._signed = self.clock.monotonic()

    def _expect(self, when: int, meeting: MeetingId) -> None:
        if (when, meeting) in self._planned:
            return
        self._order += 1
        self._planned.add((when, meeting))
        heapq.heappush(self._events, (when, self._order, meeting))

    # --- what must hold --------------------------------------------------------------------------

    async def _look(self, known: Known) -> None:
        """Read a meeting back and check it against what it was."""
        meeting, _ = await self.services.cache.meeting(known.space, known.meeting)
        before, known.epochs = known.epochs, self._epochs(known)
        known.state, known.current = meeting.state, meeting.current_epoch
        self._check_steps(before, known)
        self._check_present(meeting, known)
        self._check_envelopes(before, known)
        await self._plan(known)

    def _epochs(self, known: Known) -> dict[int, Epoch]:
        rows = self.services.store.epochs(known.space, known.meeting, -1, 100_000)
        found = [decode_record(sealed.row.body, Epoch) for sealed in rows]
        return {epoch.epoch: epoch for epoch in found}

    def _check_steps(self, before: dict[int, Epoch], known: Known) -> None:
        assert list(known.epochs) == list(range(len(known.epochs))), "numbers count up"
        for number, old in before.items():
            assert _leads(old.state, known.epochs[number].state), (number, old.state, known)
        for number in known.epochs.keys() - before.keys():
            self.counts[f"minted: {known.epochs[number].reason}"] += 1

    def _check_present(self, meeting: Meeting, known: Known) -> None:
        used = [n for n, epoch in known.epochs.items() if epoch.state in IN_USE]
        pending = [n for n, e in known.epochs.items() if e.state is KeyState.PRE_ACTIVATION]
        if meeting.state is not MeetingState.OPEN:
            assert not used
            assert not pending
            return
        present = known.epochs[meeting.current_epoch]
        assert used == ([present.epoch] if present.state in IN_USE else [])
        assert pending == ([] if meeting.next_epoch is None else [meeting.next_epoch])
        assert present.activates <= self.clock.now(), "in use before its time"
        if present.state is KeyState.ACTIVE:
            assert self.clock.now() < present.retires, "in use after its time"

    def _check_envelopes(self, before: dict[int, Epoch], known: Known) -> None:
        for number, epoch in known.epochs.items():
            old = before.get(number)
            if old is not None and old.state is epoch.state:
                continue
            kept = self.services.store.count_envelopes(known.space, known.meeting, number)
            gone = epoch.state is KeyState.DESTROYED
            assert (kept == 0) if gone else (kept == 2 + len(_readers(epoch))), (number, kept)
            if old is None and not gone:
                self.living[known.space] += 1
            elif old is not None and gone:
                self.living[known.space] -= 1

    async def check_escrow(self) -> int:
        """Return how many keys escrow covers, once that is every key that is not destroyed."""
        kept = await self.services.store.count_kept(self.site.escrow_id)
        for space in self.site.names:
            assert kept[space] == self.living[space], (space, kept, self.living[space])
        return kept.total()

    async def _plan(self, known: Known) -> None:
        """Note when the meeting next wants something."""
        if known.state is not MeetingState.OPEN:
            return
        seen = await outlook(self.services, known.space, known.meeting)
        if seen is not None and seen.published is not None:
            self._expect(seen.published.activates, known.meeting)
        if seen is not None and seen.due is not None:
            self._expect(max(seen.due.at, int(self.clock.now())), known.meeting)

    # --- parts -----------------------------------------------------------------------------------

    async def _lost(self, coming: Awaitable[Any], space: SpaceName) -> bool:
        """Do something; return whether its answer was lost on the way."""
        del space
        try:
            await coming
        except HsmUnavailable:
            self.counts["lost answers"] += 1
            return True
        return False

    async def _approved(self, operation: str, space: SpaceName, target: dict[str, Any]) -> None:
        now = int(self.clock.now())
        request = replace(
            wanted(self.site.people, operation, space, target, now),
            id=str(uuid7()),
            quorum=default_needs(RULES[operation], self.site.people),
        )
        call = self._call("approval.submit", self._officer)
        submitted = submit_request(self.services, call, asked(request, REQUESTER))
        if await self._lost(submitted, space):
            return
        for person in SECURITY[:3]:
            signing = self._call("approval.sign", self._officer)
            token = approval(request, person, signed=now)
            if await self._lost(sign_request(self.services, signing, request.id, token), space):
                return
        running = self._call("approval.execute", self._officer)
        await self._lost(execute_request(self.services, running, request.id), space)
        self.counts["approved"] += 1

    def _call(self, operation: str, who: Principal) -> Call:
        return Call(who, operation, "r" * 43)

    def _server(self, space: SpaceName, recipient: RecipientId | None = None) -> Principal:
        return principal(Role.MEETING_SERVER, space, recipient=recipient)

    def _recipient(self, space: SpaceName, who: str) -> RecipientId:
        if release_class(self.site.names.index(space)) is ReleaseClass.TRUSTED:
            return self.site.server_id(who)
        return next(one.id for one in self.site.outside.devices if one.name == who)

    def people_of(self, number: int) -> list[str]:
        """Return whom a space's rosters may name."""
        if release_class(number) is ReleaseClass.TRUSTED:
            return list(self.site.outside.servers)
        return [one.name for one in self.site.outside.devices]

    def _wish(self, known: Known, roster: Sequence[str], version: int) -> WantedRoster:
        if release_class(self.site.names.index(known.space)) is ReleaseClass.TRUSTED:
            named = tuple(self._recipient(known.space, who) for who in roster)
            return WantedRoster(recipients=named)
        devices = {one.name: one.certificate for one in self.site.outside.devices}
        statement = signed_roster(
            self.site.outside.roster_authority,
            [devices[who] for who in roster],
            space=known.space,
            meeting=known.meeting,
            version=version,
            issued=int(self.clock.now()),
        )
        return WantedRoster(statement=statement)


def _leads(old: KeyState, new: KeyState) -> bool:
    """Whether the table leads from one state to another, in any number of steps."""
    reached, more = {old}, [old]
    while more:
        for state in TRANSITIONS[more.pop()] - reached:
            reached.add(state)
            more.append(state)
    return new in reached


def _manifest(token: str) -> manifest.Manifest:
    return decode_record(jws.unverified_payload(token, typ=manifest.TYP), manifest.Manifest)


def _readers(epoch: Epoch) -> set[str]:
    kept = {"vault", "escrow"}
    return {one.id for one in _manifest(epoch.manifest).recipients if one.kind not in kept}
