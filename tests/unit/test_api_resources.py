"""The API's resources (over a fake HSM): creates once, versions, pages, batches, the log."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx2
import pytest
from starlette.requests import Request

from kms.api import views
from kms.api.context import Context
from kms.api.idempotency import Idempotency
from kms.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from kms.domain.models import Principal, PrincipalKind, ReleaseClass, Role, Space
from kms.domain.policies import SitePolicy
from kms.operations import OPERATIONS
from kms.policy.authorizer import Target
from kms.ports import Unit
from kms.usecases.access import Access
from kms.usecases.cache import VerifiedCache
from kms.usecases.services import Call
from kms.wire.parsing import parse
from kms.wire.replies import BatchOut, MeetingOut, MeetingPage, RosterOut
from tests.fixtures.api import ALPHA, BANKING, BETA, TREASURY, FakeSite, make_caller, run_with_site
from tests.unit.test_grants_and_policies import put

MEETINGS = f"/v1/spaces/{TREASURY}/meetings"
Talk = Callable[[FakeSite, httpx2.AsyncClient], Awaitable[None]]


def talk(work: Talk, **options: object) -> None:
    """Run ``work`` with a client of a fresh fake site."""

    async def run(site: FakeSite) -> None:
        async with site.client() as client:
            await work(site, client)

    run_with_site(run, **options)


async def opened(client: httpx2.AsyncClient, key: str = "k", **body: object) -> MeetingOut:
    answer = await client.post(
        MEETINGS, json=body or {"recipients": [ALPHA]}, headers={"idempotency-key": key}
    )
    assert answer.status_code == 201, answer.text
    return parse(answer.content, MeetingOut)


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_space_says_since_when_it_is_retired_or_destroyed() -> None:
    record = Space(TREASURY, ReleaseClass.TRUSTED, "space-treasury", created=1)
    assert (views.space(record).retired, views.space(record).destroyed) == (None, None)
    gone = views.space(replace(record, retired=2, destroyed=3))
    assert (gone.retired, gone.destroyed) == ("1970-01-01T00:00:02Z", "1970-01-01T00:00:03Z")


@pytest.mark.parametrize("end", ["forbid", "seal"])
def test_a_repeated_create_is_refused_once_the_policies_or_a_seal_refuse_it(end: str) -> None:
    forbid = '@id("no") forbid (principal, action == Action::"meeting.open", resource);'

    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await opened(client)
        if end == "seal":
            site.services.seals.add(TREASURY)
        else:
            await put(site, SitePolicy("site", forbid))
        body, headers = {"recipients": [ALPHA]}, {"idempotency-key": "k"}
        again = await client.post(MEETINGS, json=body, headers=headers)
        assert code(again) == ((503, "sealed") if end == "seal" else (403, "forbidden"))

    talk(work)


@pytest.mark.parametrize("what", ["epochs", "holds"])
def test_so_are_a_repeated_rotation_and_hold(what: str) -> None:
    forbid = """
        @id("a") forbid (principal, action == Action::"epoch.rotate", resource)
        when { context.reason == "suspicion" };
        @id("b") forbid (principal, action == Action::"hold.place", resource);
    """

    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        meeting = (await opened(client)).meeting
        there = f"{MEETINGS}/{meeting}/epochs:rotate", {"reason": "suspicion"}
        if what == "holds":
            there = f"/v1/spaces/{TREASURY}/holds", {"reason": "court order"}

        async def ask() -> httpx2.Response:
            return await client.post(there[0], json=there[1], headers={"idempotency-key": "r"})

        first, again = await ask(), await ask()
        assert (first.status_code, again.status_code) == (201, 201)
        await put(site, SitePolicy("site", forbid))
        assert code(await ask()) == (403, "forbidden")

    talk(work, caller=make_caller())


def test_a_repeated_create_gets_the_first_ones_answer() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        first = await opened(client)
        body, headers = {"recipients": [ALPHA]}, {"idempotency-key": "k"}
        again = await client.post(MEETINGS, json=body, headers=headers)
        assert again.status_code == 201
        assert again.headers["idempotency-replayed"] == "true"
        assert parse(again.content, MeetingOut) == first
        assert site.workers.spaces[TREASURY].mints == 1

    talk(work)


def test_servers_of_two_spaces_with_one_name_do_not_share_keys() -> None:
    def server(space: str) -> Principal:
        spaces = frozenset({space})
        roles = frozenset({Role.MEETING_SERVER})
        return Principal("server:ms", PrincipalKind.TLS, space, roles, spaces)

    async def work(site: FakeSite) -> None:
        idempotency = Idempotency()

        async def create(principal: Principal) -> bytes:
            (space,) = principal.spaces
            target = Target(space=space)
            scope = {"type": "http", "headers": [(b"idempotency-key", b"k")]}
            context = Context(
                site.services, Request(scope), OPERATIONS["meeting.open"], principal, b"", "same"
            )

            async def make(call: Call) -> str:
                assert call.remember is not None
                await site.store.commit(Unit((call.remember(principal.proof),)))
                return principal.proof

            return bytes((await idempotency.create(context, target, make, str.encode)).body)

        assert await create(server(TREASURY)) == TREASURY.encode()
        assert await create(server(BANKING)) == BANKING.encode()
        assert await create(server(TREASURY)) == TREASURY.encode()

    run_with_site(work)


def test_a_key_that_served_another_request_is_refused() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await opened(client)
        body, headers = {"recipients": [BETA]}, {"idempotency-key": "k"}
        other = await client.post(MEETINGS, json=body, headers=headers)
        assert code(other) == (422, "idempotency_key_reused")
        elsewhere = MEETINGS.replace(TREASURY, "investment-banking")
        moved = await client.post(elsewhere, json={"recipients": [ALPHA]}, headers=headers)
        assert code(moved) == (422, "idempotency_key_reused")
        assert site.workers.spaces[TREASURY].mints == 1

    talk(work)


def test_the_same_create_in_flight_many_times_happens_once() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        site.workers.spaces[TREASURY].slow = 0.05
        body, headers = {"recipients": [ALPHA]}, {"idempotency-key": "k"}
        asked = [client.post(MEETINGS, json=body, headers=headers) for _ in range(10)]
        answers = await asyncio.gather(*asked)
        assert len({answer.content for answer in answers}) == 1
        assert sum("idempotency-replayed" in answer.headers for answer in answers) == 9
        assert site.workers.spaces[TREASURY].mints == 1

    talk(work)


def test_a_failed_create_can_be_tried_again_under_its_key() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        token = site.workers.spaces[TREASURY]
        token.down = True
        body, headers = {"recipients": [ALPHA]}, {"idempotency-key": "k"}
        down = await client.post(MEETINGS, json=body, headers=headers)
        assert code(down) == (503, "hsm_unavailable")
        assert down.headers["retry-after"] == "1"
        token.down = False
        assert (await opened(client)).current_epoch == 0

    talk(work)


def test_a_create_whose_caller_went_away_is_not_half_done() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        site.workers.spaces[TREASURY].slow = 0.2
        body, headers = {"recipients": [ALPHA]}, {"idempotency-key": "k"}
        asked = asyncio.create_task(client.post(MEETINGS, json=body, headers=headers))
        await asyncio.sleep(0.1)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        again = await client.post(MEETINGS, json=body, headers=headers)
        assert again.headers["idempotency-replayed"] == "true"
        assert site.workers.spaces[TREASURY].mints == 1

    talk(work)


def test_what_is_unchanged_is_not_sent_again() -> None:
    async def work(_: FakeSite, client: httpx2.AsyncClient) -> None:
        meeting = await opened(client)
        base = f"{MEETINGS}/{meeting.meeting}"
        for path in (base, f"{base}/roster", f"{base}/epochs/0", f"{base}/epochs/current"):
            tag = (await client.get(path)).headers["etag"]
            for value in (tag, f"W/{tag}", f'"x", {tag}'):
                same = await client.get(path, headers={"if-none-match": value})
                assert (same.status_code, same.content) == (304, b"")
                assert same.headers["etag"] == tag
        headers = {"idempotency-key": "r"}
        await client.post(f"{base}/epochs:rotate", json={"reason": "suspicion"}, headers=headers)
        for path in (base, f"{base}/epochs/0", f"{base}/epochs/current"):
            changed = await client.get(path, headers={"if-none-match": '"1"'})
            assert changed.status_code == 200

    talk(work)


def test_a_roster_is_changed_only_from_the_version_that_was_seen() -> None:
    async def work(_: FakeSite, client: httpx2.AsyncClient) -> None:
        path = f"{MEETINGS}/{(await opened(client)).meeting}/roster"
        seen = await client.get(path)
        tag = {"if-match": seen.headers["etag"]}
        body = {"recipients": [ALPHA, BETA]}
        changed = await client.put(path, json=body, headers=tag)
        assert changed.status_code == 200
        stale = await client.put(path, json={"recipients": [ALPHA]}, headers=tag)
        assert code(stale) == (412, "precondition_failed")
        now = await client.get(path)
        assert now.headers["etag"] == changed.headers["etag"]
        assert parse(now.content, RosterOut).recipients == (ALPHA, BETA)

    talk(work)


def test_amending_a_roster_adds_and_removes() -> None:
    async def work(_: FakeSite, client: httpx2.AsyncClient) -> None:
        path = f"{MEETINGS}/{(await opened(client)).meeting}/roster"
        both = await client.patch(path, json={"add": [BETA]})
        assert both.json()["roster"]["recipients"] == [ALPHA, BETA]
        assert both.json()["next_epoch"] == 1
        one = await client.patch(path, json={"remove": [ALPHA]})
        assert one.json()["roster"]["recipients"] == [BETA]
        assert one.json()["current_epoch"] == 2
        for wrong in ({"add": [BETA]}, {"remove": [ALPHA]}):
            assert code(await client.patch(path, json=wrong)) == (400, "invalid_input")

    talk(work)


def test_lists_come_in_pages() -> None:
    async def work(_: FakeSite, client: httpx2.AsyncClient) -> None:
        made = [(await opened(client, f"k{number}")).meeting for number in range(5)]
        found: list[str] = []
        after = ""
        while True:
            query = {"limit": "2", **({"after": after} if after else {})}
            answer = await client.get(MEETINGS, params=query)
            page = parse(answer.content, MeetingPage)
            found += [entry.meeting for entry in page.items]
            if page.next is None:
                break
            after = page.next
        assert found == sorted(made)
        manifests: list[tuple[str, int]] = []
        query = {"space": TREASURY, "limit": "2"}
        while True:
            page_of = (await client.get("/v1/audit/manifests", params=query)).json()
            manifests += [(entry["meeting"], entry["epoch"]) for entry in page_of["items"]]
            if page_of["next"] is None:
                break
            query["after"] = page_of["next"]
        assert manifests == [(meeting, 0) for meeting in sorted(made)]

    talk(work)


def test_manifests_are_evidence_also_of_a_sealed_space_and_without_its_token() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            made = (await opened(client)).meeting
        cache = VerifiedCache(site.store, site.workers)
        fresh = replace(site, services=replace(site.services, cache=cache, access=Access()))
        query = {"space": TREASURY}
        async with fresh.client() as client:
            site.workers.spaces[TREASURY].down = True
            items = (await client.get("/v1/audit/manifests", params=query)).json()["items"]
            assert [one["meeting"] for one in items] == [made]
            site.services.seals.add(TREASURY)
            items = (await client.get("/v1/audit/manifests", params=query)).json()["items"]
            assert [one["meeting"] for one in items] == [made]
            nowhere = await client.get("/v1/audit/manifests", params={"space": "nowhere"})
            assert code(nowhere) == (404, "not_found")

    run_with_site(work)


def test_manifests_of_a_sealed_space_are_not_for_everybody() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        site.services.seals.add(TREASURY)
        answer = await client.get("/v1/audit/manifests", params={"space": TREASURY})
        assert code(answer) == (403, "forbidden")

    talk(work, caller=make_caller((Role.OFFICER,), (TREASURY,)))


def test_a_batch_answers_each_in_order() -> None:
    async def work(_: FakeSite, client: httpx2.AsyncClient) -> None:
        meeting = (await opened(client)).meeting
        wanted = {"space": TREASURY, "meeting": meeting, "recipient": ALPHA}
        missing = {**wanted, "space": "nowhere"}
        body = {"envelopes": [missing, wanted, missing]}
        answer = await client.post("/v1/envelopes:batch", json=body)
        items = parse(answer.content, BatchOut).items
        assert [item.error.code if item.error else "" for item in items] == [
            "not_found",
            "forbidden",  # this caller is of the socket and has no key of its own
            "not_found",
        ]

    talk(work, caller=make_caller((Role.MEETING_SERVER,), (TREASURY,)))


def test_a_missing_space_and_another_callers_space_read_the_same() -> None:
    async def work(_: FakeSite, client: httpx2.AsyncClient) -> None:
        paths = ("/meetings", "/meetings/01930000-0000-7000-8000-000000000001")
        for path in paths:
            other = await client.get(f"/v1/spaces/investment-banking{path}")
            missing = await client.get(f"/v1/spaces/nowhere{path}")
            own = await client.get(f"/v1/spaces/{TREASURY}{paths[1]}")
            assert other.status_code == missing.status_code == own.status_code == 404
            assert other.content == missing.content == own.content
        spaces = (await client.get("/v1/spaces")).json()["items"]
        assert [entry["space"] for entry in spaces] == [TREASURY]

    talk(work, caller=make_caller((Role.MEETING_SERVER,), (TREASURY,)))


def test_the_log_proves_itself() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        for number in range(4):
            await opened(client, f"k{number}")
        size = site.store.tree_size()
        leaves = (await client.get("/v1/audit/leaves", params={"limit": "500"})).json()["items"]
        assert len(leaves) == size
        for number in (0, 3, size - 1):
            proof = (await client.get(f"/v1/audit/proofs/{number}")).json()
            assert proof["body"] == leaves[number]
            verify_inclusion(
                leaf_hash(leaves[number].encode()), number, size,
                [base64.b64decode(entry) for entry in proof["hashes"]],
                base64.b64decode(proof["root"]),
            )  # fmt: skip
        query = {"old": "3", "new": str(size)}
        both = (await client.get("/v1/audit/consistency", params=query)).json()
        verify_consistency(
            3, base64.b64decode(both["old_root"]), size, base64.b64decode(both["new_root"]),
            [base64.b64decode(entry) for entry in both["hashes"]],
        )  # fmt: skip
        assert code(await client.get(f"/v1/audit/proofs/{size}")) == (404, "not_found")
        beyond = await client.get("/v1/audit/consistency", params={"old": "1", "new": "9999"})
        assert code(beyond) == (404, "not_found")

    talk(work)


def test_metrics_name_operations_and_statuses_but_nobody() -> None:
    async def work(_: FakeSite, client: httpx2.AsyncClient) -> None:
        meeting = await opened(client)
        await client.get(f"{MEETINGS}/{meeting.meeting}")
        text = (await client.get("/v1/metrics")).text
        assert 'conclave_requests_total{operation="meeting.open",status="201"} 1' in text
        assert 'conclave_request_seconds_bucket{operation="meeting.read",le="+Inf"} 1' in text
        assert TREASURY not in text
        assert meeting.meeting not in text
        assert "tester" not in text

    talk(work)


def test_the_site_is_degraded_without_a_spaces_worker_and_not_ready_without_any() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        fine = {"status": "ready", "reasons": []}
        assert (await client.get("/v1/health/ready")).json() == fine
        site.workers.spaces[TREASURY].down = True
        down = await client.get("/v1/health/ready")
        amiss = {"status": "degraded", "reasons": ["token t: hsm_unavailable"]}
        assert (down.status_code, down.json()) == (200, amiss)
        site.workers.spaces[BANKING].down = True
        assert code(await client.get("/v1/health/ready")) == (503, "unavailable")
        assert (await client.get("/v1/health/live")).json() == {"status": "live"}
        assert (await client.get("/v1/status")).json()["workers"]["t"] == "hsm_unavailable"

    talk(work)


def test_of_the_tokens_a_caller_sees_its_own_spaces_and_the_sites() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        site.workers.spaces[BANKING].down = True
        assert (await client.get("/v1/health/ready")).json()["status"] == "ready"
        assert set((await client.get("/v1/status")).json()["workers"]) == {"site", "t"}
        tokens = (await client.get("/v1/hsm")).json()["items"]
        assert {token["space"] for token in tokens} == {"", TREASURY}
        site.workers.spaces[TREASURY].down = True
        assert code(await client.get("/v1/health/ready")) == (503, "unavailable")

    talk(work, caller=make_caller((Role.OPERATOR,), spaces=(TREASURY,)))


def test_refusals_stand_in_the_log() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        size = site.store.tree_size()
        assert code(await client.get("/v1/audit/leaves")) == (403, "forbidden")
        assert code(await client.get("/v1/spaces/nowhere/meetings")) == (404, "not_found")
        said = [json.loads(leaf) for leaf in site.store.leaves(size, 9)]
        assert [leaf["action"] for leaf in said] == ["access.refused"] * 2
        assert [leaf["details"]["code"] for leaf in said] == ["forbidden", "not_found"]

    talk(work, caller=make_caller((Role.OPERATOR,), (TREASURY,)))
