"""What the status of rotation says of the keys of open meetings (over a FAKE HSM)."""

from typing import Any

import httpx2

from kms.domain.policies import RotationRules
from kms.domain.states import KeyState
from kms.usecases.rotation.status import GRACE
from tests.fixtures.api import ALPHA, BANKING, TREASURY, FakeSite, make_caller, run_with_site
from tests.fixtures.rotation import put_policy
from tests.unit.test_rotation_engine import move
from tests.unit.test_rotation_engine import opened as engine_opened

MEETINGS = f"/v1/spaces/{TREASURY}/meetings"
NOW = 1_800_000_000
EXACT = RotationRules(interval_seconds=40, maximum_age_seconds=3600, maximum_uses=9)
"""So short an interval is not spread."""


async def opened(client: httpx2.AsyncClient, count: int = 1) -> list[str]:
    found = []
    for number in range(count):
        key = {"idempotency-key": str(number)}
        answer = await client.post(MEETINGS, json={"recipients": [ALPHA]}, headers=key)
        found.append(answer.json()["meeting"])
    return found


async def status(client: httpx2.AsyncClient, **query: object) -> Any:
    answer = await client.get("/v1/rotation", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_it_says_since_when_until_when_and_what_comes_next() -> None:
    async def work(site: FakeSite) -> None:
        await put_policy(site.services, TREASURY, EXACT)
        async with site.client() as client:
            (meeting,) = await opened(client)
            assert (await status(client))["items"] == [
                {
                    "space": TREASURY, "meeting": meeting, "epoch": 0, "state": "active",
                    "reason": "open", "activated": "2027-01-15T08:00:00Z",
                    "due": "2027-01-15T08:00:38Z", "why": "time",
                    "retires": "2027-01-15T09:00:00Z", "overdue": False,
                    "uses": 0, "maximum_uses": 9, "next_epoch": None, "next_activates": None,
                    "people": None,
                }
            ]  # fmt: skip
            await client.post(f"{MEETINGS}/{meeting}/epochs:rotate", json={"reason": "manual"},
                              headers={"idempotency-key": "r"})  # fmt: skip
            (item,) = (await status(client))["items"]
            assert (item["epoch"], item["next_epoch"]) == (0, 1)
            assert (item["due"], item["next_activates"]) == (None, "2027-01-15T08:00:02Z")

    run_with_site(work)


def test_what_was_not_replaced_in_time_is_overdue() -> None:
    async def work(site: FakeSite) -> None:
        clock = site.services.clock
        await put_policy(site.services, TREASURY, EXACT)
        async with site.client() as client:
            await opened(client)
            for seconds, overdue in ((38 + GRACE - 1, False), (38 + GRACE, True)):
                clock.seconds = NOW + seconds
                (item,) = (await status(client))["items"]
                assert item["overdue"] is overdue

    run_with_site(work)


def test_a_suspended_key_has_nothing_due_and_is_overdue_only_past_its_end() -> None:
    async def work(site: FakeSite) -> None:
        clock = site.services.clock
        await put_policy(site.services, TREASURY, EXACT)
        async with site.client() as client:
            (meeting,) = await opened(client)
            await move(site.services, meeting, KeyState.SUSPENDED, "epoch.suspend")
            for seconds, overdue in ((3599, False), (3600, True)):
                clock.seconds = NOW + seconds
                (item,) = (await status(client))["items"]
                assert (item["state"], item["due"]) == ("suspended", None)
                assert item["overdue"] is overdue

    run_with_site(work)


def test_it_comes_in_pages_of_open_meetings_each_once() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            meetings = sorted(await opened(client, 5))
            await client.post(f"{MEETINGS}/{meetings[1]}:close")
            await move(site.services, meetings[2], KeyState.COMPROMISED, "epoch.compromise")
            await client.post(f"{MEETINGS}/{meetings[2]}/epochs:rotate",
                              json={"reason": "suspicion"},
                              headers={"idempotency-key": "r"})  # fmt: skip
            seen, query = [], {"limit": 2}
            while True:
                page = await status(client, **query)
                seen += [(one["meeting"], one["epoch"]) for one in page["items"]]
                if page["next"] is None:
                    break
                query["after"] = page["next"]
            wanted = [(one, int(one == meetings[2])) for one in meetings if one != meetings[1]]
            assert seen == wanted

    run_with_site(work)


def test_a_place_that_is_none_is_refused() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            for after in ("treasury", "treasury/x", "/", "A/" + "0" * 36):
                answer = await client.get("/v1/rotation", params={"after": after})
                assert answer.status_code == 400, after

    run_with_site(work)


def test_it_shows_only_the_callers_spaces() -> None:
    async def work(site: FakeSite) -> None:
        await engine_opened(site.services)
        async with site.client() as client:
            assert (await status(client))["items"] == []

    run_with_site(work, caller=make_caller(spaces=(BANKING,)))
