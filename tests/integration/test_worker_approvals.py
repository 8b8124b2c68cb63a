"""Approved requests at the real worker on a real token: what it seals, and that it trusts its own
token alone about who may approve.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import pytest

from kms.ceremonies.ports import SigningUse
from kms.domain.approvals import Request
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, RotationReason
from kms.domain.policies import SitePolicy
from kms.domain.states import KeyState, MeetingState
from kms.errors import ApprovalRequired, Forbidden, QuorumNotMet, VerificationFailed
from kms.hsm.client import Workers
from kms.ports import Approved
from kms.statements.approval import TYP, Approval
from kms.statements.canonical import encode_record, make_row, read_row
from kms.statements.personal import challenge_of, join
from kms.statements.request import peek_approval, peek_request
from tests.fixtures.approvals import EXAMPLES, MEETING, SECURITY, Board, everybody
from tests.fixtures.authenticator import FLAG, Authenticator
from tests.fixtures.hsm import SITE, TREASURY, HsmSite, hsm_site, software_keys, trusted_order
from tests.fixtures.vouching import admission

_T = TypeVar("_T")
SPACE = SpaceName(TREASURY)


@pytest.fixture
def site() -> Iterator[HsmSite]:
    yield from hsm_site()


def board(version: int = 1) -> Board:
    return Board(SITE, int(time.time()), root=software_keys().site_root, version=version)


def ask(site: HsmSite, question: Callable[[Workers], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        workers = Workers(site.settings)
        try:
            return await question(workers)
        finally:
            await workers.close()

    return asyncio.run(run())


def destruction(people: Board, epochs: int = 1, names: tuple[str, ...] = SECURITY[:2]) -> Approved:
    """Return a meeting's destruction that these people approved."""
    wanted = people.request("meeting.destroy", EXAMPLES["meeting.destroy"], SPACE)
    meeting = replace(
        trusted_order().meeting, meeting=MeetingId(MEETING), state=MeetingState.DESTROYED
    )
    rows = [make_row(meeting, 3)]
    for number in range(epochs):
        gone = Epoch(
            SPACE, MeetingId(MEETING), number, KeyState.DESTROYED, RotationReason.OPEN, 1, 2, 1, ""
        )
        rows.append(make_row(gone, 2))
    record = people.executed(wanted, names, people.now)
    return Approved(make_row(record, 4), tuple(rows), people.token)


def test_a_long_destruction_is_sealed_whole_and_its_rows_hold(site: HsmSite) -> None:
    site.start("space-t")
    # More rows than one request holds.
    approved = destruction(board(), epochs=600)

    async def seal(workers: Workers) -> None:
        space = workers.space(SPACE)
        sealed = await space.seal_approved(approved)
        assert [one.row for one in sealed] == [approved.request, *approved.rows]
        await space.check_rows(sealed)
        with pytest.raises(ApprovalRequired):
            await space.seal_rows(approved.rows[:1])

    ask(site, seal)


def test_the_sites_token_seals_what_is_the_sites(site: HsmSite) -> None:
    site.start("site")
    people = board()
    wanted = people.request("site-policy.change", EXAMPLES["site-policy.change"], "")
    record = people.executed(wanted, everybody("site-policy.change"), people.now)
    row = make_row(SitePolicy("site", "permit (principal, action, resource);"), 2)
    approved = Approved(make_row(record, 6), (row,), people.token)

    async def seal(workers: Workers) -> None:
        await workers.site.check_rows(await workers.site.seal_approved(approved))
        with pytest.raises(ApprovalRequired):
            await workers.site.seal_rows([row])
        with pytest.raises(Forbidden):
            await workers.site.seal_approved(replace(approved, rows=(replace(row, version=3),)))

    ask(site, seal)


def test_too_few_and_an_older_register_are_refused(site: HsmSite) -> None:
    site.start("space-t")

    async def seal(workers: Workers) -> None:
        space = workers.space(SPACE)
        with pytest.raises(QuorumNotMet):
            await space.seal_approved(destruction(board(), names=SECURITY[:1]))
        await space.seal_approved(destruction(board(2)))
        with pytest.raises(VerificationFailed, match="newer register"):
            await space.seal_approved(destruction(board()))

    ask(site, seal)


def test_a_mint_takes_no_row_along_that_needs_approval(site: HsmSite) -> None:
    site.start("space-t")
    gone = destruction(board()).rows[0]

    async def mint(workers: Workers) -> None:
        with pytest.raises(ApprovalRequired):
            await workers.space(SPACE).mint(trusted_order(others=(gone,)))

    ask(site, mint)


def test_a_token_that_trusts_no_site_root_seals_nothing_that_needs_approval(
    site: HsmSite,
) -> None:
    site.as_officer("space-t", "revoke", f"{SigningUse.SITE_ROOT}/1")
    site.start("space-t")

    async def seal(workers: Workers) -> None:
        with pytest.raises(VerificationFailed, match="trusts no site root") as caught:
            await workers.space(SPACE).seal_approved(destruction(board()))
        assert caught.value.hint

    ask(site, seal)


def test_a_site_root_that_officers_withdraw_counts_no_longer(site: HsmSite) -> None:
    site.start("space-t")

    async def seal(workers: Workers) -> None:
        await workers.space(SPACE).seal_approved(destruction(board()))
        site.as_officer("space-t", "revoke", f"{SigningUse.SITE_ROOT}/1")
        with pytest.raises(VerificationFailed, match="trusts no site root"):
            await workers.space(SPACE).seal_approved(destruction(board()))

    ask(site, seal)


def test_a_passkeys_approval_counts_at_the_worker_and_a_tampered_one_does_not(
    site: HsmSite,
) -> None:
    site.start("space-t")
    people, device = board(), Authenticator()
    good = destruction(people)
    record, made = read_row(good.request), device.enrolled()
    assert isinstance(record, Request)
    payload = encode_record(
        Approval(peek_request(record.request).digest(), SECURITY[0], people.now + 1)
    )
    signed = device.sign(made, challenge_of(payload))
    vow = admission(SECURITY[0], made, site=SITE, issued=people.now, expires=people.now + 60)
    token = join(payload, TYP, vow, signed)
    also = encode_record(replace(peek_approval(token), person=SECURITY[1]))
    other = admission(SECURITY[1], made, site=SITE, issued=people.now, expires=people.now + 60)
    second = join(also, TYP, other, device.sign(made, challenge_of(also)))
    forged = join(payload, TYP, vow, device.sign(made, challenge_of(payload), flags=FLAG.UP))

    def by(passkey: str, beside: str = record.approvals[1]) -> Approved:
        approvals = (passkey, beside)
        return replace(good, request=make_row(replace(record, approvals=approvals), 4))

    async def seal(workers: Workers) -> None:
        space = workers.space(SPACE)
        with pytest.raises(VerificationFailed, match="did not verify its user"):
            await space.seal_approved(by(forged))
        with pytest.raises(VerificationFailed, match="signature"):
            await space.seal_approved(by(join(payload, TYP, vow, replace(
                signed, signature=device.sign(made, bytes(32)).signature
            ))))  # fmt: skip
        with pytest.raises(QuorumNotMet, match="with a credential of the register"):
            await space.seal_approved(by(token, second))
        await space.check_rows(await space.seal_approved(by(token)))

    ask(site, seal)
