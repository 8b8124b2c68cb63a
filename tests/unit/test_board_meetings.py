"""The board's pages about how meetings are protected, over a FAKE HSM."""

from collections import Counter
from dataclasses import replace
from urllib.parse import quote

import pytest

from kms.domain.models import Role, RotationReason
from kms.domain.score import Cipher
from kms.errors import NotFound
from kms.ports import Unit
from kms.usecases import deeds
from kms.usecases.lifecycle.holds import place
from kms.usecases.meetings import rotate
from kms.usecases.scores import report_media
from kms.usecases.services import Call
from kms.usecases.watch.state import SpaceKeys
from kms.usecases.watch.survey import WATCHER
from kms.web.visit import PAGE_ROWS
from tests.fixtures.api import BANKING, BETA, TREASURY, Clock
from tests.fixtures.approvals import MEETING
from tests.fixtures.board import BoardSite, run_with_board
from tests.fixtures.board_meetings import (
    changed,
    closed,
    english,
    fetched,
    indexed,
    meeting_id,
    opened,
    server,
)
from tests.fixtures.store import draft

LIST, PAGE = f"/meetings?space={TREASURY}", f"/meetings/{TREASURY}/{MEETING}"
OPEN, REASONS, FETCHED = "Open meetings", "Reasons of the score", "Who fetched keys"
DAY = 24 * 3600


async def reported(site: BoardSite, cipher: Cipher) -> None:
    await report_media(site.services, Call(server(), "media.report", ""), TREASURY, MEETING, cipher)


def test_the_list_shows_score_parts_and_the_gravest_warning() -> None:
    async def work(site: BoardSite) -> None:
        await opened(site, 1)
        await reported(site, Cipher.AES_256_GCM_SHA512_128)
        page = await english(await site.signed_in("officer"), LIST)
        rows = {row[0]: row[1:5] for row in page.rows(OPEN)}
        unknown = "Not shown: the server has reported no media cipher"
        assert rows[f"…{meeting_id(0)[-8:]}"] == ["✕ 0.00", "D0/A0/K0", unknown, "not reported"]
        number, vector, _, cipher = rows[f"…{MEETING[-8:]}"]
        assert (number, vector, cipher) == ("▲ 0.25", "D1/A0/K0", "AES_256_GCM_SHA512_128")
        assert "Trusted space: the meeting server is a recipient" in page.text
        roster = await english(await site.signed_in("officer"), f"/meetings?space={BANKING}")
        assert "Roster space: keys go to the participants' devices alone" in roster.text
        assert "No meeting is open in this space." in roster.text

    run_with_board(work)


def test_the_pages_of_one_space_open_on_the_one_with_the_most_meetings() -> None:
    async def work(site: BoardSite) -> None:
        auditor = await site.signed_in("auditor")
        first = f'value="{BANKING}" selected'
        for path in ("/meetings", "/plots"):
            assert first in (await auditor.get(path)).text
        facts = site.services.watched.facts
        facts.keys[BANKING] = SpaceKeys(Counter(active=1), 0, 0)
        facts.keys[TREASURY] = SpaceKeys(Counter(active=2), 0, 0)
        for path in ("/meetings", "/plots"):
            assert f'value="{TREASURY}" selected' in (await auditor.get(path)).text
        live = (await auditor.get("/meetings")).text
        assert f'hx-get="/parts/meetings?space={TREASURY}&amp;state=open"' in live
        assert first in (await auditor.get(f"/meetings?space={BANKING}")).text

    run_with_board(work)


def test_pages_meet_and_those_that_have_ended_stand_apart() -> None:
    async def work(site: BoardSite) -> None:
        meetings = await opened(site, PAGE_ROWS + 1)
        await closed(site, meetings[0])
        auditor = await site.signed_in("auditor")
        first = await english(auditor, LIST)
        second = await english(auditor, first.links["Next page"])
        seen = [row[0] for page in (first, second) for row in page.rows(OPEN)]
        assert len(seen) == len(set(seen)) == PAGE_ROWS + 1
        ended = await english(auditor, f"{LIST}&state=closed")
        (row,) = ended.rows("Meetings that have ended")
        assert row[:2] == [f"…{meetings[0][-8:]}", "◌ closed"]
        assert f"…{meetings[0][-8:]}" not in seen

    run_with_board(work)


def test_one_meeting_is_found_by_its_id() -> None:
    async def work(site: BoardSite) -> None:
        auditor = await site.signed_in("auditor")
        assert "index of the log" in (await english(auditor, f"/meetings?meeting={MEETING}")).text
        indexed(site)
        for typed in (
            f"%20{MEETING}",
            MEETING[-8:],
            f"…{MEETING[-8:]}",
            f"...{MEETING[-8:].upper()}",
        ):
            found = await auditor.get(f"/meetings?space={BANKING}&meeting={quote(typed, '%')}")
            assert (found.status, found.header("location")) == (303, PAGE), typed
        for query in ("meeting=x", "state=any", "space=%3Cb%3E", "after=x"):
            answer = await auditor.get(f"/meetings?{query}")
            assert answer.status == 400, query
            assert "<b>" not in answer.text

    run_with_board(work)


def test_an_id_that_is_wrong_is_asked_for_again_at_its_field() -> None:
    async def work(site: BoardSite) -> None:
        auditor = await site.signed_in("auditor")
        page = await english(auditor, "/meetings?meeting=%3Cb%3E", 400)
        assert "by the last 8 characters of it" in page.text
        assert page.fields["meeting"] == "<b>"
        assert not page.rows(OPEN)

    run_with_board(work)


def test_an_ending_that_several_have_is_a_list_and_one_that_none_has_says_so() -> None:
    async def work(site: BoardSite) -> None:
        (one,), other = await opened(site, 1), meeting_id(1 << 40)
        path = f"spaces/{BANKING}/meetings/{other}"
        leaf = draft("meeting.open", space=BANKING, resource=path)
        await site.services.store.commit(Unit(leaves=(leaf,)))
        indexed(site)
        auditor, ending = await site.signed_in("auditor"), one[-8:]
        several = await english(auditor, f"/meetings?meeting={ending}")
        assert several.rows("Meetings whose ids end so") == [
            [BANKING, other], [TREASURY, one],
        ]  # fmt: skip
        assert several.links[one] == f"/meetings/{TREASURY}/{one}"
        elsewhere = await site.signed_in("officer elsewhere")
        found = await elsewhere.get(f"/meetings?meeting={ending}")
        assert found.header("location") == f"/meetings/{BANKING}/{other}"
        for hidden in (MEETING, MEETING[-8:], "0badc0de"):
            none = await english(elsewhere, f"/meetings?meeting={hidden}")
            assert "No meeting of the spaces that you may see" in none.text
        operator = await site.signed_in("operator")
        assert (await operator.get(f"/meetings?meeting={ending}")).status == 403

    run_with_board(work)


def test_an_ended_meeting_says_what_was_never_used_and_rotates_no_more() -> None:
    async def work(site: BoardSite) -> None:
        await opened(site, 1)
        meeting = meeting_id(0)
        auditor = await site.signed_in("auditor")
        assert (
            "When its key rotates next"
            in (await english(auditor, f"/meetings/{TREASURY}/{meeting}")).links
        )
        call = Call(server(), "epoch.rotate", "")
        await rotate(site.services, call, TREASURY, meeting, RotationReason.MANUAL)
        await closed(site, meeting)
        page = await english(auditor, f"/meetings/{TREASURY}/{meeting}")
        assert "When its key rotates next" not in page.links
        assert "Last epoch in use 0" in page.text
        unused, used = page.rows("Epochs")
        assert unused[:2] == ["1", "✕ destroyed published ahead, never used"]
        assert used[:2] == ["0", "◌ deactivated"]
        assert "The last key is out of use" in page.text
        assert "Without that the number is 0" in page.text

    run_with_board(work)


def test_a_score_shows_every_reason_with_links_to_its_evidence() -> None:
    async def work(site: BoardSite) -> None:
        await reported(site, Cipher.AES_256_GCM_SHA512_128)
        leaf = site.services.store.tree_size() - 1
        auditor = await english(await site.signed_in("auditor"), PAGE)
        rows = auditor.rows(REASONS)
        assert [row[1] for row in rows] == sorted(row[1] for row in rows)
        told = next(row for row in rows if "media encrypted with" in row[2])
        assert told[:2] == ["Encrypted (D)", "✓ yes"]
        assert auditor.links[f"log entry {leaf}"] == f"/audit/leaves/{leaf}"
        assert auditor.links["epoch 0"] == f"{PAGE}#epoch-0"
        officer = await english(await site.signed_in("officer"), PAGE)
        assert f"log entry {leaf}" in officer.text
        assert f"log entry {leaf}" not in officer.links
        assert FETCHED not in officer.text

    run_with_board(work)


async def _fetched_on_two_days(site: BoardSite) -> None:
    """Let two servers fetch: one twice on the first day, the other on the second day, when one of
    another space is refused.
    """
    clock = site.services.clock
    assert isinstance(clock, Clock)
    for _ in range(2):
        await fetched(site, MEETING, server())
    clock.seconds += DAY
    await fetched(site, MEETING, server("ms-beta", BETA))
    stranger = replace(server("ms-stranger", BETA), spaces=frozenset({BANKING}))
    with pytest.raises(NotFound):
        await fetched(site, MEETING, stranger)


def test_who_fetched_on_a_day_is_told_with_the_entries_of_the_log() -> None:
    async def work(site: BoardSite) -> None:
        await _fetched_on_two_days(site)
        auditor = await site.signed_in("auditor")
        away = await english(auditor, PAGE)
        assert "cannot be looked up" in away.text
        indexed(site)
        rows = (await english(auditor, PAGE)).rows(FETCHED)
        assert {(row[0], row[2], row[3], row[4]) for row in rows} == {
            ("ms-alpha", "alpha", "✓ succeeded", "2"), ("ms-beta", "beta", "✓ succeeded", "1"),
        }  # fmt: skip
        page = await english(auditor, f"{PAGE}?from=2027-01-15&until=2027-01-15")
        ((who, *_, first, last),) = page.rows(FETCHED)
        assert who == "ms-alpha"
        assert all("2027-01-15 16:00:00 log entry " in one for one in (first, last))
        assert first != last
        assert page.links["2"] == (
            f"/audit?meeting={MEETING}&space={TREASURY}&actor=ms-alpha&action=envelope.fetch"
            "&since=2027-01-15T00%3A00&until=2027-01-16T00%3A00"
        )
        assert (page.fields["from"], page.fields["until"]) == ("2027-01-15", "2027-01-15")
        single = await english(auditor, page.links["2"])
        assert single.text.count("ms-alpha") >= 2
        none = await english(auditor, f"{PAGE}?from=2027-01-17")
        assert "Nobody fetched a key" in none.text
        wrong = await english(auditor, f"{PAGE}?from=2027-13-01", 400)
        assert "a day is given as year, month and day" in wrong.text
        assert not wrong.rows(FETCHED)

    run_with_board(work)


def test_what_the_journal_does_not_know_yet_is_told_all_the_same_or_that_it_cannot_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(site: BoardSite) -> None:
        await _fetched_on_two_days(site)
        indexed(site)
        await fetched(site, MEETING, server("ms-beta", BETA))
        await fetched(site, MEETING, server("ms-gamma", BETA))
        auditor = await site.signed_in("auditor")
        rows = (await english(auditor, PAGE)).rows(FETCHED)
        assert [(row[0], row[4]) for row in rows] == [
            ("ms-gamma", "1"), ("ms-beta", "2"), ("ms-alpha", "2"),
        ]  # fmt: skip
        monkeypatch.setattr(deeds, "TAIL", 0)
        assert "cannot be looked up" in (await english(auditor, PAGE)).text

    run_with_board(work)


def test_holds_partner_and_confidential_mode_are_shown_and_hostile_words_are_not_run() -> None:
    async def work(site: BoardSite) -> None:
        evil = "<script>alert(1)</script> & 'court'"
        officer = replace(WATCHER, name="wang-security", roles=frozenset({Role.OFFICER}))
        await place(site.services, Call(officer, "hold.place", ""), TREASURY, MEETING, evil)
        await changed(site, MEETING, host=BETA, partner=BANKING)
        browser = await site.signed_in("auditor")
        raw = (await browser.get(PAGE)).text
        assert "<script>alert" not in raw
        page = await english(browser, PAGE)
        (hold,) = page.rows("Legal holds")
        assert hold[1:4] == ["this meeting", evil, "Wang-Security wang-security"]
        assert f"Shared with {BANKING}" in page.text
        assert "confidential: only the host invites" in page.text

    run_with_board(work)


def test_of_another_space_nothing_is_shown() -> None:
    async def work(site: BoardSite) -> None:
        elsewhere = await site.signed_in("officer elsewhere")
        assert (await elsewhere.get(PAGE)).status == 404
        answer = await elsewhere.get(LIST)
        assert MEETING not in answer.text
        assert "There is no space that you may know of." in (await english(elsewhere, LIST)).text

    run_with_board(work)


def test_a_sealed_space_is_named_and_scores_nothing() -> None:
    async def work(site: BoardSite) -> None:
        site.services.seals.spaces.add(TREASURY)
        auditor = await site.signed_in("auditor")
        page = await english(auditor, LIST)
        assert "Of this space nothing can be told now." in page.text
        assert (await auditor.get(PAGE)).status == 503

    run_with_board(work)
