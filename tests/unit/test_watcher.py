"""The watcher over a fake site: what it raises, when it clears, what outlives a restart."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import msgspec

from kms.audit.leaf import LeafDraft, Outcome, Phase, decode_leaf
from kms.domain.alerts import ActiveAlert, Condition
from kms.domain.ids import SpaceName
from kms.domain.policies import Labels, RotationRules, SpacePolicy, Threshold
from kms.domain.rows import Record, SealedRow
from kms.errors import StoreUnavailable
from kms.ports import PutRow, Unit
from kms.settings import Settings
from kms.statements.canonical import make_row
from kms.usecases.services import Services
from kms.usecases.watch import survey
from kms.usecases.watch.alerts import Watcher
from kms.usecases.watch.state import Watched
from tests.fixtures.api import MAC, TREASURY, Clock, FakeSite, run_with_site

HOUR, DAY = 3600, 24 * 3600


class Watch:
    """A watcher that looks when told, over a site whose clock is set by hand."""

    def __init__(self, site: FakeSite, services: Services | None = None) -> None:
        self.site, self.told = site, list[ActiveAlert]()
        fresh = replace(services or site.services, watched=Watched())
        self.services = fresh
        self.watcher = Watcher(fresh, self._tell)
        self.watcher._tasks = [one for one in self.watcher._tasks if _cheap(one.look)]

    async def _tell(self, active: ActiveAlert) -> None:
        self.told.append(active)

    def pass_time(self, seconds: float) -> None:
        clock = self.services.clock
        assert isinstance(clock, Clock)
        clock.seconds += seconds

    async def active(self) -> set[tuple[str, str, str]]:
        await self.watcher.look()
        return {one.key for one in self.services.watched.board.active()}

    def leaves(self) -> list[tuple[str, str]]:
        found = [decode_leaf(data) for data in self.site.store.leaves(0, 10_000)]
        alerts = [leaf for leaf in found if leaf.action.startswith("alert.")]
        return [(leaf.action, leaf.details["alert"]) for leaf in alerts]


def _cheap(look: object) -> bool:
    """A fake site has neither register of people nor checkpoints to look at."""
    return look not in {survey.look_at_escrow, survey.look_at_log}


def watching(work: Callable[[Watch], Awaitable[None]]) -> None:
    async def run(site: FakeSite) -> None:
        watch = Watch(site)
        await watch.watcher.learn()
        await work(watch)

    run_with_site(run)


async def write(watch: Watch, *drafts: LeafDraft) -> None:
    await watch.site.store.commit(Unit(leaves=drafts))


def refusal(actor: str = "eve", space: str = TREASURY) -> LeafDraft:
    return LeafDraft(
        "access.refused", actor, "uid:1", space, "spaces", Phase.EVENT, Outcome.REFUSED,
        details={"code": "forbidden", "operation": "meeting.open"},
    )  # fmt: skip


def fetch(actor: str = "ms-a") -> LeafDraft:
    return LeafDraft(
        "envelope.fetch", actor, "tls:x", TREASURY, f"spaces/{TREASURY}/meetings/m/epochs/0",
        Phase.EVENT, Outcome.SUCCEEDED, details={"epoch": 0, "recipient": "r"},
    )  # fmt: skip


async def put(watch: Watch, record: Record, version: int = 1) -> None:
    row = make_row(record, version)
    leaf = LeafDraft(
        "policy.change", "x", "y", TREASURY, "z", Phase.EVENT, Outcome.SUCCEEDED,
        rows={row.key: version},
    )  # fmt: skip
    await watch.site.store.commit(Unit((PutRow(SealedRow(row, MAC)),), (leaf,)))


def test_a_quiet_site_has_no_alerts_and_its_log_does_not_grow() -> None:
    async def work(watch: Watch) -> None:
        size = watch.site.store.tree_size()
        for _ in range(3):
            assert await watch.active() == set()
            watch.pass_time(DAY)
        assert watch.site.store.tree_size() == size

    watching(work)


def compromise() -> LeafDraft:
    return LeafDraft(
        "epoch.compromise", "officer", "uid:1", TREASURY, "z", Phase.EVENT, Outcome.SUCCEEDED
    )


def test_another_compromise_while_the_alert_is_active_is_raised_again() -> None:
    async def work(watch: Watch) -> None:
        numbers: list[int] = []
        for seconds in (0, 70, 2 * HOUR):
            watch.pass_time(seconds)
            await write(watch, compromise())
            assert await watch.active() == {("key-compromised", TREASURY, TREASURY)}
            (active,) = watch.services.watched.board.active()
            numbers.append(active.number)
        assert numbers == [1, 2, 1]  # as it is counted: within an hour of the clock
        assert watch.leaves() == [("alert.raise", "key-compromised")] * 3
        assert active.since < decode_leaf(watch.site.store.leaves(active.seq, 1)[0]).time

    watching(work)


def test_what_happens_within_a_minute_is_told_together_when_the_minute_is_over() -> None:
    async def work(watch: Watch) -> None:
        for _ in range(4):
            await write(watch, compromise())
            await watch.active()
        assert watch.leaves() == [("alert.raise", "key-compromised")]
        watch.pass_time(60)
        await watch.active()
        (active,) = watch.services.watched.board.active()
        assert active.number == 4
        await watch.active()
        assert watch.leaves() == [("alert.raise", "key-compromised")] * 2

    watching(work)


def test_repeated_refusals_are_raised_once_and_cleared_after_a_calm() -> None:
    async def work(watch: Watch) -> None:
        await write(watch, *[refusal()] * 9)
        assert await watch.active() == set()
        await write(watch, refusal())
        key = ("repeated-refusals", TREASURY, "eve")
        assert await watch.active() == {key}
        await write(watch, *[refusal()] * 5)
        assert await watch.active() == {key}
        assert watch.leaves() == [("alert.raise", "repeated-refusals")]
        watch.pass_time(29 * 60)
        assert await watch.active() == {key}
        watch.pass_time(60)
        assert await watch.active() == set()
        assert watch.leaves() == [
            ("alert.raise", "repeated-refusals"),
            ("alert.raise", "repeated-refusals"),  # 15 of them by now
            ("alert.clear", "repeated-refusals"),
        ]

    watching(work)


def test_the_leaf_says_whom_and_how_many() -> None:
    async def work(watch: Watch) -> None:
        await write(watch, *[refusal()] * 12)
        await watch.active()
        (data,) = watch.site.store.leaves(watch.site.store.tree_size() - 1, 1)
        leaf = decode_leaf(data)
        assert leaf.resource == f"spaces/{TREASURY}/alerts/repeated-refusals"
        assert (leaf.space, leaf.rows) == (TREASURY, {})
        assert leaf.details == {"alert": "repeated-refusals", "subject": "eve", "number": 12}

    watching(work)


def test_a_spaces_policy_sets_the_number_or_switches_an_alert_off() -> None:
    async def work(watch: Watch) -> None:
        rules = RotationRules(3600, 86_400)
        thresholds = (Threshold("bulk-fetch", 3), Threshold("repeated-refusals", 0))
        name = SpaceName(TREASURY)
        await put(watch, SpacePolicy(name, Labels(), rules, 0, thresholds=thresholds))
        await write(watch, *[refusal()] * 50, *[fetch()] * 3)
        assert await watch.active() == {("bulk-fetch", TREASURY, "ms-a")}

    watching(work)


def test_a_silent_token_is_told_at_the_second_look_and_cleared_when_it_answers() -> None:
    async def work(watch: Watch) -> None:
        token = watch.site.workers.spaces[TREASURY]
        token.down = True
        assert await watch.active() == set()
        watch.pass_time(10)
        assert await watch.active() == {("hsm-trouble", TREASURY, "t")}
        token.down = False
        watch.pass_time(10)
        assert await watch.active() == set()

    watching(work)


def passkey(action: str, purpose: str = "approval") -> LeafDraft:
    return LeafDraft(
        action, "wang-security", "passkey:x", "", "people/wang-security", Phase.EVENT,
        Outcome.SUCCEEDED, details={"person": "wang-security", "purpose": purpose},
    )  # fmt: skip


def test_a_new_approval_passkey_is_told_of_when_enrolled_and_when_admitted() -> None:
    async def work(watch: Watch) -> None:
        key = ("passkey-new", "", "wang-security")
        await write(watch, passkey("passkey.enroll", "sign-in"), passkey("passkey.revoke"))
        assert await watch.active() == set()
        await write(watch, passkey("passkey.enroll"))
        assert await watch.active() == {key}
        watch.pass_time(60)
        await write(watch, passkey("passkey.admit"))
        assert await watch.active() == {key}
        assert watch.leaves() == [("alert.raise", "passkey-new")] * 2
        for number in (3, 4):  # by somebody else, who waits until the person's own are old news
            watch.pass_time(2 * 3600)
            await write(watch, passkey("passkey.enroll"))
            assert await watch.active() == {key}
            assert watch.leaves() == [("alert.raise", "passkey-new")] * number
        watch.pass_time(DAY)
        assert await watch.active() == set()

    watching(work)


def test_what_was_found_altered_and_a_jump_of_the_clock_are_told() -> None:
    async def work(watch: Watch) -> None:
        altered = replace(refusal(), action="integrity.failure")
        jump = LeafDraft(
            "clock.jump", "service", "x", "", "clock", Phase.EVENT, Outcome.SUCCEEDED,
            details={"seconds": -2_592_000, "wall": "2027-01-15T08:00:00Z"},
        )  # fmt: skip
        await write(watch, altered, jump)
        assert await watch.active() == {
            ("integrity-failure", TREASURY, TREASURY), ("clock-jump", "", "clock")
        }  # fmt: skip
        jumped = next(
            one for one in watch.services.watched.board.active() if one.alert == "clock-jump"
        )
        assert (jumped.number, jumped.text) == (2_592_000, "-2592000 s")

    watching(work)


def test_active_alerts_outlive_a_restart_and_are_not_raised_again() -> None:
    async def work(watch: Watch) -> None:
        await write(watch, *[refusal()] * 10)
        before = await watch.active()
        again = Watch(watch.site)
        await again.watcher.learn()
        assert {one.key for one in again.services.watched.board.active()} == before
        assert await again.active() == before
        assert watch.leaves() == [("alert.raise", "repeated-refusals")]
        again.pass_time(HOUR)
        assert await again.active() == set()

    watching(work)


def test_what_happened_between_two_lives_is_seen_by_the_second() -> None:
    async def work(watch: Watch) -> None:
        await write(watch, *[refusal()] * 10)
        again = Watch(watch.site)
        await again.watcher.learn()
        assert await again.active() == {("repeated-refusals", TREASURY, "eve")}

    watching(work)


def test_what_the_log_cannot_take_is_told_at_once_and_logged_later() -> None:
    async def work(site: FakeSite) -> None:
        broken = False

        class Store:
            def __getattr__(self, name: str) -> object:
                return getattr(site.store, name)

            async def commit(self, unit: Unit) -> tuple[int, ...]:
                if broken:
                    raise StoreUnavailable("the disk is full")
                return await site.store.commit(unit)

        watch = Watch(site, replace(site.services, store=Store()))
        watch.watcher._tasks.insert(0, type(watch.watcher._tasks[0])(survey.look_at_log, 1.0))
        await watch.watcher.learn()
        watch.services.watched.facts.unsigned = 0
        broken = True
        await watch.watcher.look()
        watch.pass_time(40)
        await watch.watcher.look()
        await asyncio.sleep(0)
        assert ("log-trouble", "", "log") in {one.key for one in watch.told}
        told = len(watch.told)
        watch.pass_time(10)
        await watch.watcher.look()
        await asyncio.sleep(0)
        assert len(watch.told) == told, "told once"
        unlogged = [one for one in watch.services.watched.board.active() if one.seq < 0]
        assert unlogged
        broken = False
        watch.pass_time(10)
        await watch.watcher.look()
        assert ("alert.raise", "log-trouble") in watch.leaves()
        assert all(one.seq >= 0 for one in watch.services.watched.board.active())

    run_with_site(work)


def test_a_channel_that_hangs_does_not_stop_the_watcher() -> None:
    async def work(watch: Watch) -> None:
        hanging = asyncio.Event()

        async def tell(_active: ActiveAlert) -> None:
            await hanging.wait()

        watch.watcher._tell = tell
        async with asyncio.timeout(1):
            watch.watcher._tell_unlogged([Condition("log-trouble", "", "log", 40)])
            await watch.watcher.look()
        hanging.set()

    watching(work)


def test_a_look_that_fails_hinders_no_other() -> None:
    async def work(watch: Watch) -> None:
        async def explode(_services: Services) -> None:
            raise RuntimeError("a fault of this look")

        first = watch.watcher._tasks[0]
        watch.watcher._tasks.insert(0, type(first)(explode, 1.0))
        await write(watch, *[refusal()] * 10)
        assert await watch.active() == {("repeated-refusals", TREASURY, "eve")}

    watching(work)


def test_it_runs_by_itself_and_ends_when_told() -> None:
    async def work(site: FakeSite) -> None:
        fast = replace(
            site.services,
            settings=_with_interval(site.services, 0.01),
            watched=Watched(),
        )
        watcher = Watcher(fast, lambda _active: asyncio.sleep(0))
        watcher._tasks = []
        task = asyncio.create_task(watcher.run())
        await asyncio.sleep(0.05)
        await site.store.commit(Unit(leaves=(refusal(),) * 10))
        for _ in range(200):
            if fast.watched.board.active():
                break
            await asyncio.sleep(0.01)
        assert fast.watched.board.active()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_with_site(work)


def _with_interval(services: Services, seconds: float) -> Settings:
    watch = msgspec.structs.replace(services.settings.watch, interval_seconds=seconds)
    return msgspec.structs.replace(services.settings, watch=watch)


def test_a_sealed_space_is_told() -> None:
    async def work(watch: Watch) -> None:
        watch.services.seals.add(TREASURY)
        assert ("seal", TREASURY, TREASURY) in await watch.active()

    watching(work)


def test_habits_come_from_the_last_fortnight_alone() -> None:
    async def work(site: FakeSite) -> None:
        watch = Watch(site)
        await write(watch, *[fetch()] * 20)
        watch.pass_time(30 * DAY)
        await write(watch, *[fetch()] * 3)
        await watch.watcher.learn()
        (hours,) = watch.services.watched.history.past.hours.values()
        assert hours.total() == 3
        assert await watch.active() == set()

    run_with_site(work)
