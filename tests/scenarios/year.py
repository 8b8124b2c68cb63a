"""A simulated year of many spaces: meetings open, people come and go, keys rotate by themselves,
are suspended, compromised and destroyed, workers lose answers, the service restarts.
"""

import asyncio
import heapq
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from kms.audit.bundle import Evidence, write_bundle
from kms.audit.report import Report
from kms.audit.verify import verify_bundle
from kms.domain.approvals import Request, RequestState
from kms.domain.ids import MeetingId
from kms.domain.models import Epoch, RotationReason
from kms.domain.states import KeyState, MeetingState
from kms.errors import StateNotAllowed
from kms.statements.canonical import decode_record, digest
from tests.fixtures.approved import register_token, root_key
from tests.fixtures.many_spaces import ManySpaces, StoryClock
from tests.fixtures.people import SITE
from tests.scenarios.world import World

DAY, HOUR = 86_400, 3_600
_ACTS = ("change", "change", "fetch", "fetch", "fetch", "rotate", "suspicion", "suspend", "leak")


@dataclass(frozen=True)
class Year:
    """What happened; ``covered`` keys are under escrow at the end: all that are not destroyed."""

    days: int
    spaces: int
    meetings: int
    minted: int
    covered: int
    counts: Counter[str]
    seconds: float
    report: Report


@dataclass
class Story:
    """The year's agenda, drawn from a seed."""

    world: World
    meetings: int
    days: int
    random: random.Random
    agenda: list[tuple[int, int, str, MeetingId | int]] = field(default_factory=list)
    number: int = 0

    def plan(self, when: float, act: str, about: MeetingId | int = 0) -> None:
        self.number += 1
        heapq.heappush(self.agenda, (int(when), self.number, act, about))

    async def run(self) -> None:
        """Live through it."""
        begin = self.world.clock.now()
        end = begin + self.days * DAY
        for _ in range(self.meetings):
            space = self.random.randrange(len(self.world.site.names))
            self.plan(self.random.uniform(begin, end - DAY), "open", space)
        for day in range(5, self.days, 9):
            self.plan(begin + day * DAY + self.random.uniform(0, DAY), "restart")
        while self.agenda and self.agenda[0][0] <= end:
            when, _, act, about = heapq.heappop(self.agenda)
            await self.world.pass_time(max(0, when - int(self.world.clock.now())))
            await self._act(act, about)
        await self.world.pass_time(max(0, int(end - self.world.clock.now())))

    async def _act(self, act: str, about: MeetingId | int) -> None:
        if act == "restart":
            await self.world.restart()
        elif isinstance(about, int):
            await self._open(about)
        else:
            try:
                await self._happen(act, about)
            except StateNotAllowed:
                self.world.counts["refused for the state"] += 1

    async def _open(self, space: int) -> None:
        if self.random.random() < 0.02:
            await self.world.lose_an_answer(space)
        everybody = self.world.people_of(space)
        meeting = await self.world.open(space, self._some(everybody))
        if meeting is None:
            return
        now, lasts = (
            self.world.clock.now(),
            self.random.choice((HOUR, 3 * HOUR, 12 * HOUR, 2 * DAY)),
        )
        for _ in range(self.random.randrange(2, 7)):
            self.plan(now + self.random.uniform(0, lasts), self.random.choice(_ACTS), meeting)
        self.plan(now + lasts, "close", meeting)
        if self.random.random() < 0.4:
            self.plan(now + lasts + self.random.uniform(HOUR, 30 * DAY), "destroy", meeting)

    def _some(self, people: list[str]) -> list[str]:
        return self.random.sample(people, self.random.randrange(1, len(people) + 1))

    async def _happen(self, act: str, meeting: MeetingId) -> None:
        world, known = self.world, self.world.meetings[meeting]
        space = world.site.names.index(known.space)
        if self.random.random() < 0.02:
            await world.lose_an_answer(space)
        if act == "close":
            if known.state is MeetingState.OPEN:
                await world.close(meeting)
        elif act == "destroy":
            await world.destroy(meeting)
        elif act == "fetch":
            who = self.random.choice(world.people_of(space))
            epoch = self.random.choice((None, *known.epochs))
            await world.fetch(meeting, who, epoch)
        elif act == "change":
            await world.change(meeting, self._some(world.people_of(space)))
        elif act == "suspend":
            await world.suspend(meeting)
            await world.fetch(meeting, known.roster[0])
            await world.pass_time(self.random.randrange(1, 600))
            if known.epochs[known.current].state is KeyState.SUSPENDED:
                await world.resume(meeting)
        elif act == "leak":
            await world.compromise(meeting, self.random.choice(list(known.epochs)))
        else:
            reason = RotationReason.MANUAL if act == "rotate" else RotationReason.SUSPICION
            await world.rotate(meeting, reason)


def run(site: ManySpaces, meetings: int, days: int, seed: int, scratch: Path) -> Year:
    """Live through the year and verify its log offline."""
    begun = time.monotonic()
    with site.module():
        return asyncio.run(_run(site, meetings, days, seed, scratch, begun))


async def _run(
    site: ManySpaces, meetings: int, days: int, seed: int, scratch: Path, begun: float
) -> Year:
    world = World(site, StoryClock())
    await world.start()
    await Story(world, meetings, days, random.Random(seed)).run()
    covered = await world.check_escrow()
    bundle = scratch / "year.sqlite"
    await world.parts.checkpointer.keep()
    write_evidence(world, bundle)
    await world.stop()
    report = verify_bundle(bundle, root_key().public_key())
    return Year(
        days=days,
        spaces=site.spaces,
        meetings=len(world.meetings),
        minted=sum(len(known.epochs) for known in world.meetings.values()),
        covered=covered,
        counts=world.counts,
        seconds=time.monotonic() - begun,
        report=report,
    )


def write_evidence(world: World, path: Path) -> None:
    """Write the bundle that an auditor would export."""
    store = world.services.store
    size, note = store.last_checkpoint() or (0, "")
    rows = [
        decode_record(sealed.row.body, Epoch)
        for known in world.meetings.values()
        for sealed in store.epochs(known.space, known.meeting, -1, 100_000)
    ]
    sealed = store.requests(RequestState.EXECUTED, "", 1_000_000)
    requests = [decode_record(one.row.body, Request) for one in sealed]
    certificates = [(one.id, store.certificate(one.id)) for one in requests]
    register = register_token(world.site.people)
    write_bundle(
        path,
        Evidence(
            site=SITE,
            exported="2026-01-01T00:00:00Z",
            leaves=store.leaves(0, size),
            checkpoints=[(size, note)],
            manifests=sorted((e.space, e.meeting, e.epoch, e.manifest) for e in rows),
            key_lists=[(1, world.services.key_list)],
            registers=[(digest(register.encode()), register)],
            requests=sorted((one.id, one.space, one.request) for one in requests),
            approvals=[
                (one.id, place, token)
                for one in sorted(requests, key=lambda one: one.id)
                for place, token in enumerate(one.approvals)
            ],
            certificates=[(name, text) for name, text in sorted(certificates) if text],
        ),
    )
