"""The board's pages about rotation, over a FAKE HSM."""

from dataclasses import replace

import pytest

from kms.domain.policies import RotationRules
from kms.errors import NotFound
from kms.usecases.rotation.status import rotation_of
from kms.usecases.services import Call
from kms.usecases.watch.keys import look_at_keys
from kms.usecases.watch.survey import WATCHER
from kms.web.visit import PAGE_ROWS
from tests.fixtures.api import ALPHA, BANKING, TREASURY, Clock
from tests.fixtures.approvals import MEETING
from tests.fixtures.board import BoardSite, run_with_board
from tests.fixtures.board_meetings import (
    changed,
    closed,
    english,
    meeting_id,
    opened,
    rotated,
)
from tests.fixtures.rotation import put_policy

OPEN = "Open meetings"
EXACT = RotationRules(interval_seconds=40, maximum_age_seconds=3600, maximum_uses=9)


def advance(site: BoardSite, seconds: float) -> None:
    clock = site.services.clock
    assert isinstance(clock, Clock)
    clock.seconds += seconds


def test_every_open_meeting_shows_how_its_key_stands() -> None:
    async def work(site: BoardSite) -> None:
        await put_policy(site.services, TREASURY, EXACT)
        (meeting,) = await opened(site, 1)
        page = await english(await site.signed_in("auditor"), "/rotation")
        rows = {row[1]: row for row in page.rows(OPEN)}
        assert set(rows) == {f"…{MEETING[-8:]}", f"…{meeting[-8:]}"}
        space, _, epoch, state, why, since, following, served = rows[f"…{meeting[-8:]}"]
        assert (space, epoch, state, why) == (TREASURY, "0", "● active", "The meeting began")
        assert (since, served) == ("2027-01-15 16:00:00", "0 / 9")
        assert following == "00:00:38 On schedule"

    run_with_board(work)


def test_overdue_keys_can_be_seen_alone_and_are_counted_by_space() -> None:
    async def work(site: BoardSite) -> None:
        await opened(site, 2)
        await put_policy(site.services, TREASURY, EXACT)
        auditor = await site.signed_in("auditor")
        assert "No key is overdue." in (await english(auditor, "/rotation?overdue=1")).text
        advance(site, 3600)
        await look_at_keys(site.services)
        await rotated(site, meeting_id(1))
        page = await english(auditor, "/rotation?overdue=1")
        assert sorted(row[1] for row in page.rows(OPEN)) == [
            f"…{meeting_id(0)[-8:]}", f"…{MEETING[-8:]}",
        ]  # fmt: skip
        assert all(row[3] == "● active ▲ overdue" for row in page.rows(OPEN))
        assert page.links["3 keys in use"] == f"/rotation?space={TREASURY}&overdue=1"
        assert "Counted at 2027-01-15 17:00:00" in page.text

    run_with_board(work)


def test_pages_meet_and_keep_their_filters() -> None:
    async def work(site: BoardSite) -> None:
        await opened(site, PAGE_ROWS + 2)
        auditor, seen = await site.signed_in("auditor"), []
        page = await english(auditor, f"/rotation?space={TREASURY}")
        while True:
            seen += [row[1] for row in page.rows(OPEN)]
            if "Next page" not in page.links:
                break
            assert page.links["Next page"].startswith(f"/rotation?space={TREASURY}&after=")
            page = await english(auditor, page.links["Next page"])
        assert len(seen) == len(set(seen)) == PAGE_ROWS + 3
        assert page.links["Back to the beginning"] == f"/rotation?space={TREASURY}"

    run_with_board(work)


def test_of_another_space_nothing_is_shown() -> None:
    async def work(site: BoardSite) -> None:
        elsewhere = await site.signed_in("officer elsewhere")
        for path in ("/rotation", f"/rotation?space={TREASURY}"):
            answer = await elsewhere.get(path)
            assert answer.status == 200
            assert MEETING not in answer.text
        assert TREASURY not in (await elsewhere.get("/rotation")).text
        assert (await elsewhere.get(f"/rotation/{TREASURY}/{MEETING}")).status == 404
        operator = replace(WATCHER, spaces=frozenset({BANKING}))
        with pytest.raises(NotFound):
            await rotation_of(site.services, Call(operator, "rotation.read", ""), TREASURY, MEETING)

    run_with_board(work)


def test_operators_see_a_confidential_meetings_times_and_head_count_alone() -> None:
    async def work(site: BoardSite) -> None:
        await opened(site, PAGE_ROWS)
        last = meeting_id(PAGE_ROWS - 1)
        for hidden in (last, MEETING):
            await changed(site, hidden, host=ALPHA)
        operator, auditor = await site.signed_in("operator"), await site.signed_in("auditor")
        raw = (await operator.get("/rotation")).text
        assert last not in raw
        assert last[-8:] not in raw
        page = await english(operator, "/rotation")
        row = next(one for one in page.rows(OPEN) if "Confidential" in one[1])
        assert row[1] == "Confidential meeting 2 on the roster"
        assert row[2:5] == ["—", "—", "—"]
        assert row[5] == "2027-01-15 16:00:00"
        for named in (MEETING, "01000000-0000-7000-8000-000000000000"):
            assert (await operator.get(f"/rotation?after={TREASURY}/{named}")).status == 400
        following = await english(operator, page.links["Next page"])
        assert [one[1] for one in following.rows(OPEN)] == ["Confidential meeting 2 on the roster"]
        assert (await operator.get(f"/rotation/{TREASURY}/{last}")).status == 404
        assert last in (await auditor.get("/rotation")).text

    run_with_board(work)


def test_a_meetings_epochs_stand_newest_first_and_the_next_ahead() -> None:
    async def work(site: BoardSite) -> None:
        await opened(site, 1)
        meeting = meeting_id(0)
        for _ in range(PAGE_ROWS + 4):
            await rotated(site, meeting)
        auditor = await site.signed_in("auditor")
        page = await english(auditor, f"/rotation/{TREASURY}/{meeting}")
        epochs = page.rows("Epochs")
        assert [int(row[0]) for row in epochs] == list(range(PAGE_ROWS + 4, 4, -1))
        assert epochs[0][1:3] == ["● active", "On suspicion"]
        assert epochs[-1][1] == "◌ deactivated"
        assert f"Present epoch {PAGE_ROWS + 4} ● active" in page.text
        older = await english(auditor, page.links["Next page"])
        assert [int(row[0]) for row in older.rows("Epochs")] == [4, 3, 2, 1, 0]
        assert older.links["Back to the beginning"] == f"/rotation/{TREASURY}/{meeting}"

    run_with_board(work)


def test_operators_see_a_meetings_present_and_no_epochs_and_when_it_has_ended() -> None:
    async def work(site: BoardSite) -> None:
        operator, path = await site.signed_in("operator"), f"/rotation/{TREASURY}/{MEETING}"
        page = await english(operator, path)
        assert "Present epoch 0 ● active" in page.text
        assert "Epochs" not in page.tables
        assert "You see metadata only" in page.text
        await closed(site, MEETING)
        assert "The meeting has ended" in (await english(operator, path)).text
        assert not (await english(operator, "/rotation")).rows(OPEN)

    run_with_board(work)


def test_a_sealed_space_is_named_as_left_out() -> None:
    async def work(site: BoardSite) -> None:
        site.services.seals.spaces.add(TREASURY)
        page = await english(await site.signed_in("auditor"), "/rotation")
        assert f"These spaces are sealed or their token is away: {TREASURY}." in page.text
        assert "No meeting is open." in page.text

    run_with_board(work)


def test_a_query_that_says_nothing_is_refused_and_not_repeated() -> None:
    async def work(site: BoardSite) -> None:
        auditor = await site.signed_in("auditor")
        wrong = (
            "space=%3Cscript%3E",
            "overdue=2",
            "after=treasury",
            "after=~AAAA",
            "space=a&space=b",
        )
        for query in wrong:
            for path in ("/rotation", "/parts/rotation"):
                answer = await auditor.get(f"{path}?{query}")
                assert answer.status == 400, query
                assert "<script>" not in answer.text.partition("<main")[2]

    run_with_board(work)


def test_the_live_part_asks_again_for_the_same_page() -> None:
    async def work(site: BoardSite) -> None:
        auditor = await site.signed_in("auditor")
        whole = (await auditor.get(f"/rotation?space={BANKING}")).text
        assert f'hx-get="/parts/rotation?space={BANKING}"' in whole
        part = (await auditor.get(f"/parts/rotation?space={TREASURY}")).text
        assert "<html" not in part
        assert MEETING in part

    run_with_board(work)
