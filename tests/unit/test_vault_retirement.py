"""The end of an older vault key: by an approved request alone, once nothing depends on it, over a
FAKE token that destroys what it is told to.
"""

from dataclasses import replace

import pytest

from kms.domain.approvals import RequestState, VaultTarget
from kms.domain.ids import RecipientId
from kms.domain.models import Envelope, Epoch, RotationReason
from kms.domain.states import KeyState
from kms.errors import StateNotAllowed
from kms.ports import DropEnvelopes, Unit
from kms.statements.request import OperationRequest
from kms.usecases.approvals.execution import execute_request, finish_executed
from kms.usecases.approvals.requests import sign_request, submit_request
from kms.usecases.rotation.reseal import Resealing
from kms.usecases.rotation.vaults import set_paused
from kms.usecases.watch.detectors import View, vault_retirable
from kms.usecases.watch.survey import look_at_vaults
from tests.fixtures.api import BANKING, TREASURY, Clock
from tests.fixtures.approvals import SECURITY, Board
from tests.fixtures.lifecycle import by
from tests.fixtures.vaults import MEETINGS, NEW, NOW, OLD, Scene, meeting_record, put, scene

BOARD = Board("fake.example", int(Clock().now()))


async def asked(one: Scene, version: int = 1) -> OperationRequest:
    """Hand in a request for the end of a vault key."""
    await BOARD.found(one.site.store, one.services.settings.paths.state)
    wanted = BOARD.request("vault.retire", VaultTarget(version), TREASURY)
    await submit_request(one.services, by("approval.submit"), BOARD.signed(wanted))
    return wanted


async def approved(one: Scene, version: int = 1) -> OperationRequest:
    """Ask, and let enough people approve."""
    wanted = await asked(one, version)
    for name in SECURITY[:2]:
        token = BOARD.approve(name, wanted)
        await sign_request(one.services, by("approval.sign"), wanted.id, token)
    return wanted


async def carry_out(one: Scene, version: int = 1) -> OperationRequest:
    wanted = await approved(one, version)
    done = await execute_request(one.services, by("approval.execute"), wanted.id)
    assert done.record.state is RequestState.EXECUTED
    return wanted


async def refused(one: Scene, words: str, version: int = 1) -> None:
    """Assert that it cannot even be asked for."""
    with pytest.raises(StateNotAllowed, match=words):
        await asked(one, version)
    assert not (await one.vault()).revoked
    assert OLD in one.token.vaults.values()


def test_what_people_approved_is_revoked_in_the_log_and_destroyed() -> None:
    async def work(one: Scene) -> None:
        await one.look()
        wanted = await carry_out(one)
        assert (await one.vault()).revoked == one.services.seconds()
        assert one.token.vaults == {2: NEW}
        (leaf,) = one.leaves("vault.retire")
        assert leaf.resource == f"spaces/{TREASURY}/recipients/{OLD}"
        assert leaf.details == {"version": 1, "request": wanted.id, "digest": wanted.digest()}
        assert leaf.rows == {
            f"recipient/{TREASURY}/{OLD}": 2,
            f"request/{TREASURY}/{wanted.id}": 4,
        }
        (order,) = one.token.orders
        assert order.register == BOARD.token
        assert order.request.row.key.endswith(wanted.id)

    scene(work, epochs=3)


def test_nothing_is_destroyed_without_an_approved_request() -> None:
    async def work(one: Scene) -> None:
        for _ in range(2):
            await one.look()
        assert one.left() == 0
        assert one.token.vaults == {1: OLD, 2: NEW}
        assert not one.token.orders

    scene(work, epochs=3)


def test_a_vault_key_that_keeps_something_stays() -> None:
    async def work(one: Scene) -> None:
        await refused(one, "3 keys depend on vault key 1")

    scene(work, epochs=3)


def test_a_vault_key_that_another_space_still_needs_stays() -> None:
    """A shared meeting's keys are wrapped to the partner's vault too, in the host's space."""

    async def work(one: Scene) -> None:
        meeting = replace(meeting_record(MEETINGS[0]), space=BANKING)
        epoch = Epoch(
            BANKING, MEETINGS[0], 0, KeyState.ACTIVE, RotationReason.OPEN, NOW, NOW + 9, 1,
            "e30.e30.e30",
        )  # fmt: skip
        await put(one.site, [meeting, epoch], Envelope(BANKING, MEETINGS[0], 0, OLD, b"blob"))
        await one.look()
        assert one.left() == 0
        await refused(one, "1 keys depend")

    scene(work, epochs=3)


def test_a_failure_that_stands_keeps_it_until_people_go_on() -> None:
    async def work(one: Scene) -> None:
        one.token.refused = {one.epochs[0]}
        resealing = Resealing(one.services)
        await resealing.look()
        await one.site.store.commit(Unit((DropEnvelopes(TREASURY, MEETINGS[0], 0),)))
        await refused(one, "1 could not be moved")
        await set_paused(one.services, by("reseal.resume"), TREASURY, paused=False)
        await resealing.look()
        await carry_out(one)
        assert one.token.vaults == {2: NEW}

    scene(work, epochs=3)


def test_what_began_to_depend_on_it_meanwhile_stops_an_approved_request() -> None:
    async def work(one: Scene) -> None:
        await one.look()
        wanted = await approved(one)
        back = Envelope(TREASURY, MEETINGS[0], 0, OLD, b"restored")
        await put(one.site, [], back)
        with pytest.raises(StateNotAllowed):
            await execute_request(one.services, by("approval.execute"), wanted.id)
        assert OLD in one.token.vaults.values()

    scene(work, epochs=3)


@pytest.mark.parametrize(("version", "words"), [(2, "new keys go to"), (7, "no vault key 7")])
def test_the_newest_and_an_unknown_vault_key_are_refused(version: int, words: str) -> None:
    async def work(one: Scene) -> None:
        await one.look()
        await refused(one, words, version)

    scene(work, epochs=3)


def test_a_vault_key_is_destroyed_once() -> None:
    async def work(one: Scene) -> None:
        await one.look()
        await carry_out(one)
        with pytest.raises(StateNotAllowed, match="destroyed already"):
            await asked(one)

    scene(work, epochs=3)


def test_what_the_token_did_not_do_is_done_at_the_next_start_and_no_more() -> None:
    async def work(one: Scene) -> None:
        await one.look()
        one.token.retires = False
        await carry_out(one)
        assert (await one.vault()).revoked
        assert one.token.vaults == {1: OLD, 2: NEW}
        one.token.retires = True
        for _ in range(2):
            await finish_executed(one.services)
        assert one.token.vaults == {2: NEW}
        assert len(one.token.orders) == len(one.leaves("vault.retire")) == 1

    scene(work, epochs=3)


def test_a_key_of_the_same_number_and_another_id_stays_on_the_token() -> None:
    """A restored site's vault keys may bear numbers that retired ones had."""

    async def work(one: Scene) -> None:
        await one.look()
        await carry_out(one)
        other = RecipientId("3" * 43)
        one.token.vaults[1] = other
        await finish_executed(one.services)
        assert one.token.vaults == {1: other, 2: NEW}

    scene(work, epochs=3)


def test_people_are_told_that_it_can_be_destroyed() -> None:
    async def work(one: Scene) -> None:
        async def told() -> dict[str, int]:
            await look_at_vaults(one.services)
            view = View(one.services.watched, one.services.seconds(), 0.0)
            return {one.subject: one.number for one in vault_retirable(view)}

        assert (await told())[TREASURY] == 0
        await one.look()
        assert (await told())[TREASURY] == 1
        await carry_out(one)
        assert (await told())[TREASURY] == 0

    scene(work, epochs=3)
