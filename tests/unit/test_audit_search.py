"""Looking for leaves: by API and command line, over a FAKE HSM and the real store and journal."""

import json
from typing import TYPE_CHECKING, Any, cast

import httpx2
import pytest

from kms.cli import audit_search
from kms.domain.models import Role
from kms.errors import InvalidInput
from kms.ports import LeafFilter, Unit
from kms.usecases.journal import TAIL, leaf_moment, search_leaves
from kms.usecases.services import Call
from kms.wire.audit import SearchPage
from tests.fixtures.api import TREASURY, FakeSite, make_caller, run_with_site
from tests.fixtures.store import draft, meeting_id
from tests.unit.test_cli_audit_list import FakeSession

if TYPE_CHECKING:
    from kms.cli.session import Session

PATH = "/v1/audit/search"


async def write(site: FakeSite, count: int, **changes: object) -> None:
    leaves = [draft(actor=f"server:{n % 3}", **changes) for n in range(count)]
    await site.store.commit(Unit(leaves=tuple(leaves)))


def catch_up(site: FakeSite) -> None:
    while site.journal.catch_up(site.store):
        pass


async def found(client: httpx2.AsyncClient, **query: object) -> tuple[list[int], Any]:
    answer = await client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    page = answer.json()
    return [json.loads(text)["seq"] for text in page["items"]], page


def test_old_leaves_come_from_the_journal_and_new_ones_from_the_log() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            await write(site, 30)
            catch_up(site)
            await write(site, 30)
            numbers, page = await found(client, actor="server:1")
            assert numbers == list(range(59, 0, -3))
            assert (page["next"], page["indexed"], page["tree_size"]) == (None, 31, 61)
            first, page = await found(client, actor="server:1", limit=12)
            second, _ = await found(client, actor="server:1", before=page["next"])
            assert first + second == numbers

    run_with_site(work)


@pytest.mark.parametrize("limit", [1, 2, 5, 10, 60])
def test_pages_meet_without_a_gap_wherever_the_journal_stands(limit: int) -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            await write(site, 20)
            catch_up(site)
            await write(site, 20)
            numbers: list[int] = []
            query: dict[str, object] = {"action": "envelope.fetch", "limit": limit}
            while True:
                part, page = await found(client, **query)
                numbers += part
                if page["next"] is None:
                    break
                query["before"] = page["next"]
            assert numbers == list(range(40, 0, -1))

    run_with_site(work)


def test_far_behind_it_says_how_far_it_looked() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            catch_up(site)
            for _ in range(3):
                await write(site, TAIL // 2)
            numbers, page = await found(client, action="envelope.fetch")
            assert numbers == []
            assert page["tree_size"] - page["indexed"] > TAIL

    run_with_site(work)


def test_what_the_journal_says_wrongly_is_left_out_and_it_is_made_anew() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            await write(site, 9)
            catch_up(site)
            with site.journal._file.writing() as connection:
                connection.execute("UPDATE leaves SET actor = 'mallory' WHERE seq = 4")
            assert (await found(client, actor="mallory"))[0] == []
            catch_up(site)
            assert (await found(client, actor="server:0"))[0] == [7, 4, 1]

    run_with_site(work)


def test_a_callers_own_spaces_and_the_sites_leaves_are_all_it_finds() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            await write(site, 3, space="brokerage")
            await write(site, 3)
            for _ in ("by the log", "by the journal"):
                numbers, _page = await found(client)
                assert numbers == [6, 5, 4, 0]
                assert (await found(client, space="brokerage"))[0] == []
                catch_up(site)

    run_with_site(work, caller=make_caller((Role.AUDITOR,), (TREASURY,)))


def test_a_meeting_is_named_by_its_id_or_the_end_of_it() -> None:
    one, other = meeting_id(0x1_2345_6789), meeting_id(0x2_2345_6789)

    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            for name in (one, other[:-1] + "0"):
                await write(site, 1, action="meeting.open", resource=f"spaces/x/meetings/{name}")
            catch_up(site)
            for text in (one, one[-8:]):
                assert (await found(client, meeting=text))[0] == [1]
            assert (await found(client, meeting="0badc0de"))[0] == []
            await write(site, 1, action="meeting.open", resource=f"spaces/x/meetings/{other}")
            catch_up(site)
            answer = await client.get(PATH, params={"meeting": one[-8:]})
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")

    run_with_site(work)


def test_the_end_of_an_id_finds_no_meeting_of_another_space() -> None:
    own, other = meeting_id(0x1_2345_6789), meeting_id(0x2_2345_6789)

    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            for space, name in ((TREASURY, own), ("brokerage", other)):
                path = f"spaces/{space}/meetings/{name}"
                await write(site, 1, action="meeting.open", space=space, resource=path)
            catch_up(site)
            assert (await found(client, meeting=own[-8:]))[0] == [1]

    run_with_site(work, caller=make_caller((Role.AUDITOR,), (TREASURY,)))


@pytest.mark.parametrize("role", [one for one in Role if one is not Role.AUDITOR])
def test_it_is_the_auditors_alone(role: Role) -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            assert (await client.get(PATH)).status_code == 403

    run_with_site(work, caller=make_caller((role,)))


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("", ""),
        ("2026-11-22", "2026-11-22T00:00:00.000000Z"),
        ("2026-11-22T08:00", "2026-11-22T08:00:00.000000Z"),
        ("2026-11-22T08:00:01Z", "2026-11-22T08:00:01.000000Z"),
        ("2026-11-22T08:00:00.5+08:00", "2026-11-22T00:00:00.500000Z"),
    ],
)
def test_times_are_taken_in_people_s_forms(text: str, exact: str) -> None:
    assert leaf_moment(text) == exact


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "0001-01-01T00:00+08:00", "\0"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        leaf_moment(text)

    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            assert (await client.get(PATH, params={"since": text})).status_code == 400

    run_with_site(work)


def test_times_cut_exactly() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            await write(site, 2)
            site.services.clock.seconds += 60
            await write(site, 2)
            moment = json.loads((await found(client))[1]["items"][0])["time"]
            for _ in ("by the log", "by the journal"):
                assert (await found(client, since=moment))[0] == [4, 3]
                assert (await found(client, until=moment))[0] == [2, 1, 0]
                catch_up(site)

    run_with_site(work)


def test_a_prefix_finds_one_meeting_s_epochs() -> None:
    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            await write(site, 3)
            path = f"spaces/treasury/meetings/{meeting_id(2)}/epochs/0"
            await write(site, 2, resource=path)
            catch_up(site)
            assert (await found(client, resource_prefix=path.removesuffix("0")))[0] == [5, 4]
            assert (await found(client, meeting=meeting_id(2)))[0] == [5, 4]

    run_with_site(work)


def test_the_use_case_gives_at_most_a_page() -> None:
    async def work(site: FakeSite) -> None:
        await write(site, 600)
        principal = next(iter(site.services.settings.caller))
        call = Call(_principal(principal.principal), "audit.search", "")
        page = await search_leaves(site.services, call, LeafFilter(), None, 10_000)
        assert len(page.leaves) == len(page.bodies) == 500
        assert page.whole

    run_with_site(work)


def _principal(name: str) -> Any:
    from kms.domain.models import EVERY_SPACE, Principal, PrincipalKind

    roles, spaces = frozenset({Role.AUDITOR}), frozenset({EVERY_SPACE})
    return Principal(name, PrincipalKind.SOCKET, "uid:1", roles, spaces)


class Searching(FakeSession):
    """A FAKE service that finds every leaf, seven at a time."""

    asked: dict[str, str] | None = None

    def search_leaves(self, before: int | None, limit: int, **wanted: str) -> SearchPage:
        self.asked = wanted
        end = len(self.log) if before is None else before
        start = max(0, end - min(limit, 7))
        items = tuple(reversed(self.log[start:end]))
        return SearchPage(items=items, next=start or None, indexed=900, tree_size=1200)


def test_the_command_asks_until_it_has_enough(capsys: pytest.CaptureFixture[str]) -> None:
    session = Searching()
    audit_search.search_leaves(cast("Session", session), actor="officer", limit=20)
    document = json.loads(capsys.readouterr().out)
    assert [leaf["seq"] for leaf in document["items"]] == list(range(1199, 1179, -1))
    assert document["behind"] == 300
    assert session.asked == {"actor": "officer"}
