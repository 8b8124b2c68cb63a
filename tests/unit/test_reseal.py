"""The background move of keys to the newest vault key, over a FAKE token that opens nothing: what
is moved, what is told of it, and what is left alone.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.domain.models import Principal, PrincipalKind, Role
from kms.domain.rows import SealedRow
from kms.ports import PutRow, ResealItem, Unit
from kms.statements.canonical import make_row
from kms.usecases.rotation import vaults
from kms.usecases.rotation.reseal import Resealing
from kms.usecases.rotation.vaults import SpaceVaults, count_kept, set_paused, vault_status
from kms.usecases.services import Call, lock_name
from kms.usecases.watch.survey import WATCHER
from tests.fixtures.api import MAC, TREASURY
from tests.fixtures.vaults import NEW, OLD, Scene, at_rate, scene

# --- what is moved --------------------------------------------------------------------------------


def test_every_key_is_moved_once_whatever_its_state_and_the_older_vault_stays() -> None:
    async def work(one: Scene) -> None:
        await one.look()
        assert sorted(one.token.moved) == sorted(one.epochs)
        assert one.left() == 0
        assert await one.site.store.count_kept(NEW) == {TREASURY: len(one.epochs)}
        assert not (await one.vault()).revoked
        assert one.token.vaults == {1: OLD, 2: NEW}

    scene(work)


def test_the_log_names_what_was_moved_by_row_and_addendum() -> None:
    async def work(one: Scene) -> None:
        await one.look()
        leaves = one.leaves("vault.rewrap")
        assert dict.fromkeys(one.epochs, 2) == {
            k: v for leaf in leaves for k, v in leaf.rows.items()
        }
        for leaf in leaves:
            told = leaf.details
            assert (told["ceremony"], told["recipient"], told["version"]) == ("", NEW, 2)
            assert told["addenda"] == [one.last_addendum(key) for key in leaf.rows]

    scene(work)


def test_nothing_is_done_where_there_is_one_vault_key() -> None:
    async def work(one: Scene) -> None:
        gone = replace(await one.vault(NEW), revoked=1)
        row = SealedRow(make_row(gone, 2), MAC)
        leaf = LeafDraft(
            "recipient.revoke", "t", "t", "", "x", Phase.EVENT, Outcome.SUCCEEDED,
            rows={row.row.key: 2},
        )  # fmt: skip
        await one.site.store.commit(Unit((PutRow(row),), (leaf,)))
        await one.look()
        assert not one.token.moved
        assert one.left() == len(one.epochs)

    scene(work)


def test_keys_are_moved_under_their_meetings_locks() -> None:
    async def work(one: Scene) -> None:
        seen: list[bool] = []

        async def look(items: Sequence[ResealItem]) -> None:
            meetings = {item.epoch.row.key.split("/")[2] for item in items}
            locks = [one.services.locks.of(lock_name(TREASURY, name)) for name in meetings]
            seen.append(all(lock.locked() for lock in locks))

        one.token.before = look
        await one.look()
        assert seen
        assert all(seen)

    scene(work)


def test_the_rate_of_the_settings_is_kept() -> None:
    async def work(one: Scene) -> None:
        rests: list[float] = []
        real = asyncio.sleep

        async def rest(seconds: float) -> None:
            rests.append(seconds)
            await real(0)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("kms.usecases.rotation.reseal.asyncio.sleep", rest)
            await Resealing(at_rate(one.services, 10)).look()
        assert sum(rests) == pytest.approx(4.5)

    scene(work)


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_key_that_cannot_be_moved_is_told_once_and_keeps_the_older_vault() -> None:
    async def work(one: Scene) -> None:
        bad = one.epochs[7]
        one.token.refused = {bad}
        for _ in range(2):
            await one.look()
        assert one.left() == 1
        assert sorted(one.token.moved) == sorted(set(one.epochs) - {bad})
        (failure,) = one.leaves("integrity.failure")
        _kind, _space, meeting, epoch = bad.split("/")
        assert failure.resource == f"spaces/{TREASURY}/meetings/{meeting}/epochs/{epoch}"
        assert not (await one.vault()).revoked
        status = (await _status(one))[TREASURY]
        assert status.attention
        assert status.failed == ((bad, "integrity_failure"),)
        assert not status.versions[0].retirable
        one.token.refused = set()
        await one.look()
        assert (await _status(one))[TREASURY].versions[0].retirable

    scene(work)


def test_what_cannot_be_moved_is_left_alone_until_people_go_on() -> None:
    async def work(one: Scene) -> None:
        one.token.refused = {one.epochs[0]}
        resealing = Resealing(one.services)
        await resealing.look()
        asked = one.token.asked
        await resealing.look()
        assert one.token.asked == asked
        one.token.refused = set()
        await set_paused(one.services, _call("reseal.resume"), TREASURY, paused=False)
        await resealing.look()
        assert one.left() == 0

    scene(work, epochs=3)


def test_an_older_row_put_back_is_not_moved() -> None:
    async def work(one: Scene) -> None:
        leaf = LeafDraft(
            "epoch.suspend", "t", "t", "", "x", Phase.EVENT, Outcome.SUCCEEDED,
            rows={one.epochs[0]: 2},
        )  # fmt: skip
        await one.site.store.commit(Unit((), (leaf,)))
        await one.look()
        assert one.epochs[0] not in one.token.moved
        assert one.left() == 1

    scene(work)


def test_a_key_whose_row_changed_meanwhile_is_looked_at_again() -> None:
    async def work(one: Scene) -> None:
        async def change(items: Sequence[ResealItem]) -> None:
            one.token.before = None
            row = replace(items[0].epoch.row, version=2)
            leaf = LeafDraft(
                "epoch.suspend", "t", "t", "", "x", Phase.EVENT, Outcome.SUCCEEDED,
                rows={row.key: 2},
            )  # fmt: skip
            await one.site.store.commit(Unit((PutRow(SealedRow(row, MAC)),), (leaf,)))

        one.token.before = change
        await one.look()
        assert one.left() == 5
        assert not one.leaves("integrity.failure")
        await one.look()
        assert one.left() == 0

    scene(work, epochs=5)


def test_a_token_that_does_not_answer_is_tried_again() -> None:
    async def work(one: Scene) -> None:
        one.token.down = True
        await one.look()
        assert one.left() == len(one.epochs)
        assert not one.leaves("integrity.failure")
        one.token.down = False
        await one.look()
        assert one.left() == 0

    scene(work, epochs=5)


# --- pausing --------------------------------------------------------------------------------------


def test_a_pause_holds_for_every_process_until_it_is_ended() -> None:
    async def work(one: Scene) -> None:
        await set_paused(one.services, _call("reseal.pause"), TREASURY, paused=True)
        await one.look()
        assert not one.token.moved
        assert {name for name, one in (await _status(one)).items() if one.paused} == {TREASURY}
        await set_paused(one.services, _call("reseal.resume"), TREASURY, paused=False)
        await one.look()
        assert one.left() == 0
        (paused,), (resumed,) = one.leaves("reseal.pause"), one.leaves("reseal.resume")
        assert paused.resource == resumed.resource == f"spaces/{TREASURY}/reseal"

    scene(work, epochs=3)


def test_a_pause_takes_hold_between_two_batches() -> None:
    async def work(one: Scene) -> None:
        async def pause(_items: Sequence[ResealItem]) -> None:
            await set_paused(one.services, _call("reseal.pause"), TREASURY, paused=True)

        one.token.before = pause
        await one.look()
        assert 0 < one.left() < len(one.epochs)
        assert not (await one.vault()).revoked

    scene(work)


# --- what is shown --------------------------------------------------------------------------------


def test_status_tells_versions_progress_and_what_is_left() -> None:
    async def work(one: Scene) -> None:
        status = (await _status(one))[TREASURY]
        assert [(v.version, v.kept, v.retired) for v in status.versions] == [(1, 3, 0), (2, 0, 0)]
        period = one.services.settings.rotation.vault_seconds
        assert (status.left, status.done) == (3, 0)
        assert status.due == status.versions[-1].registered + period
        await one.look()
        status = (await _status(one))[TREASURY]
        assert [(v.version, v.kept) for v in status.versions] == [(1, 0), (2, 3)]
        assert [v.retirable for v in status.versions] == [True, False]
        assert (status.left, status.done) == (0, 3)
        assert status.attention

    scene(work, epochs=3)


async def _status(one: Scene) -> dict[str, SpaceVaults]:
    found = await vault_status(one.services, Call(WATCHER, "vault.read", ""))
    return {status.space: status for status in found}


def _call(operation: str) -> Call:
    officer = Principal(
        "tester", PrincipalKind.SOCKET, "uid 1", frozenset({Role.OFFICER}), frozenset({"*"})
    )
    return Call(officer, operation, "")


def test_a_count_of_what_a_vault_key_keeps_is_good_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 0.5, 5.4, 5.5, 5.6])  # it took half a second, so it is good for five more
    monkeypatch.setattr(vaults, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    async def work(one: Scene) -> None:
        known = [await one.vault(NEW)]
        before = await count_kept(one.services, known)
        one.services.reseals.counted[NEW] = replace(
            one.services.reseals.counted[NEW], kept=Counter({TREASURY: 7})
        )
        assert (await count_kept(one.services, known))[NEW] == {TREASURY: 7}
        assert await count_kept(one.services, known) == before

    scene(work)
