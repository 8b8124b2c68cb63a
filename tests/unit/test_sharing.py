"""Sharing a meeting with another space, over a FAKE HSM that checks nothing: what the service
refuses, who may end it. What the worker refuses is in test_worker_sharing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from kms.audit.leaf import Outcome, Phase
from kms.domain.approvals import Sharing
from kms.domain.grants import Share
from kms.domain.ids import SpaceName
from kms.domain.models import (
    Principal,
    PrincipalKind,
    Recipient,
    RecipientKind,
    Role,
    RotationReason,
)
from kms.domain.rows import Record, RowKind, SealedRow
from kms.domain.states import MeetingState
from kms.errors import Forbidden, IntegrityFailure, InvalidInput, NotFound, Sealed, StateNotAllowed
from kms.ports import PutRow, Unit
from kms.statements.canonical import make_row, read_row
from kms.usecases.meetings import close_meeting, rotate
from kms.usecases.queries import get_meeting
from kms.usecases.sharing import give_next_key
from tests.fixtures.api import BANKING, MAC, TREASURY, FakeSite, run_with_site
from tests.fixtures.lifecycle import Room, asked, by, carry_out, opened

VAULT = "v" * 43


@dataclass
class Shared(Room):
    """A room of the treasury whose token knows the vault of investment banking."""

    async def share(self, partner: str = BANKING) -> None:
        parameters = Sharing(self.meeting, SpaceName(partner))
        await carry_out(self.site, "meeting.share", parameters)

    async def put(self, *records: tuple[Record, int]) -> None:
        """Write rows behind the API's back, with a leaf that names them."""
        rows = [make_row(*one) for one in records]
        leaf = by("recipient.register").leaf(
            "", "test", Phase.EVENT, Outcome.SUCCEEDED, rows={row.key: row.version for row in rows}
        )
        sealed = [SealedRow(row, MAC) for row in rows]
        await self.site.store.commit(Unit(tuple(map(PutRow, sealed)), (leaf,)))
        for row in rows:
            self.site.services.cache.forget(row.key)


def partner(name: str = BANKING, **changes: Any) -> Recipient:
    kind = RecipientKind.PARTNER
    return replace(Recipient(TREASURY, VAULT, kind, name, 1, "AAAA", "", 1), **changes)


def vault(**changes: Any) -> Recipient:
    """Return the partner's own vault key."""
    return partner("vault/1", space=BANKING, kind=RecipientKind.VAULT, **changes)


def sharing(work: Callable[[Shared], Awaitable[None]], *, registered: bool = True) -> None:
    async def run(site: FakeSite) -> None:
        room = await opened(site)
        shared = Shared(site, room.meeting)
        await shared.put((vault(), 1))
        if registered:
            await shared.put((partner(), 1))
        await work(shared)

    run_with_site(run)


def person(role: Role, *spaces: str) -> Principal:
    return Principal(role, PrincipalKind.SOCKET, "uid:7", frozenset({role}), frozenset(spaces))


# --- what may be shared ---------------------------------------------------------------------------


def test_a_share_names_the_partner_in_share_and_meeting() -> None:
    async def work(room: Shared) -> None:
        await room.share()
        record = await room.record()
        assert record.partner == BANKING
        sealed = room.site.store.row(RowKind.SHARE, f"share/{TREASURY}/{room.meeting}")
        assert sealed is not None
        share = read_row(sealed.row)
        (leaf,) = room.leaves("meeting.share")
        assert isinstance(share, Share)
        assert (share.partner, share.request) == (BANKING, leaf.details["request"])
        assert leaf.resource == f"spaces/{TREASURY}/meetings/{room.meeting}"
        assert leaf.details["partner"] == BANKING
        assert {key.partition("/")[0] for key in leaf.rows} == {"share", "meeting", "request"}

    sharing(work)


def test_a_partner_whose_vault_is_not_registered_is_refused() -> None:
    async def work(room: Shared) -> None:
        wrong = (
            partner("markets"),
            partner(revoked=1),
            partner(kind=RecipientKind.SERVER, tls_spki="t" * 43),
        )
        with pytest.raises(StateNotAllowed, match="not registered"):
            await room.share()
        for version, record in enumerate(wrong, 1):
            await room.put((record, version))
            with pytest.raises(StateNotAllowed, match="not registered"):
                await room.share()
        await room.put((partner(), len(wrong) + 1))
        await room.share()

    sharing(work, registered=False)


def test_a_registered_vault_that_the_partner_has_retired_is_refused() -> None:
    async def work(room: Shared) -> None:
        await room.put((vault(revoked=1), 2))
        with pytest.raises(StateNotAllowed, match="retired"):
            await room.share()

    sharing(work)


def test_only_an_open_meeting_is_shared_and_only_once() -> None:
    async def work(room: Shared) -> None:
        await room.share()
        with pytest.raises(StateNotAllowed, match="already"):
            await room.share()
        await room.close()
        with pytest.raises(StateNotAllowed, match="closed"):
            await room.share()

    sharing(work)


@pytest.mark.parametrize("which", [TREASURY, BANKING])
@pytest.mark.parametrize("end", ["retired", "sealed"])
def test_both_spaces_are_in_service(which: SpaceName, end: str) -> None:
    async def work(room: Shared) -> None:
        record = await room.site.services.cache.space(which)
        await room.put((replace(record, **{end: 5}), 2))
        with pytest.raises((StateNotAllowed, Sealed)):
            await room.share()

    sharing(work)


def test_a_space_that_is_not_there_and_the_space_itself_are_no_partners() -> None:
    async def work(room: Shared) -> None:
        with pytest.raises(NotFound):
            await room.share("markets")
        with pytest.raises(InvalidInput):
            await room.share(TREASURY)

    sharing(work)


# --- the next key ---------------------------------------------------------------------------------


def test_the_next_key_is_made_at_once_until_the_partner_has_one() -> None:
    async def work(room: Shared) -> None:
        checked = asked("meeting.share", Sharing(room.meeting, BANKING), "r")
        orders = []
        token = room.site.workers.spaces[TREASURY]
        mint = token.mint

        async def noted(order: Any) -> Any:
            orders.append(order)
            return await mint(order)

        token.mint = noted
        await room.share()
        await give_next_key(room.site.services, by("approval.execute"), checked)
        (order,) = orders
        assert (order.meeting.partner, order.reason) == (BANKING, RotationReason.MANUAL)
        assert order.share.row.key == f"share/{TREASURY}/{room.meeting}"
        (done,) = [one for one in room.leaves("epoch.rotate") if one.phase is Phase.RESULT]
        assert done.details["epoch"] == 1
        await room.close()
        await give_next_key(room.site.services, by("approval.execute"), checked)
        assert len(orders) == 1

    sharing(work)


def test_a_meeting_whose_share_is_gone_mints_nothing() -> None:
    async def work(room: Shared) -> None:
        record = await room.record()
        await room.put((replace(record, partner=BANKING), 2))
        with pytest.raises(IntegrityFailure):
            await room.rotate()

    sharing(work)


# --- who may end it -------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.OFFICER, Role.MEETING_SERVER])
def test_the_partners_people_may_end_what_they_share(role: Role) -> None:
    async def work(room: Shared) -> None:
        services, their = room.site.services, by("meeting.close", person(role, BANKING))
        with pytest.raises(NotFound):
            await close_meeting(services, their, TREASURY, room.meeting)
        await room.share()
        view = await close_meeting(services, their, TREASURY, room.meeting)
        assert view.meeting.state is MeetingState.CLOSED
        (leaf,) = room.leaves("meeting.close")
        assert (leaf.space, leaf.actor) == (TREASURY, role)

    sharing(work)


def test_nobody_else_ends_or_sees_it_and_no_refusal_is_about_another_space() -> None:
    async def work(room: Shared) -> None:
        await room.share()
        services = room.site.services
        for principal, error in (
            (person(Role.OFFICER, "markets"), NotFound),
            (person(Role.AUDITOR, BANKING), Forbidden),
            (person(Role.OPERATOR, BANKING), Forbidden),
        ):
            with pytest.raises(error):
                await close_meeting(
                    services, by("meeting.close", principal), TREASURY, room.meeting
                )
        server = person(Role.MEETING_SERVER, BANKING)
        with pytest.raises(NotFound):
            await get_meeting(services, by("meeting.read", server), TREASURY, room.meeting)
        call = by("epoch.rotate", person(Role.OFFICER, BANKING))
        with pytest.raises(NotFound):
            await rotate(services, call, TREASURY, room.meeting, RotationReason.SUSPICION)
        for leaf in room.leaves("access.refused"):
            named = leaf.resource.split("/")[1] if "/" in leaf.resource else ""
            assert named == leaf.space
        assert (await room.record()).state is MeetingState.OPEN

    sharing(work)


@pytest.mark.parametrize("role", [Role.OFFICER, Role.AUDITOR])
def test_the_partners_people_read_the_meeting(role: Role) -> None:
    async def work(room: Shared) -> None:
        call = by("meeting.read", person(role, BANKING))
        with pytest.raises(NotFound):
            await get_meeting(room.site.services, call, TREASURY, room.meeting)
        await room.share()
        view = await get_meeting(room.site.services, call, TREASURY, room.meeting)
        assert view.meeting.partner == BANKING

    sharing(work)


def test_a_share_that_its_meeting_does_not_name_opens_nothing() -> None:
    """A row of a share that was planted, or left behind, beside a meeting that is not shared."""

    async def work(room: Shared) -> None:
        await room.put((Share(TREASURY, room.meeting, BANKING, "r", 1), 1))
        call = by("meeting.close", person(Role.OFFICER, BANKING))
        with pytest.raises(IntegrityFailure):
            await close_meeting(room.site.services, call, TREASURY, room.meeting)

    sharing(work)


def test_the_owners_seal_holds_for_the_partner_too() -> None:
    async def work(room: Shared) -> None:
        await room.share()
        room.site.services.seals.add(TREASURY)
        call = by("meeting.close", person(Role.OFFICER, BANKING))
        with pytest.raises(Sealed):
            await close_meeting(room.site.services, call, TREASURY, room.meeting)

    sharing(work)
