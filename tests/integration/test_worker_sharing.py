"""Shared meetings at the real worker on a real token: the partner receives a key only by a share
that people of both spaces approved, and whose vault officers registered.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from kms.domain.approvals import Sharing
from kms.domain.grants import Share
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, Meeting, RecipientKind
from kms.domain.rows import SealedRow
from kms.errors import ApprovalRequired, Forbidden, QuorumNotMet, VerificationFailed
from kms.hsm.client import SpaceWorker, Workers
from kms.ports import Approved, Minted, MintOrder
from kms.statements import jws
from kms.statements.canonical import make_row, read_row
from kms.statements.readers import peek_readers
from tests.fixtures.approvals import SECURITY, Board
from tests.fixtures.hsm import (
    BANKING,
    MEETING,
    SITE,
    TREASURY,
    HsmSite,
    hsm_site,
    software_keys,
    trusted_order,
)

SPACE, PARTNER = SpaceName(TREASURY), SpaceName(BANKING)
OTHER_MEETING = MeetingId("0193a5b0-7c3e-7000-8000-ffffffffffff")
VAULT = rsa.generate_private_key(65537, 3072)
OURS, THEIRS = SECURITY[:2], SECURITY[2:]
BOUND = {**dict.fromkeys(OURS, (TREASURY,)), **dict.fromkeys(THEIRS, (BANKING,))}
"""Half of the officers approve for one space, half for the other."""


@pytest.fixture
def site() -> Iterator[HsmSite]:
    for made in hsm_site():
        spki = jws.spki_der(VAULT.public_key())
        made.as_officer("space-t", "trust_partner", BANKING, 3, spki)
        made.start("space-t")
        yield made


def sharing(names: tuple[str, ...] = SECURITY, **changes: Any) -> Approved:
    """Return the sharing of the meeting that these people approved; ``rows`` of something else."""
    board = Board(SITE, int(time.time()), root=software_keys().site_root, spaces=BOUND)
    meeting, partner = changes.pop("meeting", MeetingId(MEETING)), changes.pop("to", PARTNER)
    wanted = board.request("meeting.share", Sharing(MeetingId(MEETING), PARTNER), SPACE)
    share = Share(SPACE, meeting, partner, changes.pop("request", wanted.id), board.now)
    record = replace(trusted_order().meeting, meeting=meeting, partner=partner)
    rows = (make_row(share, 1), make_row(record, 2))
    return Approved(make_row(board.executed(wanted, names, board.now), 7), rows, board.token)


def at_the_worker(site: HsmSite, work: Any) -> None:
    async def run() -> None:
        workers = Workers(site.settings)
        try:
            await work(workers.space(SPACE))
        finally:
            await workers.close()

    asyncio.run(run())


def shared_order(share: SealedRow | None, partner: str = PARTNER, **changes: Any) -> MintOrder:
    made = trusted_order(**changes)
    return replace(made, meeting=replace(made.meeting, partner=SpaceName(partner)), share=share)


async def shared(worker: SpaceWorker) -> SealedRow:
    """Return the share's row as the worker sealed it."""
    return (await worker.seal_approved(sharing()))[1]


def test_the_partners_vault_is_a_third_reader_that_sends_nothing(site: HsmSite) -> None:
    async def work(worker: SpaceWorker) -> None:
        minted: Minted = await worker.mint(shared_order(await shared(worker)))
        epoch, meeting = (read_row(one.row) for one in minted.rows[:2])
        assert isinstance(epoch, Epoch)
        assert isinstance(meeting, Meeting)
        assert meeting.partner == PARTNER
        entries = peek_readers(epoch.manifest, ()).entries
        told = [(one.kind, one.version, one.sender) for one in entries]
        assert told == [
            (RecipientKind.VAULT, 1, -1),
            (RecipientKind.ESCROW, 1, -1),
            (RecipientKind.PARTNER, 3, -1),
            (RecipientKind.SERVER, 0, 0),
        ]
        keys = {one.recipient: one.blob for one in minted.envelopes}
        mine, theirs = (
            key.decrypt(
                keys[jws.spki_id(key.public_key())],
                padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),
            )
            for key in (software_keys().server, VAULT)
        )
        assert mine == theirs

    at_the_worker(site, work)


def test_a_share_is_sealed_only_if_both_sides_approved_just_that(site: HsmSite) -> None:
    async def work(worker: SpaceWorker) -> None:
        for names in (OURS, THEIRS, (*OURS, THEIRS[0]), (OURS[0], *THEIRS)):
            with pytest.raises((QuorumNotMet, VerificationFailed)):
                await worker.seal_approved(sharing(names))
        for changes in ({"meeting": OTHER_MEETING}, {"to": "markets"}, {"request": OTHER_MEETING}):
            with pytest.raises(Forbidden):
                await worker.seal_approved(sharing(**changes))
        with pytest.raises(ApprovalRequired):
            await worker.seal_rows(sharing().rows[:1])

    at_the_worker(site, work)


def test_a_share_that_is_missing_forged_or_anothers_mints_nothing(site: HsmSite) -> None:
    async def work(worker: SpaceWorker) -> None:
        share = await shared(worker)
        record = read_row(share.row)
        assert isinstance(record, Share)
        moved = replace(record, meeting=OTHER_MEETING)
        wrong = {
            "none": shared_order(None),
            "another MAC": shared_order(replace(share, mac=bytes(32))),
            "moved to another meeting": shared_order(
                replace(share, row=make_row(moved, 1)), meeting_id=OTHER_MEETING
            ),
            "of another meeting": shared_order(share, meeting_id=OTHER_MEETING),
            "of another partner": shared_order(share, "markets"),
            "without a partner": shared_order(share, ""),
            "another row": shared_order((await worker.seal_approved(sharing()))[2]),
        }
        for order in wrong.values():
            with pytest.raises(VerificationFailed, match=r"share|nobody"):
                await worker.mint(order)
        await worker.mint(shared_order(share))

    at_the_worker(site, work)


def test_a_partner_whose_vault_is_not_registered_any_more_ends_the_minting(site: HsmSite) -> None:
    async def work(worker: SpaceWorker) -> None:
        share = await shared(worker)
        await worker.mint(shared_order(share))
        site.as_officer("space-t", "revoke", f"partner/{BANKING}/3")
        with pytest.raises(VerificationFailed, match="no vault"):
            await worker.mint(shared_order(share, epoch=1))

    at_the_worker(site, work)
