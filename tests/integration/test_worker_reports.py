"""Statements about reports by the real worker on a real token: whose log, and whose approval."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kms.audit.merkle import MerkleTree, leaf_hash
from kms.domain.reports import ReportTarget
from kms.domain.rows import SealedRow
from kms.errors import Forbidden, IntegrityFailure, InvalidInput
from kms.hsm.client import Workers
from kms.ports import Approved, ReportOrder
from kms.statements.canonical import digest, make_row
from kms.statements.report import peek_report
from tests.fixtures.approvals import MEETING, Board, everybody
from tests.fixtures.hsm import SITE, HsmSite, hsm_site, software_keys
from tests.integration.test_worker_rows import ask

SHA = digest(b"something")
OTHER = "0193a5b0-7c3e-7000-8000-00000000dead"
LOG = MerkleTree(leaf_hash(b"leaf %d" % number) for number in range(9))


@pytest.fixture
def site() -> Iterator[HsmSite]:
    for made in hsm_site():
        made.start("site")
        yield made


def order(size: int = 4, signed: int = 9) -> ReportOrder:
    now = int(time.time())
    proof = tuple(LOG.consistency_proof(size, signed))
    return ReportOrder(
        MEETING, now - 90, now - 60, size, LOG.root(size), proof, SHA, SHA, "zhao", SHA
    )


def exported(**changes: object) -> ReportOrder:
    return replace(order(), full="", paper=SHA, language="zh", **changes)


async def sign_head(workers: Workers) -> None:
    await workers.site.sign_checkpoint(9, LOG.root(9), [])


async def unmasked(workers: Workers, report: str = MEETING) -> tuple[SealedRow, str]:
    """Let people approve that a report shows names; return the request's row and the register."""
    people = Board(SITE, int(time.time()), root=software_keys().site_root)
    wanted = people.request("report.unmask", ReportTarget(report), "")
    record = people.executed(wanted, everybody("report.unmask"), people.now)
    approved = Approved(make_row(record, 3), (), people.token)
    (row,) = await workers.site.seal_approved(approved)
    return row, people.token


def test_a_report_from_the_beginning_of_what_was_signed_is_signed(site: HsmSite) -> None:
    async def sign(workers: Workers) -> None:
        await sign_head(workers)
        told = peek_report(await workers.site.sign_report(order()))
        assert (told.iss, told.report, told.size, told.paper) == (SITE, MEETING, 4, "")
        assert abs(told.issued - time.time()) < 30

    ask(site, sign)


def test_a_report_from_another_log_is_not_signed(site: HsmSite) -> None:
    async def sign(workers: Workers) -> None:
        with pytest.raises(IntegrityFailure):  # nothing was signed yet
            await workers.site.sign_report(order())
        await sign_head(workers)
        wrong = (
            replace(order(), root=LOG.root(5)),
            replace(order(), size=5),
            replace(order(), proof=()),
            replace(order(), size=10, proof=()),
        )
        for one in wrong:
            with pytest.raises(IntegrityFailure):
                await workers.site.sign_report(one)

    ask(site, sign)


def test_a_statement_says_nothing_else_than_its_fields_can(site: HsmSite) -> None:
    async def sign(workers: Workers) -> None:
        await sign_head(workers)
        wrong = (
            replace(order(), figures="abc"),
            replace(order(), actor=""),
            replace(order(), actor="two\nlines"),
            replace(order(), until=int(time.time()) + 99),
            replace(order(), language="zh"),
            replace(exported(), language="fr"),
            replace(order(), report="x"),
            replace(order(), full=""),
            replace(exported(), full=SHA),
        )
        for one in wrong:
            with pytest.raises(InvalidInput):
                await workers.site.sign_report(one)

    ask(site, sign)


def test_names_in_full_want_a_request_for_that_report(site: HsmSite) -> None:
    async def sign(workers: Workers) -> None:
        await sign_head(workers)
        row, register = await unmasked(workers)
        told = peek_report(await workers.site.sign_report(exported(request=row, register=register)))
        assert told.request == row.row.key.rpartition("/")[2]
        other, _ = await unmasked(workers, OTHER)
        with pytest.raises(Forbidden):
            await workers.site.sign_report(exported(request=other, register=register))
        forged = SealedRow(row.row, bytes(32))
        with pytest.raises(IntegrityFailure):
            await workers.site.sign_report(exported(request=forged, register=register))
        with pytest.raises(InvalidInput):  # a request is an export's
            await workers.site.sign_report(replace(order(), request=row, register=register))

    ask(site, sign)
