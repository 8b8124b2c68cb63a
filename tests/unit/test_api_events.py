"""Server-sent events (over a fake HSM): resumable, alive, filtered, bounded."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from kms.api.routes import events
from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.models import Principal, PrincipalKind, Role
from kms.domain.policies import SitePolicy
from kms.ports import Unit
from kms.settings import Api
from kms.usecases.events import follow
from tests.fixtures.api import ALPHA, TREASURY, FakeSite, make_caller, run_with_site
from tests.unit.test_grants_and_policies import put

MEETINGS = f"/v1/spaces/{TREASURY}/meetings"


class Stream:
    """A subscriber on a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def line(self, prefix: bytes) -> bytes:
        async with asyncio.timeout(10):
            while True:
                line = await self._reader.readline()
                if not line:
                    raise EOFError
                if line.startswith(prefix):
                    return line[len(prefix) :].strip()

    async def rest(self) -> bytes:
        """Return what comes until the reply's last chunk."""
        async with asyncio.timeout(10):
            return await self._reader.readuntil(b"\r\n0\r\n")

    async def event(self) -> tuple[int, dict[str, object]]:
        number = int(await self.line(b"id: "))
        return number, json.loads(await self.line(b"data: "))


@asynccontextmanager
async def subscribed(site: FakeSite, after: int | None = None) -> AsyncIterator[Stream]:
    reader, writer = await asyncio.open_unix_connection(str(site.socket))
    last = f"Last-Event-ID: {after}\r\n" if after is not None else ""
    writer.write(f"GET /v1/events HTTP/1.1\r\nHost: conclave\r\n{last}\r\n".encode())
    stream = Stream(reader)
    await stream.line(b": conclave")
    try:
        yield stream
    finally:
        writer.close()
        await writer.wait_closed()


async def open_meeting(client: httpx2.AsyncClient, key: str) -> str:
    answer = await client.post(
        MEETINGS, json={"recipients": [ALPHA]}, headers={"idempotency-key": key}
    )
    meeting: str = answer.json()["meeting"]
    return meeting


def test_a_subscriber_hears_what_happens_and_resumes_where_it_was() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            async with subscribed(site) as stream:
                first = await open_meeting(client, "1")
                seq, event = await stream.event()
                assert (event["kind"], event["meeting"]) == ("meeting.open", first)
            second = await open_meeting(client, "2")
            third = await open_meeting(client, "3")
            async with subscribed(site, seq) as stream:
                heard = [await stream.event(), await stream.event()]
                assert [event["meeting"] for _, event in heard] == [second, third]
                assert seq < heard[0][0] < heard[1][0]
            async with subscribed(site, 0) as stream:
                assert (await stream.event())[1]["meeting"] == first

    run_with_site(work)


def test_a_caller_of_another_space_hears_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)

    async def work(site: FakeSite) -> None:
        async with site.client(), subscribed(site) as stream:
            leaf = LeafDraft(
                "meeting.open", "x", "y", TREASURY, f"spaces/{TREASURY}/meetings/m",
                Phase.EVENT, Outcome.SUCCEEDED,
            )  # fmt: skip
            await site.store.commit(Unit(leaves=(leaf,)))
            assert await stream.line(b":") == b"still here"
            assert await stream.line(b":") == b"still here"

    run_with_site(work, caller=make_caller((Role.AUDITOR,), ("investment-banking",)))


def test_a_quiet_stream_beats_and_ends_with_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)

    async def work(site: FakeSite) -> None:
        async with site.serving():
            reader, writer = await asyncio.open_unix_connection(str(site.socket))
            writer.write(b"GET /v1/events HTTP/1.1\r\nHost: conclave\r\n\r\n")
            await Stream(reader).line(b": still here")
        rest = await asyncio.wait_for(reader.read(), 3)
        assert rest.endswith(b"0\r\n\r\n")
        writer.close()

    run_with_site(work)


def test_more_streams_than_their_share_are_turned_away_until_one_ends() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            async with subscribed(site), subscribed(site):
                full = await client.get("/v1/events")
                assert (full.status_code, full.json()["code"]) == (503, "unavailable")
            await asyncio.sleep(0.1)
            async with subscribed(site):
                pass

    run_with_site(work, Api(max_connections=8))


def test_a_stream_outlives_the_time_of_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)

    async def work(site: FakeSite) -> None:
        async with site.client(), subscribed(site) as stream:
            for _ in range(10):
                await stream.line(b": still here")

    run_with_site(work, Api(request_seconds=0.2))


FORBID = SitePolicy(
    "site", '@id("no") forbid (principal, action == Action::"event.follow", resource);'
)


def test_a_busy_stream_ends_once_the_rules_forbid_it() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client, subscribed(site) as stream:
            await open_meeting(client, "1")
            await stream.event()
            await put(site, FORBID)
            await open_meeting(client, "2")
            assert b"data: " not in await stream.rest()
            assert (await client.get("/v1/events")).status_code == 403

    run_with_site(work)


def test_a_busy_stream_is_asked_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.2)

    async def work(site: FakeSite) -> None:
        async with site.client() as client, subscribed(site) as stream:
            authorizer = site.services.authorizer
            authorizer.use(authorizer.shipped.with_site([("site", FORBID.text)]))

            async def events_come() -> None:
                for number in range(100):
                    await open_meeting(client, str(number))
                    await asyncio.sleep(0.02)

            busy = asyncio.ensure_future(events_come())
            assert await stream.rest()
            assert not busy.done()
            busy.cancel()
            await asyncio.gather(busy, return_exceptions=True)

    run_with_site(work)


def test_a_reader_of_a_long_log_lets_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(site: FakeSite) -> None:
        draft = LeafDraft("access.refused", "x", "x", "", "events", Phase.EVENT, Outcome.REFUSED)
        await site.store.commit(Unit(leaves=(draft,) * 2000))
        reader = Principal("x", PrincipalKind.TLS, "x", frozenset(), frozenset({TREASURY}))
        pages: list[int] = []
        read = site.store.leaves

        def leaves(start: int, limit: int) -> list[bytes]:
            pages.append(start)
            return read(start, limit)

        monkeypatch.setattr(site.store, "leaves", leaves)
        coming = asyncio.ensure_future(anext(follow(site.services, reader, 0)))
        await asyncio.sleep(0)
        assert len(pages) == 1
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)

    run_with_site(work)
