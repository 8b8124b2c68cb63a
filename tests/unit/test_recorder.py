"""What is noted for plots, and the series made of it: over a FAKE HSM and a real journal."""

import asyncio
from dataclasses import replace

import httpx2
import pytest

from kms.api.metrics import Metrics
from kms.audit.leaf import Phase
from kms.domain.ids import SpaceName
from kms.domain.models import Principal, PrincipalKind, Role
from kms.domain.policies import RotationRules
from kms.errors import Forbidden, NotFound
from kms.hsm.link import Meter
from kms.ports import Load, Unit
from kms.usecases import recorder, series
from kms.usecases.recorder import Recorder, fetch_samples, load_samples, quantile
from kms.usecases.rotation.status import GRACE, rotation_counts, rotation_status
from kms.usecases.scores import score_of, scores_page
from kms.usecases.services import Call, Services
from kms.usecases.watch.keys import look_at_keys
from kms.usecases.watch.state import AGES, Served
from tests.fixtures.api import BANKING, TREASURY, FakeSite, run_with_site
from tests.fixtures.rotation import put_policy
from tests.fixtures.store import draft
from tests.unit.test_rotation_status import EXACT, MEETINGS, NOW, opened

DAY = 24 * 3600


def call(operation: str, role: Role = Role.AUDITOR, *spaces: str) -> Call:
    reach = frozenset(spaces or ("*",))
    principal = Principal("wang", PrincipalKind.SOCKET, "uid:1", frozenset({role}), reach)
    return Call(principal, operation, "")


def catch_up(site: FakeSite) -> None:
    while site.journal.catch_up(site.store):
        pass


def later(site: FakeSite, seconds: float) -> None:
    site.services.clock.seconds += seconds


# samples


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ((10, 0, 0, 0), 0.5, 0.5),
        ((10, 10, 0, 0), 0.5, 1.0),
        ((10, 10, 0, 0), 0.75, 1.5),
        ((0, 0, 10, 0), 0.95, 2 + 2 * 0.95),
        ((0, 0, 0, 10), 0.5, 4.0),
        ((1, 0, 0, 99), 0.005, 0.5),
    ],
)
def test_a_quantile_lies_within_its_bucket(
    counts: tuple[int, ...], share: float, expected: float
) -> None:
    assert quantile((1.0, 2.0, 4.0), counts, share) == pytest.approx(expected)


def test_fetches_are_told_by_what_came_since() -> None:
    metrics = Metrics()
    metrics.count("envelope.fetch", 200, 0.002)
    before = metrics.served()
    for _ in range(30):
        metrics.count("envelope.fetch", 200, 0.0002)
        metrics.count("envelope.relay", 200, 0.004)
        metrics.count("meeting.open", 200, 9.0)
    samples = {one.name: one.value for one in fetch_samples(7, 60, before, metrics.served())}
    assert samples[recorder.FETCHES] == 1.0
    assert samples[recorder.FETCH_P50] == pytest.approx(0.00025)
    assert 0.0025 < samples[recorder.FETCH_P95] < 0.005
    idle = fetch_samples(7, 60, metrics.served(), metrics.served())
    assert [(one.name, one.value) for one in idle] == [(recorder.FETCHES, 0.0)]
    assert fetch_samples(7, 60, Served(), Served())[0].value == 0


def test_a_token_s_load_is_told_from_the_second_look_on() -> None:
    assert load_samples(7, 60, "t", None, Load(9, 9.0)) == []
    samples = load_samples(7, 60, "t", Load(9, 9.0), Load(69, 39.0))
    assert [(one.name, one.subject, one.value) for one in samples] == [
        (recorder.HSM_REQUESTS, "t", 1.0),
        (recorder.HSM_BUSY, "t", 0.5),
    ]


def test_busy_is_while_something_waits() -> None:
    meter = Meter()
    assert meter.load(5.0) == Load(0, 0.0)
    meter.ask(10.0)
    meter.ask(11.0)
    assert meter.load(12.0) == Load(2, 2.0)
    meter.rest(13.0)
    meter.rest(14.0)
    assert meter.load(99.0) == Load(2, 3.0)


def test_the_recorder_notes_fetches_tokens_and_scores() -> None:
    async def work(site: FakeSite) -> None:
        services = site.services
        loads = [{"t": Load(0, 0.0)}, {"t": Load(60, 6.0)}]
        services.watched.loads = lambda: loads.pop(0) if len(loads) > 1 else loads[0]
        async with site.client() as client:
            await opened(client, 3)
            catch_up(site)
            notes = Recorder(services)
            await notes.take()
            later(site, 60)
            await notes.take()
            read = site.journal.samples
            since, until = NOW - 60, NOW + 3600
            assert [value for _, value in read(recorder.FETCHES, since, until)] == [0, 0]
            assert read(recorder.HSM_REQUESTS, since, until, "t") == [(NOW + 60, 1.0)]
            assert read(recorder.HSM_BUSY, since, until, "t") == [(NOW + 60, 0.1)]
            assert read(recorder.OPEN, since, until, TREASURY) == [(NOW, 3.0)]
            assert read(recorder.OPEN, since, until, BANKING) == [(NOW, 0.0)]
            assert read(recorder.SCORE_LOWEST, since, until, TREASURY) == [(NOW, 0.0)]
            site.workers.spaces[TREASURY].down = True
            services.cache._entries.clear()
            later(site, 600)
            await notes.take()
            assert len(read(recorder.OPEN, since, until, TREASURY)) == 1
            assert len(read(recorder.OPEN, since, until, BANKING)) == 2

    run_with_site(work)


# scores


async def report(client: httpx2.AsyncClient, meeting: str) -> None:
    path = f"{MEETINGS}/{meeting}:report-media"
    body = {"cipher": "AES_256_GCM_SHA512_128"}
    assert (await client.post(path, json=body)).status_code == 200


async def leaf_of(services: Services, meeting: str) -> str | None:
    _, found = await score_of(services, call("score.read"), TREASURY, meeting)
    encrypted = found.reasons[0]
    return encrypted.evidence[0].value if encrypted.evidence else None


def test_pages_of_scores_agree_with_each_meeting_s_own() -> None:
    async def work(site: FakeSite) -> None:
        services = site.services
        async with site.client() as client:
            meetings = sorted(await opened(client, 5))
            await report(client, meetings[0])
            catch_up(site)
            await report(client, meetings[3])
            later(site, 2 * DAY)
            page = await scores_page(services, call("score.read"), TREASURY, "", 3)
            page += await scores_page(services, call("score.read"), TREASURY, page[-1].meeting, 9)
            assert [one.meeting for one in page] == meetings
            for one in page:
                own = await score_of(services, call("score.read"), TREASURY, one.meeting)
                assert (one.epoch, one.score) == own
                assert one.overdue
                assert one.worst is not None
            assert [one.worst.part for one in page if one.worst] == ["K", "D", "D", "K", "D"]

    run_with_site(work)


def test_the_newest_report_is_found_wherever_the_journal_stands() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            (meeting,) = await opened(client)
            await report(client, meeting)
            last = str(site.store.tree_size() - 1)
            assert await leaf_of(site.services, meeting) == last  # by the log alone
            catch_up(site)
            assert await leaf_of(site.services, meeting) == last  # by the journal
            with site.journal._file.writing() as connection:
                connection.execute("UPDATE leaves SET seq = 900 WHERE seq = ?", (int(last),))
                connection.execute("UPDATE leaves SET seq = ? WHERE seq = 0", (int(last),))
                connection.execute(
                    "UPDATE leaves SET meeting = ?, action = 'media.report', space = 'treasury', "
                    "outcome = 'succeeded' WHERE seq = ?",
                    (meeting, int(last) - 1),
                )
                connection.execute("DELETE FROM leaves WHERE seq = 900")
            assert await leaf_of(site.services, meeting) is None  # what is not so is not told
            catch_up(site)
            assert await leaf_of(site.services, meeting) == last  # and made anew

    run_with_site(work)


def test_scores_are_for_officers_and_auditors_of_the_space() -> None:
    async def work(site: FakeSite) -> None:
        with pytest.raises(Forbidden):
            await scores_page(site.services, call("score.read", Role.OPERATOR), TREASURY, "", 9)
        other = call("score.read", Role.OFFICER, BANKING)
        with pytest.raises(NotFound):
            await scores_page(site.services, other, TREASURY, "", 9)

    run_with_site(work)


# what is late


def test_late_meetings_are_counted_once_a_survey_and_shown_by_pages() -> None:
    async def work(site: FakeSite) -> None:
        services, asked = site.services, call("rotation.read")
        await put_policy(services, TREASURY, EXACT)
        async with site.client() as client:
            meetings = sorted(await opened(client, 4))
            later(site, 38 + GRACE)
            fresh = await opened_again(client)
            await look_at_keys(services)
            counts = await rotation_counts(services, asked)
            assert (counts.at, counts.open[TREASURY], counts.overdue) == (
                NOW + 38 + GRACE, 5, {TREASURY: 4, BANKING: 0},
            )  # fmt: skip
            late = await rotation_status(services, asked, ("", ""), 3, overdue_only=True)
            assert [one.meeting for one in late] == meetings[:3]
            place = TREASURY, meetings[2]
            late = await rotation_status(services, asked, place, 3, TREASURY, overdue_only=True)
            assert [one.meeting for one in late] == meetings[3:]
            await client.post(f"{MEETINGS}/{meetings[0]}:close")
            late = await rotation_status(services, asked, ("", ""), 9, overdue_only=True)
            assert [one.meeting for one in late] == meetings[1:]
            assert fresh not in meetings
            assert await rotation_status(services, asked, ("", ""), 9, BANKING) == []
            assert len(await rotation_status(services, asked, ("", ""), 9, TREASURY)) == 4

    run_with_site(work)


async def opened_again(client: httpx2.AsyncClient) -> str:
    body, key = {"recipients": ["a" * 43]}, {"idempotency-key": "again"}
    answer = await client.post(MEETINGS, json=body, headers=key)
    return str(answer.json()["meeting"])


# series


def test_rotations_are_told_by_classes_of_reasons_with_nothing_left_out() -> None:
    async def work(site: FakeSite) -> None:
        for reason in ("time", "uses", "join", "compromise"):
            leaf = draft("epoch.rotate", phase=Phase.RESULT, details={"reason": reason})
            await site.store.commit(Unit(leaves=(leaf,)))
            other = replace(leaf, space="brokerage", resource="x")
            await site.store.commit(Unit(leaves=(other,)))
            later(site, 3600)
        catch_up(site)
        own = call("rotation.read", Role.OFFICER, TREASURY)
        found = await series.rotation_series(site.services, own, NOW, NOW + 4 * 3600)
        named = {one.name: [value for _, value in one.points] for one in found}
        assert named == {
            "opened": [0, 0, 0, 0], "time": [1, 1, 0, 0], "roster": [0, 0, 1, 0],
            "manual": [0, 0, 0, 0], "suspicion": [0, 0, 0, 1],
        }  # fmt: skip
        everyone = call("rotation.read")
        wide = await series.rotation_series(site.services, everyone, NOW - 9 * DAY, NOW + DAY)
        assert {len(one.points) for one in wide} == {11}
        assert sum(value for one in wide for _, value in one.points) == 8

    run_with_site(work)


def test_ages_of_keys_are_those_that_were_counted_last() -> None:
    async def work(site: FakeSite) -> None:
        asked = call("rotation.read")
        empty = await series.key_age_series(site.services, asked)
        assert empty[0] == 0
        assert {value for _, value in empty[1].points} == {0}
        await put_policy(site.services, TREASURY, RotationRules(3600, 86_400))
        async with site.client() as client:
            await opened(client, 3)
            later(site, AGES[0] + 1)
            await look_at_keys(site.services)
            at, ages = await series.key_age_series(site.services, asked)
            assert at == NOW + AGES[0] + 1
            assert dict(ages.points) == dict.fromkeys((*AGES, 0), 0) | {AGES[1]: 3}
            other = call("rotation.read", Role.OFFICER, BANKING)
            _, none = await series.key_age_series(site.services, other)
            assert sum(value for _, value in none.points) == 0

    run_with_site(work)


def test_samples_become_series_of_what_the_caller_may_know() -> None:
    async def work(site: FakeSite) -> None:
        catch_up(site)
        services, bounds = site.services, (NOW - 60, NOW + 60)
        served = Served((0.001, 0.002), (5, 5, 0))
        samples = fetch_samples(NOW, 10, Served(), served)
        for label in ("site", "t", "b"):
            samples += load_samples(NOW, 10, label, Load(0, 0.0), Load(10, 1.0))
        samples += recorder.score_samples(NOW, TREASURY, [(0.5, False), (0.0, True)])
        site.journal.put_samples(samples)
        fetches = await series.fetch_series(services, call("status.read"), *bounds)
        assert fetches[0].points == ((NOW, 1.0),)
        own = call("hsm.read", Role.OPERATOR, TREASURY)
        tokens = await series.hsm_series(services, own, *bounds)
        assert [one.subject for one in tokens] == ["site", "site", "t", "t"]
        assert tokens[-1].points == ((NOW, 0.1),)
        scores = await series.score_series(services, call("score.read"), TREASURY, *bounds)
        assert {one.name: one.points[0][1] for one in scores} == {
            "score-mean": 0.25, "score-lowest": 0.0, "meetings-open": 2, "meetings-overdue": 1,
        }  # fmt: skip
        with pytest.raises(Forbidden):
            await series.score_series(
                services, call("score.read", Role.OPERATOR), TREASURY, *bounds
            )

    run_with_site(work)


def test_scoring_many_meetings_lets_others_have_their_turn() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            await opened(client, 40)
            catch_up(site)
            task = asyncio.create_task(Recorder(site.services).take())
            turns = 0
            while not task.done():
                await asyncio.sleep(0)
                turns += 1
            assert turns > 40
            assert site.journal.samples(recorder.OPEN, NOW, NOW + 60, SpaceName(TREASURY))

    run_with_site(work)
