"""A site with a past that the test knows: what the board then says is held against it.

The service is the real one on real tokens, within the test's own process, its clock the test's:
meetings open, keys are fetched, rotated and let go too old over the last quarter, up to now. Where
the real service then takes over the site, everything that it can rotate is in time; keys in the
space of devices are overdue because a device's certificate has run out, which no service can mend.
"""

import asyncio
import datetime as dt
import json
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from kms.bootstrap.service import Parts
from kms.client.rosters import new_meeting, signed_roster
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Principal, PrincipalKind, Role, RotationReason
from kms.domain.passkeys import Purpose
from kms.errors import ConclaveError
from kms.practice import PracticeSite
from kms.usecases.envelopes import Wanted, fetch_batch, fetch_envelope
from kms.usecases.meetings import close_meeting, open_meeting, rotate
from kms.usecases.rosters import WantedRoster
from kms.usecases.services import Call
from tests.fixtures.authenticator import Authenticator
from tests.fixtures.board import enrol
from tests.fixtures.hsm import PIN
from tests.fixtures.many_spaces import SITE_TOKEN, DeskWorkers, ManySpaces, Outside, StoryClock
from tests.fixtures.people import SITE
from tests.practice.devices import make_authority, make_device

HOUR, DAY = 3600, 86_400
_ZONE = dt.timezone(dt.timedelta(hours=8))
"""The site's time; so its nights are of another day in UTC."""
SERVERS = {"ms-north": "one", "ms-south": "two", "ms-east": "three"}
"""The meeting servers by the name under which the log knows them, and their keys."""
STRANGER = "ms-stranger"
PEOPLE = ("chen-admin", "wang-security", "zhao-auditor")
"""Who has a passkey to sign in with: an operator, an officer, an auditor."""
TRUSTED, ROSTER = 0, 1
_AT_ONCE, _BATCH = 64, 200
_FETCH_HOUR, _DEVICES_HOUR = 2, 3
"""When servers fetch in the story of the week, and when certificates of devices begin and end."""
_BEFORE_NOW = 300
"""The story ends so many seconds ago, so that no time of the log lies ahead of the clock."""


@dataclass(frozen=True)
class Size:
    """How much happened. ``live``: open meetings in time; ``overdue``: open ones with a key too
    old; ``ended``: closed ones of the last quarter; ``fetches`` of them, beside those told apart.
    """

    live: int = 6
    overdue: int = 3
    ended: int = 5
    fetches: int = 40


@dataclass
class Truth:
    """What happened. ``asked`` is meeting M; ``began`` is the last quarter's first day, ``bounds``
    its beginning and end (seconds) by the time of the site, which is ahead of UTC.
    """

    site: ManySpaces
    today: dt.date
    began: dt.date
    bounds: tuple[int, int]
    tuesday: dt.date
    asked: str = ""
    fetchers: frozenset[str] = frozenset()
    overdue: frozenset[str] = frozenset()
    meetings: int = 0
    leaves: int = 0
    keys: dict[str, Authenticator] = field(default_factory=dict, repr=False)
    """The passkeys of people, by name."""
    counts: Counter[str] = field(default_factory=Counter)
    """Of the last quarter: "opened", "fetched", "rotated", "refused"."""

    @property
    def spaces(self) -> tuple[SpaceName, SpaceName]:
        """The space of servers, and that of devices."""
        return self.site.names[TRUSTED], self.site.names[ROSTER]

    @property
    def origin(self) -> str:
        """Where the board is."""
        board = self.site.settings.board
        assert board is not None
        return board.origin

    @property
    def place(self) -> PracticeSite:
        """The site as what starts services knows it."""
        return PracticeSite(self.site.home, SITE)


def last_tuesday(today: dt.date) -> dt.date:
    """Return the latest Tuesday before today."""
    return today - dt.timedelta(days=(today.weekday() - 1) % 7 or 7)


def last_quarter(today: dt.date) -> tuple[dt.date, dt.date]:
    """Return the last whole quarter: its first day, the first day after it."""
    first = dt.date(today.year, (today.month - 1) // 3 * 3 + 1, 1)
    before = first - dt.timedelta(days=1)
    start = dt.date(before.year, (before.month - 1) // 3 * 3 + 1, 1)
    return start, first


def seconds_of(day: dt.date, hour: float = 0) -> float:
    """Return a time of a day of the site's in seconds since 1970."""
    moment = dt.datetime.combine(day, dt.time(), _ZONE)
    return moment.timestamp() + hour * HOUR


def make_truth(home: Path, size: Size | None = None, seed: int = 1) -> Truth:
    """Make the site and live through its past; it is not served yet."""
    today = dt.datetime.now(_ZONE).date()
    start, end = last_quarter(today)
    founded = start - dt.timedelta(days=2)
    site = ManySpaces.make(home, 2, int(seconds_of(founded)), _outside(founded, today))
    _give_board(site)
    bounds = (int(seconds_of(start)), int(seconds_of(end)))
    truth = Truth(site, today, start, bounds, last_tuesday(today))
    with site.module():
        asyncio.run(_live(truth, size or Size(), seconds_of(founded, 1), random.Random(seed)))
    _let_be_served(site)
    return truth


def _outside(founded: dt.date, today: dt.date) -> Outside:
    """Make the keys of everybody outside: the last device's certificate ran out yesterday, an hour
    after what may be the last story of the week.
    """
    since = dt.datetime.combine(founded, dt.time(), _ZONE)
    anchor = make_authority(since=since)
    days = (today - founded).days
    terms = {"device-0": days + 900, "device-1": days + 900, "device-2": days - 1}
    return Outside(
        rsa.generate_private_key(65537, 4096),
        rsa.generate_private_key(65537, 4096),
        X25519PrivateKey.generate(),
        {name: rsa.generate_private_key(65537, 3072) for name in SERVERS.values()},
        ec.generate_private_key(ec.SECP256R1()),
        anchor,
        [
            make_device(name, anchor, days=days, since=since + dt.timedelta(hours=_DEVICES_HOUR))
            for name, days in terms.items()
        ],
    )


async def _live(truth: Truth, size: Size, begun: float, chance: random.Random) -> None:
    clock = StoryClock(int(begun))
    workers = DeskWorkers(truth.site.settings, clock)
    async with truth.site.composed(clock, workers) as parts:
        story = _Story(truth, parts, clock, chance)
        await story.quarter(size)
        await story.week(size.overdue)
        await story.now(size.live)
        for name in PEOPLE:
            keys = truth.keys[name] = Authenticator(truth.origin)
            await enrol(parts.services, name, Purpose.SIGN_IN, keys)
        await parts.checkpointer.keep()
        truth.leaves = parts.services.store.tree_size()


@dataclass
class _Story:
    """What happens, one thing after the other."""

    truth: Truth
    parts: Parts
    clock: StoryClock
    chance: random.Random

    async def quarter(self, size: Size) -> None:
        """Meetings of the last quarter: opened, fetched from, rotated, closed; some are refused."""
        begun, ended = self.truth.bounds
        counts, trusted = self.truth.counts, self.truth.spaces[TRUSTED]
        shares = _shares(size.fetches, size.ended)
        for number, share in enumerate(shares):
            await self._until(begun + (number + 0.5) / size.ended * (ended - begun))
            meeting = await self._open(TRUSTED, list(SERVERS))
            await self._fetch_many(meeting, share)
            call = self._call("epoch.rotate", "ms-north")
            await rotate(self.parts.services, call, trusted, meeting, RotationReason.SUSPICION)
            await self._refused(meeting)
            closing = self._call("meeting.close", "ms-north")
            await close_meeting(self.parts.services, closing, trusted, meeting)
            counts.update(opened=1, fetched=share, rotated=1, refused=1)

    async def week(self, overdue: int) -> None:
        """Meeting M on the days around last Tuesday, then the meetings whose keys grow too old."""
        tuesday = self.truth.tuesday
        days = [tuesday - dt.timedelta(days=1), tuesday, tuesday + dt.timedelta(days=1)]
        who = [["ms-south"], ["ms-north", "ms-east"], ["ms-south"]]
        await self._until(seconds_of(days[0], 1))
        asked = await self._open(TRUSTED, list(SERVERS))
        other = await self._open(TRUSTED, list(SERVERS))
        for day, names in zip(days, who, strict=True):
            if day >= self.truth.today:
                break
            await self._until(seconds_of(day, _FETCH_HOUR))
            for name in names:
                await self._fetch(asked, name)
            await self._fetch(other, "ms-south")
        for meeting in (asked, other):
            call = self._call("meeting.close", "ms-north")
            await close_meeting(self.parts.services, call, self.truth.spaces[TRUSTED], meeting)
        self.truth.asked, self.truth.fetchers = asked, frozenset(who[1])
        await self._until(seconds_of(self.truth.today) - 2.5 * DAY)
        late = await self._open_many(ROSTER, ["device-0", "device-2"], overdue)
        self.truth.overdue = frozenset(late)

    async def now(self, live: int) -> None:
        """Open what is in time when the service takes over."""
        await self._until(time.time() - _BEFORE_NOW)
        await self._open_many(TRUSTED, list(SERVERS), live // 2)
        await self._open_many(ROSTER, ["device-0", "device-1"], live - live // 2)

    # --- acts ------------------------------------------------------------------------------------

    async def _open_many(self, space: int, roster: Sequence[str], number: int) -> list[MeetingId]:
        found: list[MeetingId] = []
        while len(found) < number:
            some = min(_AT_ONCE, number - len(found))
            found += await asyncio.gather(*(self._open(space, roster) for _ in range(some)))
        return found

    async def _open(self, space: int, roster: Sequence[str]) -> MeetingId:
        name, meeting = self.truth.spaces[space], new_meeting()
        wish = self._devices(meeting, roster) if space == ROSTER else self._servers(roster)
        call = self._call("meeting.open", "ms-north")
        await open_meeting(self.parts.services, call, name, meeting, wish)
        self.truth.meetings += 1
        return meeting

    def _servers(self, names: Sequence[str]) -> WantedRoster:
        site = self.truth.site
        return WantedRoster(recipients=tuple(site.server_id(SERVERS[one]) for one in names))

    def _devices(self, meeting: MeetingId, names: Sequence[str]) -> WantedRoster:
        outside = self.truth.site.outside
        statement = signed_roster(
            outside.roster_authority,
            [one.certificate for one in outside.devices if one.name in names],
            space=self.truth.spaces[ROSTER],
            meeting=meeting,
            version=1,
            issued=int(self.clock.now()),
        )
        return WantedRoster(statement=statement)

    async def _fetch(self, meeting: MeetingId, name: str) -> None:
        call = self._call("envelope.fetch", name)
        await fetch_envelope(self.parts.services, call, self._wanted(meeting, name))

    async def _fetch_many(self, meeting: MeetingId, number: int) -> None:
        for first in range(0, number, _BATCH):
            name = self.chance.choice(list(SERVERS))
            wanted = [self._wanted(meeting, name)] * min(_BATCH, number - first)
            got = await fetch_batch(self.parts.services, self._call("envelope.fetch", name), wanted)
            assert not [one for one in got if isinstance(one, ConclaveError)]

    async def _refused(self, meeting: MeetingId) -> None:
        """A server of no space asks, and is refused."""
        caller = Principal(
            STRANGER, PrincipalKind.TLS, "none", frozenset({Role.MEETING_SERVER}),
            frozenset({self.truth.spaces[ROSTER]}), self.truth.site.server_id("one"),
        )  # fmt: skip
        call = Call(caller, "envelope.fetch", "r" * 43)
        try:
            await fetch_envelope(self.parts.services, call, self._wanted(meeting, "ms-north"))
        except ConclaveError:
            return
        raise AssertionError("a stranger was served")

    def _wanted(self, meeting: MeetingId, name: str) -> Wanted:
        return Wanted(
            self.truth.spaces[TRUSTED], meeting, 0, self.truth.site.server_id(SERVERS[name])
        )

    def _call(self, operation: str, name: str) -> Call:
        caller = Principal(
            name, PrincipalKind.TLS, f"spki={name}", frozenset({Role.MEETING_SERVER}),
            frozenset(self.truth.spaces), self.truth.site.server_id(SERVERS[name]),
        )  # fmt: skip
        return Call(caller, operation, "r" * 43)

    async def _until(self, when: float) -> None:
        """Let time pass, and have the log's head signed: the gate allows an hour without."""
        self.clock.advance(max(0.0, when - self.clock.now()))
        await self.parts.checkpointer.keep()


def _shares(whole: int, parts: int) -> list[int]:
    """Divide a number into as equal parts as there are."""
    return [whole // parts + (place < whole % parts) for place in range(parts)]


def _give_board(site: ManySpaces) -> None:
    """Configure a board on a port that is free just now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = site.home / "conclave.toml"
    config.write_text(f'{config.read_text()}[board]\norigin = "http://localhost:{port}"\n')


def _let_be_served(site: ManySpaces) -> None:
    """Write what the service's processes want beside: PINs, and this process's user as console."""
    place = PracticeSite(site.home, SITE)
    place.secrets.mkdir(mode=0o700)
    pins = dict.fromkeys([SITE_TOKEN, *site.names], PIN)
    place.pins.touch(mode=0o600)
    place.pins.write_text(json.dumps(pins))
    text = place.config.read_text()
    text = text.replace("checkpoint_seconds = 3600\ngrace_seconds = 3600\n", "")
    text += f'[[caller]]\nuid = {os.getuid()}\nprincipal = "console"\n'
    text += 'roles = ["auditor", "officer", "operator"]\nspaces = ["*"]\n'
    place.config.write_text(text)
