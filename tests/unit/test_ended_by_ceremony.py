"""What officers ended is ended for the service: nothing is minted in a retired space, and a revoked
server is a stranger.
"""

from dataclasses import replace

import pytest

from kms.api.identity import Identities
from kms.api.peer import Peer
from kms.audit.leaf import LeafDraft, Outcome, Phase, decode_leaf
from kms.domain.models import Principal, PrincipalKind, Recipient, Role, RotationReason, Space
from kms.domain.rows import Record, SealedRow, row_key
from kms.errors import InvalidInput, StateNotAllowed, Unauthenticated
from kms.ports import PutRow, Unit
from kms.statements.canonical import make_row
from kms.usecases.cache import VerifiedCache
from kms.usecases.meetings import change_roster, close_meeting, open_meeting, rotate
from kms.usecases.queries import list_recipients
from kms.usecases.rosters import WantedRoster
from kms.usecases.services import Call, Services
from tests.fixtures.api import ALPHA, BETA, MAC, TREASURY, FakeSite, run_with_site

BOTH, BETA_ALONE = WantedRoster(recipients=(ALPHA, BETA)), WantedRoster(recipients=(BETA,))


def by(operation: str) -> Call:
    everybody = frozenset({Role.MEETING_SERVER, Role.OFFICER, Role.OPERATOR})
    who = Principal("console", PrincipalKind.SOCKET, "uid=0", everybody, frozenset({"*"}))
    return Call(who, operation, "request")


async def after(site: FakeSite, ended: Record) -> Services:
    """Return the services of a process that starts after a ceremony changed a record."""
    row = make_row(ended, site.store.row_version(row_key(ended)) + 1)
    leaf = LeafDraft(
        "space.retire", "tester", "test", "", "spaces", Phase.EVENT, Outcome.SUCCEEDED,
        rows={row.key: row.version},
    )  # fmt: skip
    await site.store.commit(Unit((PutRow(SealedRow(row, MAC)),), (leaf,)))
    return replace(site.services, cache=VerifiedCache(site.store, site.workers))


async def retired(site: FakeSite) -> Services:
    space = await site.services.cache.space(TREASURY)
    assert isinstance(space, Space)
    return await after(site, replace(space, retired=5))


async def without_alpha(site: FakeSite) -> Services:
    alpha = await site.services.cache.recipient(TREASURY, ALPHA)
    assert isinstance(alpha, Recipient)
    return await after(site, replace(alpha, revoked=5))


def test_nothing_is_minted_in_a_retired_space_and_no_intent_is_written() -> None:
    async def work(site: FakeSite) -> None:
        view = await open_meeting(site.services, by("meeting.open"), TREASURY, None, BOTH)
        services, meeting = await retired(site), view.meeting.meeting
        mints, leaves = site.workers.spaces[TREASURY].mints, site.store.tree_size()
        with pytest.raises(StateNotAllowed, match="the space is retired"):
            await open_meeting(services, by("meeting.open"), TREASURY, None, BOTH)
        with pytest.raises(StateNotAllowed, match="the space is retired"):
            await rotate(services, by("epoch.rotate"), TREASURY, meeting, RotationReason.MANUAL)
        with pytest.raises(StateNotAllowed, match="the space is retired"):
            await change_roster(services, by("roster.change"), TREASURY, meeting, BETA_ALONE)
        assert (site.workers.spaces[TREASURY].mints, site.store.tree_size()) == (mints, leaves)

    run_with_site(work)


def test_a_meeting_in_a_retired_space_can_be_closed() -> None:
    async def work(site: FakeSite) -> None:
        view = await open_meeting(site.services, by("meeting.open"), TREASURY, None, BOTH)
        services = await retired(site)
        await close_meeting(services, by("meeting.close"), TREASURY, view.meeting.meeting)
        assert decode_leaf(site.store.leaves(0, 100)[-1]).action == "meeting.close"

    run_with_site(work)


def test_a_revoked_server_is_not_recognised() -> None:
    async def work(site: FakeSite) -> None:
        peer = Peer(spki=ALPHA, expires=site.services.clock.now() + 60)
        assert await Identities(site.services).principal(peer)
        services = await without_alpha(site)
        with pytest.raises(Unauthenticated, match="not registered"):
            await Identities(services).principal(peer)

    run_with_site(work)


def test_a_revoked_server_is_on_no_roster_and_in_no_list() -> None:
    async def work(site: FakeSite) -> None:
        services = await without_alpha(site)
        with pytest.raises(InvalidInput, match="not registered"):
            await open_meeting(services, by("meeting.open"), TREASURY, None, BOTH)
        listed = await list_recipients(services, by("recipient.list"))
        assert [one.name for one in listed] == ["beta"]

    run_with_site(work)
