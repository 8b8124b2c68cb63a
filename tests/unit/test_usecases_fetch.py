"""Fetching while the meeting changes: what was allowed a moment ago is not handed out now."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from kms.audit.leaf import decode_leaf
from kms.domain.models import Principal, PrincipalKind, Role
from kms.domain.rows import RowKind, SealedRow
from kms.errors import ConclaveError, Forbidden, NotFound, Sealed
from kms.usecases.cache import VerifiedCache
from kms.usecases.envelopes import FetchedEnvelope, Wanted, fetch_batch, fetch_envelope
from kms.usecases.meetings import change_roster, open_meeting
from kms.usecases.rosters import WantedRoster
from kms.usecases.services import Call, Services
from tests.fixtures.api import ALPHA, BANKING, BETA, TREASURY, FakeSite, run_with_site

SERVER = Principal(
    "server:alpha",
    PrincipalKind.TLS,
    ALPHA,
    frozenset({Role.MEETING_SERVER}),
    frozenset({TREASURY}),
    ALPHA,
)
Fetch = Callable[[Services, Call, Wanted], Awaitable[FetchedEnvelope | ConclaveError]]


async def alone(services: Services, call: Call, wanted: Wanted) -> FetchedEnvelope | ConclaveError:
    try:
        return await fetch_envelope(services, call, wanted)
    except ConclaveError as error:
        return error


async def together(
    services: Services, call: Call, wanted: Wanted
) -> FetchedEnvelope | ConclaveError:
    return (await fetch_batch(services, call, [wanted]))[0]


def by(operation: str) -> Call:
    return Call(SERVER, operation, "request")


async def opened(services: Services) -> Wanted:
    wanted = WantedRoster(recipients=(ALPHA, BETA))
    view = await open_meeting(services, by("meeting.open"), TREASURY, None, wanted)
    return Wanted(TREASURY, view.meeting.meeting, 0, ALPHA)


def actions(services: Services) -> list[str]:
    return [decode_leaf(leaf).action for leaf in services.store.leaves(0, 100)]


@pytest.mark.parametrize("fetch", [alone, together])
def test_a_leave_that_begins_and_ends_during_a_fetch_forbids_it(fetch: Fetch) -> None:
    async def work(site: FakeSite) -> None:
        wanted = await opened(site.services)
        cold = replace(site.services, cache=VerifiedCache(site.store, site.workers))
        token = site.workers.spaces[TREASURY]
        left = False

        async def check_rows(rows: Sequence[SealedRow]) -> None:
            nonlocal left
            if rows[0].row.kind is RowKind.EPOCH and not left:
                left = True
                leave = WantedRoster(recipients=(BETA,))
                await change_roster(cold, by("roster.change"), TREASURY, wanted.meeting, leave)

        token.check_rows = check_rows
        answer = await fetch(cold, by("envelope.fetch"), wanted)
        assert left
        assert isinstance(answer, Forbidden)
        assert "envelope.fetch" not in actions(cold)

    run_with_site(work)


@pytest.mark.parametrize("fetch", [alone, together])
def test_another_spaces_rows_are_not_even_looked_up(fetch: Fetch) -> None:
    async def work(site: FakeSite) -> None:
        wanted = replace(await opened(site.services), space=BANKING)
        cold = replace(site.services, cache=VerifiedCache(site.store, site.workers))
        site.workers.site.down = site.workers.spaces[BANKING].down = True
        assert isinstance(await fetch(cold, by("envelope.fetch"), wanted), NotFound)
        assert actions(cold)[-1] == "access.refused"

    run_with_site(work)


def test_the_refusals_of_a_batch_are_written_with_one_commit() -> None:
    async def work(site: FakeSite) -> None:
        wanted = await opened(site.services)
        sizes: list[int] = []
        stop = site.store.subscribe(sizes.append)
        call, foreign = by("envelope.batch"), replace(wanted, recipient=BETA)
        answers = await fetch_batch(site.services, call, [foreign, wanted, foreign])
        stop()
        kinds = [type(answer) for answer in answers]
        assert kinds == [Forbidden, FetchedEnvelope, Forbidden]
        assert actions(site.services)[-3:] == ["access.refused", "envelope.fetch", "access.refused"]
        assert len(sizes) == 1

    run_with_site(work)


@pytest.mark.parametrize("fetch", [alone, together])
def test_a_seal_during_a_fetch_forbids_it(fetch: Fetch) -> None:
    async def work(site: FakeSite) -> None:
        wanted = await opened(site.services)
        cold = replace(site.services, cache=VerifiedCache(site.store, site.workers))
        token = site.workers.spaces[TREASURY]

        async def check_rows(rows: Sequence[SealedRow]) -> None:
            if rows[0].row.kind is RowKind.EPOCH:
                cold.seals.add(TREASURY)

        token.check_rows = check_rows
        assert isinstance(await fetch(cold, by("envelope.fetch"), wanted), Sealed)
        assert "envelope.fetch" not in actions(cold)

    run_with_site(work)
