"""Alerts seen from outside (over a fake HSM): list, status, readiness, events, metrics."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kms.domain.alerts import ActiveAlert, Condition
from kms.domain.models import Role
from kms.errors import Sealed
from kms.ports import Unit
from kms.settings import Caller
from kms.usecases.sealed import OpenWorkers
from kms.usecases.watch import survey
from kms.usecases.watch.board import clearing, raising
from kms.usecases.watch.health import readiness
from kms.usecases.watch.keys import look_at_keys
from kms.usecases.watch.state import ChannelState, Escrow, SpaceKeys, Vaults
from kms.usecases.watch.survey import WATCHER
from tests.fixtures.api import ALPHA, BANKING, TREASURY, FakeSite, make_caller, run_with_site

OVERDUE = Condition("rotation-overdue", TREASURY, TREASURY, 3)
GAP = Condition("escrow-gap", "", "site", 2)
FOREIGN = Condition("seal", BANKING, BANKING, 1)

Work = Callable[[FakeSite, httpx2.AsyncClient], Awaitable[None]]


def talk(work: Work, caller: Caller | None = None) -> None:
    async def run(site: FakeSite) -> None:
        async with site.client() as client:
            await work(site, client)

    run_with_site(run, caller=caller)


async def write(site: FakeSite, *conditions: Condition) -> None:
    await site.store.commit(Unit(leaves=tuple(map(raising, conditions))))


async def listed(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await client.get("/v1/alerts")).json()["items"]
    return items


def test_active_alerts_are_listed_the_gravest_first_and_go_when_cleared() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        assert await listed(client) == []
        await write(site, OVERDUE, GAP)
        gap, overdue = await listed(client)
        assert (gap["alert"], gap["severity"], gap["space"]) == ("escrow-gap", "critical", None)
        assert (overdue["space"], overdue["number"]) == (TREASURY, 3)
        assert overdue["meaning_zh"] == "会议密钥已超过最长使用期限"
        assert isinstance(overdue["seq"], int)
        assert (await client.get("/v1/status")).json()["alerts"] == 2
        await site.store.commit(Unit(leaves=(clearing(GAP.key),)))
        assert [one["alert"] for one in await listed(client)] == ["rotation-overdue"]

    talk(work)


def test_a_caller_sees_the_alerts_of_its_spaces_and_the_sites() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await write(site, OVERDUE, GAP, FOREIGN)
        assert {one["alert"] for one in await listed(client)} == {"rotation-overdue", "escrow-gap"}
        assert (await client.get("/v1/health/ready")).json() == {
            "status": "degraded",
            "reasons": ["alert escrow-gap"],
        }

    talk(work, make_caller((Role.OPERATOR,), (TREASURY,)))


def test_a_meeting_server_sees_no_alert_and_no_reason() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await write(site, GAP)
        site.services.watched.board.read(site.store)
        answer = await client.get("/v1/alerts")
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        ready = {"status": "degraded", "reasons": []}
        assert (await client.get("/v1/health/ready")).json() == ready

    talk(work, make_caller((Role.MEETING_SERVER,)))


def test_an_alert_that_the_log_could_not_take_is_listed_too() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        active = ActiveAlert(
            "log-trouble", "", "log", 40, "disk", "2027-01-15T08:00:00.000000Z", -1
        )
        site.services.watched.board.unlogged[active.key] = active
        (shown,) = await listed(client)
        assert (shown["alert"], shown["seq"]) == ("log-trouble", None)

    talk(work)


def test_a_channel_that_fails_shows_in_status_and_readiness() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        channels = site.services.watched.channels
        channels["soc"] = ChannelState(1, 5.0, "no answer in time")
        channels["duty"] = ChannelState(1)
        status = (await client.get("/v1/status")).json()
        assert status["channels"] == {"soc": "no answer in time", "duty": "ready"}
        ready = (await client.get("/v1/health/ready")).json()
        assert ready == {"status": "degraded", "reasons": ["channel soc"]}

    talk(work)


def test_when_all_is_sealed_it_is_not_ready_but_sealed() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        seals, spaces = site.services.seals, (TREASURY, BANKING)
        services = replace(site.services, workers=OpenWorkers(site.workers, seals, spaces))
        seals.add(TREASURY)
        found = await readiness(services, WATCHER)
        assert (found.status, found.reasons) == ("degraded", ("token t: sealed",))
        seals.add(BANKING)
        with pytest.raises(Sealed):
            await readiness(services, WATCHER)

    talk(work)


# --- events ---------------------------------------------------------------------------------------


@asynccontextmanager
async def following(site: FakeSite, after: int) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_unix_connection(str(site.socket))
    writer.write(f"GET /v1/events?after={after} HTTP/1.1\r\nHost: conclave\r\n\r\n".encode())
    try:
        yield reader
    finally:
        writer.close()
        await writer.wait_closed()


async def next_event(reader: asyncio.StreamReader) -> tuple[int, str, dict[str, Any]]:
    found: dict[str, str] = {}
    async with asyncio.timeout(10):
        while "data" not in found:
            name, _, value = (await reader.readline()).decode().strip().partition(": ")
            found[name] = value
    return int(found["id"]), found["event"], json.loads(found["data"])


def test_people_hear_of_alerts_and_resume_behind_them() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        start = site.store.tree_size() - 1
        await write(site, FOREIGN, OVERDUE, GAP)
        await site.store.commit(Unit(leaves=(clearing(GAP.key),)))
        async with following(site, start) as reader:
            seq, kind, event = await next_event(reader)
            assert (kind, event["alert"], event["space"]) == (
                "alert.raise", "rotation-overdue", TREASURY
            )  # fmt: skip
            assert (event["severity"], event["number"]) == ("warning", 3)
            assert event["meeting"] is None
        async with following(site, seq) as reader:
            assert (await next_event(reader))[2]["alert"] == "escrow-gap"
            assert (await next_event(reader))[1] == "alert.clear"

    talk(work, make_caller((Role.OFFICER,), (TREASURY,)))


def test_a_meeting_server_does_not_hear_that_it_was_noticed() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        start = site.store.tree_size() - 1
        await write(site, Condition("bulk-fetch", TREASURY, "tester", 9000))
        body = {"recipients": [ALPHA]}
        path = f"/v1/spaces/{TREASURY}/meetings"
        await client.post(path, json=body, headers={"idempotency-key": "1"})
        async with following(site, start) as reader:
            assert (await next_event(reader))[1] == "meeting.open"

    talk(work, make_caller((Role.MEETING_SERVER,)))


# --- metrics --------------------------------------------------------------------------------------


def parsed(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return Prometheus' own reading: sample names to labels to values."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_metrics_tell_what_the_watcher_saw() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        watched = site.services.watched
        await write(site, OVERDUE, GAP)
        watched.board.read(site.store)
        now = site.services.seconds()
        watched.facts.keys = {
            TREASURY: SpaceKeys(Counter({"active": 5, "suspended": 1, "pre-activation": 2}), 3,
                                now - 100),
        }  # fmt: skip
        watched.facts.escrow = Escrow(2, 1, 0)
        watched.facts.workers = {"site": "ready", "t": "hsm_unavailable", "b": "ready"}
        watched.facts.vaults = {TREASURY: Vaults(20_000_123, paused=False, due=0)}
        watched.history.minted["leave"] = 7
        watched.channels["soc"] = ChannelState(site.store.tree_size() - 2, 1.0, "gone")
        found = parsed((await client.get("/v1/metrics")).text)
        one: tuple[tuple[str, str], ...] = ()
        assert found["conclave_open_meetings"][one] == 6
        assert found["conclave_epochs"][("state", "pre-activation"),] == 2
        assert found["conclave_rotation_overdue"][one] == 3
        assert found["conclave_oldest_epoch_seconds"][one] == 100
        assert found["conclave_escrow_gaps"][one] == 2
        assert found["conclave_workers"][one] == 3
        assert found["conclave_workers_up"][one] == 2
        assert found["conclave_reseal_remaining"][one] == 20_000_123
        assert found["conclave_epochs_minted_total"][("reason", "leave"),] == 7
        assert found["conclave_epochs_minted_total"][("reason", "join"),] == 0
        assert found["conclave_alerts"] == {
            (("severity", "critical"),): 1, (("severity", "notice"),): 0,
            (("severity", "warning"),): 1,
        }  # fmt: skip
        assert found["conclave_notify_lag_leaves"][("channel", "soc"),] == 2
        assert found["conclave_notify_failing"][("channel", "soc"),] == 1
        assert found["conclave_audit_leaves"][one] == site.store.tree_size()

    talk(work)


def test_no_label_names_a_space_a_meeting_or_a_caller() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await write(site, Condition("bulk-fetch", TREASURY, "tester", 9000))
        site.services.watched.board.read(site.store)
        await look_at_keys(site.services)
        await survey.look_at_tokens(site.services)
        found = parsed((await client.get("/v1/metrics")).text)
        labels = {name for values in found.values() for key in values for name, _ in key}
        assert labels <= {"operation", "status", "le", "state", "reason", "severity", "channel"}

    talk(work)


def test_the_surveys_count_what_is_there() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        path = f"/v1/spaces/{TREASURY}/meetings"
        for key in ("1", "2"):
            await client.post(path, json={"recipients": [ALPHA]}, headers={"idempotency-key": key})
        clock = site.services.clock
        started = site.services.seconds()
        await look_at_keys(site.services)
        keys = site.services.watched.facts.keys[TREASURY]
        assert (keys.open, keys.overdue, keys.oldest) == (2, 0, started)
        clock.seconds += site.services.settings.rotation.epoch_seconds + 10
        await look_at_keys(site.services)
        assert site.services.watched.facts.keys[TREASURY].overdue == 2
        site.services.watched.facts.log_error = "x"
        await survey.look_at_log(site.services)
        assert site.services.watched.facts.log_error == ""
        assert site.services.watched.facts.unsigned >= 86_400

    talk(work)
