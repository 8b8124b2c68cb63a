"""Channels follow the log: in order, at least once, each for itself, in its language.

The channels here are FAKES that keep what they are given; real ones are in the integration tests.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from kms.audit.leaf import LeafDraft, Outcome, Phase, encode_leaf
from kms.domain.alerts import ActiveAlert, Condition, Severity
from kms.i18n import Language
from kms.ports import Unit
from kms.usecases.watch import notify
from kms.usecases.watch.board import clearing, raising
from kms.usecases.watch.channel import DeliveryError, Notice, Wishes
from kms.usecases.watch.detectors import View, delivery_failed
from kms.usecases.watch.notices import notice_of
from kms.usecases.watch.notify import Notifier
from kms.usecases.watch.state import Watched
from kms.usecases.watch.survey import look_at_channels
from tests.fixtures.api import TREASURY, FakeSite, run_with_site

EVERYTHING = Wishes("soc", Severity.NOTICE, Language.EN, approvals=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 -- what is waited for is another's attribute
            await asyncio.sleep(0.005)


@dataclass
class Kept:
    """A fake channel: keeps what it takes; refuses while ``broken``."""

    wishes: Wishes = EVERYTHING
    broken: bool = False
    tries: int = 0
    taken: list[Notice] = field(default_factory=list)

    async def send(self, notices: Sequence[Notice]) -> None:
        self.tries += 1
        if self.broken:
            raise DeliveryError("nobody is there")
        self.taken += notices

    async def has(self, count: int) -> list[Notice]:
        await until(lambda: len(self.taken) >= count)
        return self.taken


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(notify, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(notify, "LONGEST_PAUSE", 0.02)


@asynccontextmanager
async def notifying(site: FakeSite, *channels: Kept) -> AsyncIterator[Watched]:
    """Run a notifier, as after a start of the service, until the end of the block."""
    services = replace(site.services, watched=Watched())
    task = asyncio.create_task(Notifier(services, channels).run())
    marks = [f"notify/{one.wishes.name}" for one in channels]
    await until(lambda: all(site.store.mark(mark, -1) >= 0 for mark in marks))
    try:
        yield services.watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def alert(number: int = 1, name: str = "rotation-overdue") -> LeafDraft:
    return raising(Condition(name, TREASURY, f"subject-{number}", number))


def request(action: str = "approval.request") -> LeafDraft:
    return LeafDraft(
        action, "officer", "uid:1", TREASURY, f"spaces/{TREASURY}/requests/r-1",
        Phase.EVENT, Outcome.SUCCEEDED, rows={}, details={
            "operation": "epoch.destroy", "digest": "d" * 43, "person": "wang",
        },
    )  # fmt: skip


async def write(site: FakeSite, *drafts: LeafDraft) -> None:
    await site.store.commit(Unit(leaves=drafts))


def test_alerts_and_requests_arrive_in_the_logs_order_and_nothing_else_does() -> None:
    async def work(site: FakeSite) -> None:
        channel = Kept()
        async with notifying(site, channel):
            other = LeafDraft("service.start", "x", "y", "", "z", Phase.EVENT, Outcome.SUCCEEDED)
            over = clearing(("rotation-overdue", TREASURY, "subject-1"))
            await write(site, alert(), other, request(), other, over)
            await channel.has(3)
        assert [one.kind for one in channel.taken] == [
            "alert.raise", "approval.request", "alert.clear"
        ]  # fmt: skip
        assert [one.seq for one in channel.taken] == sorted(one.seq for one in channel.taken)

    run_with_site(work)


def test_a_new_channel_begins_at_the_logs_end_and_an_old_one_where_it_was() -> None:
    async def work(site: FakeSite) -> None:
        await write(site, alert(1))
        first = Kept()
        async with notifying(site, first):
            await write(site, alert(2))
            await first.has(1)
        await write(site, alert(3))
        second = Kept()
        async with notifying(site, second):
            await write(site, alert(4))
            await second.has(2)
        assert [one.fields["subject"] for one in first.taken] == ["subject-2"]
        assert [one.fields["subject"] for one in second.taken] == ["subject-3", "subject-4"]

    run_with_site(work)


def test_what_could_not_be_delivered_before_a_restart_is_delivered_after_it() -> None:
    async def work(site: FakeSite) -> None:
        dead = Kept(broken=True)
        async with notifying(site, dead):
            await write(site, alert(1), alert(2))
            await until(lambda: dead.tries >= 3)
        alive = Kept()
        async with notifying(site, alive):
            await alive.has(2)
        assert [one.fields["subject"] for one in alive.taken] == ["subject-1", "subject-2"]

    run_with_site(work)


def test_a_dead_channel_stops_no_other_and_is_known_to_fail() -> None:
    async def work(site: FakeSite) -> None:
        dead = Kept(replace(EVERYTHING, name="dead"), broken=True)
        alive = Kept()
        async with notifying(site, dead, alive) as watched:
            await write(site, alert(1), alert(2), alert(3))
            await alive.has(3)
            await until(lambda: watched.channels["dead"].failing_since is not None)
            assert watched.channels["dead"].error == "nobody is there"
            assert watched.channels["soc"].failing_since is None
            dead.broken = False
            await dead.has(3)
            assert watched.channels["dead"].failing_since is None
        assert dead.taken[0].fields["subject"] == "subject-1"

    run_with_site(work)


def test_a_channel_with_a_fault_of_its_own_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Faulty(Kept):
        async def send(self, notices: Sequence[Notice]) -> None:
            raise RuntimeError("a fault of this adapter")

    async def work(site: FakeSite) -> None:
        faulty, alive = Faulty(replace(EVERYTHING, name="faulty")), Kept()
        async with notifying(site, faulty, alive) as watched:
            await write(site, alert(1))
            await alive.has(1)
            await write(site, alert(2))
            await alive.has(2)
            assert watched.channels["faulty"].failing_since is not None

    run_with_site(work)
    assert "faulty failed unexpectedly" in caplog.text


class Hanging(Kept):
    """A fake channel that never answers."""

    async def send(self, notices: Sequence[Notice]) -> None:
        self.tries += 1
        await asyncio.Event().wait()


def test_a_channel_that_hangs_fails_in_time_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notify, "SEND_SECONDS", 0.01)
    monkeypatch.setattr(notify, "MORE_SECONDS", 0.0)

    async def work(site: FakeSite) -> None:
        hanging, alive = Hanging(replace(EVERYTHING, name="hanging")), Kept()
        async with notifying(site, hanging, alive) as watched:
            await write(site, alert(1))
            await alive.has(1)
            await until(lambda: hanging.tries > 2)
            assert watched.channels["hanging"].error == "not delivered in time"
            assert watched.channels["hanging"].failing_since is not None

    run_with_site(work)


def test_a_channel_is_never_given_two_things_at_a_time() -> None:
    class Single(Kept):
        inside = 0

        async def send(self, notices: Sequence[Notice]) -> None:
            self.inside += 1
            assert self.inside == 1
            await asyncio.sleep(0.01)
            self.inside -= 1
            self.taken += notices

    async def work(site: FakeSite) -> None:
        channel = Single()
        active = ActiveAlert("log-trouble", "", "log", 40, "x", "2027-01-15T08:00:00.000000Z", -1)
        notifier = Notifier(replace(site.services, watched=Watched()), [channel])
        await asyncio.gather(*(notifier.tell(active) for _ in range(5)))
        assert len(channel.taken) == 5

    run_with_site(work)


def test_a_channel_that_stands_still_while_the_log_goes_on_is_known_to_fail() -> None:
    async def work(site: FakeSite) -> None:
        async with notifying(site, Hanging()) as watched:
            services = replace(site.services, watched=watched)
            for _ in range(2):
                await look_at_channels(services)
            assert watched.channels["soc"].still_since is None
            await write(site, alert(1))
            await look_at_channels(services)
            later = site.services.clock.monotonic() + 180
            (found,) = delivery_failed(View(watched, 0, later))
            assert (found.subject, found.number >= 3) == ("soc", True)

    run_with_site(work)


def test_a_channel_hears_from_its_severity_on_and_no_requests_if_it_wants_none() -> None:
    async def work(site: FakeSite) -> None:
        wishes = Wishes("pager", Severity.CRITICAL, Language.EN, approvals=False)
        channel = Kept(wishes)
        async with notifying(site, channel):
            await write(site, alert(1), request(), alert(2, "escrow-gap"))
            await channel.has(1)
        assert [one.fields["alert"] for one in channel.taken] == ["escrow-gap"]

    run_with_site(work)


def test_an_auditing_channel_gets_every_leaf() -> None:
    async def work(site: FakeSite) -> None:
        channel = Kept(replace(EVERYTHING, audit=True))
        async with notifying(site, channel):
            await write(site, *[request("approval.sign"), alert()] * 150)
            await channel.has(300)
        numbers = [one.seq for one in channel.taken]
        assert numbers == list(range(numbers[0], numbers[0] + 300))

    run_with_site(work)


def test_what_has_no_leaf_is_tried_once_on_every_channel() -> None:
    async def work(site: FakeSite) -> None:
        dead, alive = Kept(replace(EVERYTHING, name="dead"), broken=True), Kept()
        services = replace(site.services, watched=Watched())
        active = ActiveAlert(
            "log-trouble", "", "log", 40, "store_unavailable", "2027-01-15T08:00:00.000000Z", -1
        )
        await Notifier(services, [dead, alive]).tell(active)
        assert (dead.tries, [one.seq for one in alive.taken]) == (1, [-1])

    run_with_site(work)


def notice(draft: LeafDraft, wishes: Wishes) -> Notice:
    found = notice_of(encode_leaf(draft, 7, "2027-01-15T08:00:00.000000Z"), wishes)
    assert found is not None
    return found


def test_what_is_told_is_in_the_channels_language() -> None:
    chinese = replace(EVERYTHING, language=Language.ZH)
    assert notice(alert(), chinese).title == "发出告警: 会议密钥已超过最长使用期限"
    told = notice(alert(), EVERYTHING)
    assert told.title == "Alert raised: Meeting keys are older than their maximum age"
    assert "rotation status" in told.text
    asked = notice(request(), EVERYTHING)
    assert asked.title == "Approval requested: Destroy the key of one epoch"
    assert asked.fields == {"request": "r-1", "operation": "epoch.destroy", "person": "wang"}
    assert notice(request("approval.sign"), chinese).title == "批准请求: 销毁一个密钥周期的密钥"


def test_an_alert_of_a_newer_version_is_told_by_its_name() -> None:
    told = notice(alert(name="from-the-future"), EVERYTHING)
    assert (told.severity, told.title) == (Severity.WARNING, "Alert raised: from-the-future")


def test_that_the_box_is_sealed_is_told_as_critical() -> None:
    leaf = LeafDraft("site.seal", "officer", "x", "", "site", Phase.EVENT, Outcome.SUCCEEDED)
    assert notice(leaf, EVERYTHING).severity is Severity.CRITICAL
