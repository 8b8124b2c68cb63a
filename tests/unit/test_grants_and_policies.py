"""Grants, space policies and the site's own policies as the API lives by them, over a fake HSM."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx2
import msgspec
import pytest

from kms.api.identity import Identities
from kms.api.peer import Peer
from kms.audit.leaf import LeafDraft, Outcome, Phase, decode_leaf
from kms.domain.grants import Grant
from kms.domain.models import Role
from kms.domain.policies import Labels, SitePolicy, SpacePolicy
from kms.domain.rows import Record, SealedRow
from kms.errors import Forbidden, HsmUnavailable, IntegrityFailure
from kms.policy.authorizer import Target
from kms.ports import PutRow, Unit
from kms.settings import Caller, Rotation
from kms.statements.canonical import make_row
from kms.statements.sealing import Mark
from kms.usecases import access
from kms.usecases.grants import flagged_grants
from kms.usecases.policies import default_policy
from kms.usecases.sealed import Seals
from tests.fixtures.api import BANKING, MAC, TREASURY, FakeSite, make_caller, run_with_site

NOW = 1_800_000_000
HOUR, DAY = 3600, 24 * 3600
GRANT = "0193a000-0000-7000-8000-000000000001"
AUDITOR = make_caller((Role.AUDITOR,), (BANKING,))
OFFICER = make_caller((Role.OFFICER,), ("*",))


async def put(site: FakeSite, record: Record, version: int = 1) -> None:
    """Store a row as the service's own commits do."""
    row = make_row(record, version)
    leaf = LeafDraft(
        "policy.change", "tester", "test", "", "x", Phase.EVENT, Outcome.SUCCEEDED,
        rows={row.key: version},
    )  # fmt: skip
    sealed = SealedRow(row, MAC)
    await site.store.commit(Unit((PutRow(sealed),), (leaf,)))
    site.services.cache.learn(sealed)


def grant(**changes: object) -> Grant:
    made = Grant(TREASURY, GRANT, "tester", Role.AUDITOR, NOW - HOUR, NOW + DAY, "holiday cover")
    return replace(made, **changes)


def with_client(
    work: Callable[[FakeSite, httpx2.AsyncClient], Awaitable[None]], **values: object
) -> None:
    async def run(site: FakeSite) -> None:
        async with site.client() as client:
            await work(site, client)

    run_with_site(run, **values)


async def status(client: httpx2.AsyncClient, space: str = TREASURY) -> int:
    return (await client.get(f"/v1/spaces/{space}/meetings")).status_code


def test_a_grant_opens_its_space_from_its_start_until_its_end() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await put(site, grant(starts=NOW + HOUR, expires=NOW + 2 * HOUR))
        clock = site.services.clock
        found = []
        for moment in (NOW, NOW + HOUR - 1, NOW + HOUR, NOW + 2 * HOUR - 1, NOW + 2 * HOUR):
            clock.seconds = moment
            found.append(await status(client))
        assert found == [404, 404, 200, 200, 404]
        assert await status(client, BANKING) == 200

    with_client(work, caller=AUDITOR)


@pytest.mark.parametrize(
    "other",
    [grant(principal="somebody"), grant(space=BANKING), grant(revoked=NOW - 1)],
    ids=["another's", "another space", "revoked"],
)
def test_no_other_grant_opens_anything(other: Grant) -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await put(site, other)
        assert await status(client) == 404

    with_client(work, caller=make_caller((Role.OPERATOR,), (BANKING,)))


def test_a_grant_gives_its_role_alone_and_its_space_alone() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await put(site, grant())
        reply = await client.post(f"/v1/spaces/{TREASURY}:seal", json={"reason": "drill"})
        assert reply.status_code == 404  # an officer of banking is only an auditor here

    with_client(work, caller=make_caller((Role.OFFICER,), (BANKING,)))


def test_the_log_names_the_grant_only_where_it_was_needed() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await put(site, grant(role=Role.OFFICER))
        other = "0193a000-0000-7000-8000-000000000002"
        await put(site, grant(grant=other, principal="somebody", expires=NOW + HOUR))
        await put(site, grant(grant=GRANT[:-1] + "3", space=BANKING, principal="somebody"))
        assert (await client.post(f"/v1/grants/{other}:revoke")).status_code == 200
        assert (await client.post(f"/v1/grants/{GRANT[:-1]}3:revoke")).status_code == 200
        leaves = [decode_leaf(data) for data in site.store.leaves(0, 100)]
        auths = [leaf.auth for leaf in leaves if leaf.action == "grant.revoke"]
        assert [auth.endswith(f";grant={GRANT}") for auth in auths] == [True, False]
        assert ";" not in auths[1]

    with_client(work, caller=make_caller((Role.OFFICER,), (BANKING,)))


def test_a_revoked_grant_is_gone_at_once_and_only_once() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await put(site, grant(principal="somebody"))
        reply = await client.post(f"/v1/grants/{GRANT}:revoke")
        assert (reply.status_code, reply.json()["state"]) == (200, "revoked")
        again = await client.post(f"/v1/grants/{GRANT}:revoke")
        assert (again.status_code, again.json()["code"]) == (409, "state_not_allowed")
        assert (await client.post("/v1/grants/nothing:revoke")).status_code == 404

    with_client(work, caller=OFFICER)


def test_a_grant_that_was_altered_opens_nothing() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await put(site, grant())
        site.services.cache.forget(f"grant/{TREASURY}/{GRANT}")

        async def refuse(rows: object) -> None:
            raise IntegrityFailure("a MAC does not hold")

        site.workers.spaces[TREASURY].check_rows = refuse
        reply = await client.get(f"/v1/spaces/{TREASURY}/meetings")
        assert reply.json()["code"] == "integrity_failure"

    with_client(work, caller=AUDITOR)


def test_grants_that_nobody_uses_or_remembers_are_flagged() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        for number, (age, principal) in enumerate(
            [(6, "tester"), (8, "tester"), (31, "tester"), (1, "gone")]
        ):
            name = f"{GRANT[:-1]}{number}"
            start = NOW - age * DAY
            await put(site, grant(grant=name, principal=principal, starts=start))
        items = (await client.get("/v1/grants")).json()["items"]
        flags = {item["grant"][-1]: item["flags"] for item in items}
        assert flags == {"0": [], "1": ["unused"], "2": ["unused", "forgotten"], "3": ["forgotten"]}
        flagged = await flagged_grants(site.services, TREASURY)
        assert sorted(view.grant.grant[-1] for view in flagged) == ["1", "2", "3"]

    with_client(work, caller=OFFICER)


@pytest.mark.parametrize("end", ["sealed", "down"])
def test_a_space_that_cannot_be_asked_hides_no_other_ones_grants(end: str) -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        other = GRANT[:-1] + "2"
        await put(site, grant())
        await put(site, grant(grant=other, space=BANKING))
        if end == "sealed":
            site.services.seals.add(TREASURY)
        else:
            site.workers.spaces[TREASURY].down = True
            site.services.cache.forget(f"grant/{TREASURY}/{GRANT}")
        page = (await client.get("/v1/grants")).json()
        assert [one["grant"] for one in page["items"]] == [other]
        assert page["unknown"] == [TREASURY]

    with_client(work, caller=OFFICER)


def test_a_read_by_a_grant_counts_as_its_use() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await put(site, grant(starts=NOW - 8 * DAY))
        assert [view.flags for view in await flagged_grants(site.services, TREASURY)]
        assert await status(client) == 200
        await asyncio.gather(*site.services.access.noting.values())
        assert not await flagged_grants(site.services, TREASURY)

    with_client(work, caller=AUDITOR)


class Disk:
    """A fake: a disk that hangs."""

    async def commit(self, unit: Unit) -> tuple[int, ...]:
        del unit
        await asyncio.sleep(3600)
        raise AssertionError


class PlacedMarks:
    """A fake of the marker files, of any space."""

    def __init__(self) -> None:
        self.placed = asyncio.Event()

    def place(self, space: str, mark: Mark) -> None:
        del space, mark
        self.placed.set()


def test_a_hanging_disk_keeps_no_officer_by_a_grant_from_reading_or_sealing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    marks = PlacedMarks()

    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await put(site, grant(role=Role.OFFICER))
        monkeypatch.setattr(type(site.store), "commit", Disk.commit)
        async with asyncio.timeout(2):
            assert await status(client) == 200
        sealing = asyncio.ensure_future(
            client.post(f"/v1/spaces/{TREASURY}:seal", json={"reason": "fire"})
        )
        async with asyncio.timeout(2):
            await marks.placed.wait()
        monkeypatch.undo()
        sealing.cancel()

    with_client(work, caller=AUDITOR, seals=Seals(marks))


def test_a_grant_that_cannot_be_checked_holds_up_a_seal_for_a_second_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access, "_STILL_SECONDS", 0.05)

    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await put(site, grant(role=Role.OFFICER))
        site.services.cache.forget(f"grant/{TREASURY}/{GRANT}")

        async def hang(rows: object) -> None:
            await asyncio.sleep(3600)

        site.workers.spaces[TREASURY].check_rows = hang
        async with asyncio.timeout(2):
            reply = await client.post(f"/v1/spaces/{TREASURY}:seal", json={"reason": "fire"})
        assert (reply.status_code, reply.json()["code"]) == (503, "unavailable")

    with_client(work, caller=AUDITOR)


# --- the policies of spaces and of the site -------------------------------------------------------

SECRETS = """
@id("secrets-stay-with-their-department")
forbid (principal, action, resource is Space)
when { resource.classification == "secret" && principal.department != resource.department };
"""


def labelled(**labels: str) -> SpacePolicy:
    return replace(default_policy(TREASURY, Rotation()), labels=Labels(**labels))


def test_a_sites_own_forbid_takes_effect_at_once_and_by_the_spaces_labels() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        assert await status(client) == 200
        await put(site, SitePolicy("site", SECRETS))
        assert await status(client) == 200
        await put(site, labelled(classification="secret", department="treasury"))
        assert await status(client) == 403
        assert await status(client, BANKING) == 200
        await put(site, labelled(classification="secret", department="audit"), 2)
        assert await status(client) == 200

    with_client(work, caller=auditor_of("audit"))


def auditor_of(department: str) -> Caller:
    return msgspec.structs.replace(make_caller((Role.AUDITOR,)), department=department)


def test_a_policy_may_ask_how_strong_and_how_old_a_proof_is() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await put(site, SitePolicy("site", _unless("principal.auth.age_seconds < 60")))
        assert site.services.authorizer.asks_age is False
        assert await status(client) == 200
        assert site.services.authorizer.asks_age is True
        assert await status(client) == 200
        await put(site, SitePolicy("site", _unless("principal.auth.strength >= 2")), 2)
        assert await status(client) == 403

    with_client(work, caller=OFFICER)


def _unless(condition: str) -> str:
    scope = 'principal, action == Action::"meeting.list", resource'
    return f'@id("own") forbid ({scope}) unless {{ {condition} }};'


@pytest.mark.parametrize("broken", ["altered", "unfit", "token down"])
def test_without_the_sites_own_policies_only_health_and_sealing_go_on(broken: str) -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        text = '@id("own") forbid (principal, action, resource is Moon);'
        await put(site, SitePolicy("site", text if broken == "unfit" else ""))
        if broken != "unfit":
            site.services.cache.forget("site-policy/site")
            error = HsmUnavailable("down") if broken == "token down" else IntegrityFailure("x")

            async def refuse(rows: object) -> None:
                raise error

            site.workers.site.check_rows = refuse
        for path in ("/v1/grants", "/v1/status", f"/v1/spaces/{TREASURY}/meetings"):
            assert (await client.get(path)).status_code >= 500
        assert (await client.get("/v1/health/live")).status_code == 200

    with_client(work, caller=make_caller())


def test_the_policy_in_force_is_shown_with_what_would_follow_it() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        path = f"/v1/spaces/{TREASURY}/policy"
        assert (await client.get(path)).json()["version"] == 0
        await put(site, labelled(region="shanghai"))
        shown = (await client.get(path)).json()
        assert (shown["version"], shown["policy"]["labels"]["region"]) == (1, "shanghai")
        await put(site, SitePolicy("site", SECRETS))
        found = (await client.get("/v1/site-policy")).json()
        assert (found["version"], found["text"]) == (1, SECRETS)
        assert {"id": "secrets-stay-with-their-department", "effect": "forbid",
                "source": "site-policy"} in found["policies"]  # fmt: skip

    with_client(work, caller=OFFICER)


async def ask(client: httpx2.AsyncClient, **question: object) -> dict[str, object]:
    reply = await client.post("/v1/policy:explain", json=question)
    assert reply.status_code == 200, reply.text
    answer: dict[str, object] = reply.json()
    return answer


def test_an_explanation_names_the_policies_that_decide() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        asked = {"principal": "tester", "space": TREASURY}
        yes = await ask(client, operation="meeting.close", **asked)
        assert (yes["permitted"], _ids(yes["deciding"])) == (True, ["officer-stops"])
        no = await ask(client, operation="meeting.open", **asked)
        assert (no["permitted"], no["deciding"]) == (False, [])
        assert [(one["id"], one["missing"]) for one in no["near"]] == [
            ("server-runs-meetings", [{"lack": "role", "wanted": "meeting-server"}])
        ]
        manual = await ask(client, operation="epoch.rotate", reason="manual", **asked)
        wanted = {"lack": "condition", "wanted": 'when { (context.reason) == "suspicion" }'}
        assert [one["missing"] for one in manual["near"]] == [
            [{"lack": "role", "wanted": "meeting-server"}], [wanted],
        ]  # fmt: skip
        await put(site, SitePolicy("site", SECRETS))
        await put(site, labelled(classification="secret", department="x"))
        forbidden = await ask(client, operation="meeting.close", **asked)
        assert _ids(forbidden["deciding"]) == ["secrets-stay-with-their-department"]

    with_client(work, caller=OFFICER)


def _ids(entries: object) -> list[str]:
    assert isinstance(entries, list)
    return [entry["id"] for entry in entries]


def test_an_explanation_tells_of_the_grant_that_it_takes() -> None:
    async def work(site: FakeSite, client: httpx2.AsyncClient) -> None:
        await put(site, grant(space=BANKING, role=Role.OFFICER))
        asked = {"principal": "tester", "operation": "meeting.close", "space": BANKING}
        answer = await ask(client, **asked)
        assert (answer["permitted"], answer["grant"]) == (True, GRANT)

    with_client(work, caller=make_caller((Role.AUDITOR,)))


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ({"principal": "nobody", "operation": "meeting.read"}, "not_found"),
        ({"principal": "server:alpha", "operation": "meeting.read"}, "not_found"),
        ({"principal": "tester", "operation": "meeting.read", "space": TREASURY}, "not_found"),
        ({"principal": "tester", "operation": "meeting.eavesdrop"}, "invalid_input"),
    ],
    ids=["nobody", "of another space", "another space", "no operation"],
)
def test_an_explanation_tells_nothing_of_what_the_asker_may_not_know(
    question: dict[str, str], code: str
) -> None:
    async def work(_site: FakeSite, client: httpx2.AsyncClient) -> None:
        reply = await client.post("/v1/policy:explain", json=question)
        assert reply.json()["code"] == code

    with_client(work, caller=AUDITOR)


def test_the_age_of_a_proof_comes_in_steps_and_only_where_a_policy_asks_for_it() -> None:
    async def work(site: FakeSite) -> None:
        identities = Identities(site.services)
        peer = Peer(uid=os.getuid(), since=time.monotonic() - 130)
        known = await identities.principal(peer)
        assert identities.aged(known, peer).age == 0
        await put(site, SitePolicy("site", _unless("principal.auth.age_seconds < 120")))
        await site.services.access.ready(site.services)
        old, fresh = identities.aged(known, peer), identities.aged(known, Peer(uid=os.getuid()))
        assert (old.age, fresh.age) == (120, 0)
        check = site.services.authorizer.check
        for _ in range(2):
            check(fresh, "meeting.list", Target(TREASURY))
            with pytest.raises(Forbidden):
                check(old, "meeting.list", Target(TREASURY))

    run_with_site(work)
