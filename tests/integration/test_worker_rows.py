"""Row MACs and checkpoints by the real worker on a real token."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import pytest

from kms.audit.merkle import EMPTY_ROOT, MerkleTree, leaf_hash
from kms.audit.note import unverified_checkpoint
from kms.domain.ids import SpaceName
from kms.domain.models import ReleaseClass, Space
from kms.domain.rows import Row
from kms.errors import Forbidden, IntegrityFailure, InvalidInput
from kms.hsm.client import Workers
from kms.statements.canonical import make_row
from tests.fixtures.hsm import BANKING, SITE, TREASURY, HsmSite, hsm_site, trusted_order

_T = TypeVar("_T")


@pytest.fixture
def site() -> Iterator[HsmSite]:
    yield from hsm_site()


def ask(site: HsmSite, question: Callable[[Workers], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        workers = Workers(site.settings)
        try:
            return await question(workers)
        finally:
            await workers.close()

    return asyncio.run(run())


def rows(count: int = 3) -> list[Row]:
    return [make_row(replace(trusted_order().meeting, roster_version=i), i) for i in range(count)]


def space_row(name: str = TREASURY, *, sealed: bool = True) -> Row:
    now = int(time.time())
    space = Space(SpaceName(name), ReleaseClass.TRUSTED, "space-t", now, sealed=now * sealed)
    return make_row(space, 1)


def test_no_worker_makes_the_row_of_a_space_that_is_not_sealed(site):
    site.start("site")
    assert ask(site, lambda workers: workers.site.seal_rows([space_row()]))
    with pytest.raises(Forbidden):
        ask(site, lambda workers: workers.site.seal_rows([space_row(sealed=False)]))


def test_sealed_rows_are_accepted_again_by_the_same_token(site):
    site.start("space-t")
    # More rows than one request holds.
    many = rows(600)

    async def seal_and_check(workers):
        space = workers.space(SpaceName(TREASURY))
        sealed = await space.seal_rows(many)
        await space.check_rows(sealed)
        return sealed

    assert [item.row for item in ask(site, seal_and_check)] == many


@pytest.mark.parametrize("change", ["body", "version", "key", "mac", "no mac"])
def test_an_altered_row_is_refused(site, change):
    site.start("space-t")

    async def seal_and_alter(workers):
        space = workers.space(SpaceName(TREASURY))
        first, second, _ = await space.seal_rows(rows())
        row = first.row
        altered = {
            "body": replace(first, row=replace(row, body=second.row.body)),
            "version": replace(first, row=replace(row, version=row.version + 1)),
            "key": replace(first, row=replace(row, key=row.key + "x")),
            "mac": replace(first, mac=second.mac),
            "no mac": replace(first, mac=b""),
        }[change]
        with pytest.raises(IntegrityFailure):
            await space.check_rows([second, altered])

    ask(site, seal_and_alter)


def test_a_row_sealed_by_another_spaces_token_is_refused(site):
    site.start("space-t")
    site.start("space-b")

    async def cross(workers):
        sealed = await workers.space(SpaceName(TREASURY)).seal_rows(rows())
        with pytest.raises(IntegrityFailure):
            await workers.space(SpaceName(BANKING)).check_rows(sealed)

    ask(site, cross)


def test_a_token_seals_only_its_own_records(site):
    site.start("space-t")
    site.start("site")
    foreign = make_row(replace(trusted_order().meeting, space=SpaceName(BANKING)), 1)

    async def seal(workers):
        space = workers.space(SpaceName(TREASURY))
        for row in (foreign, space_row()):
            with pytest.raises(Forbidden):
                await space.seal_rows([row])
        with pytest.raises(Forbidden):
            await workers.site.seal_rows(rows(1))
        assert await workers.site.seal_rows([space_row()])

    ask(site, seal)


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", b'{"space":"treasury"}'])
def test_bytes_that_are_no_record_are_not_sealed(site, body):
    site.start("space-t")

    async def seal(workers):
        with pytest.raises(InvalidInput):
            await workers.space(SpaceName(TREASURY)).seal_rows([replace(rows(1)[0], body=body)])

    ask(site, seal)


def tree(size: int, *, other: bool = False) -> MerkleTree:
    return MerkleTree(leaf_hash(b"%d%d" % (other and i > 2, i)) for i in range(size))


def test_checkpoints_follow_the_log_and_survive_the_worker(site):
    process = site.start("site")
    log = tree(9)

    async def sign(workers):
        assert await workers.site.last_checkpoint() == (0, EMPTY_ROOT)
        await workers.site.sign_checkpoint(4, log.root(4), [])
        proof = log.consistency_proof(4, 9)
        return await workers.site.sign_checkpoint(9, log.root(9), proof)

    checkpoint = unverified_checkpoint(ask(site, sign))
    assert (checkpoint.origin, checkpoint.size, checkpoint.root) == (SITE, 9, log.root(9))
    process.kill()
    process.wait()
    site.start("site")
    assert ask(site, lambda workers: workers.site.last_checkpoint()) == (9, log.root(9))


def test_a_log_that_went_back_or_forked_is_not_signed(site):
    site.start("site")
    log, fork = tree(9), tree(12, other=True)

    async def sign(workers):
        await workers.site.sign_checkpoint(9, log.root(9), [])
        await workers.site.sign_checkpoint(9, log.root(9), [])
        for size, root, proof in (
            (5, log.root(5), []),
            (5, log.root(5), log.consistency_proof(5, 9)),
            (9, fork.root(9), []),
            (12, fork.root(12), fork.consistency_proof(9, 12)),
            (12, fork.root(12), []),
            (0, EMPTY_ROOT, []),
        ):
            with pytest.raises(IntegrityFailure):
                await workers.site.sign_checkpoint(size, root, proof)
        assert await workers.site.last_checkpoint() == (9, log.root(9))

    ask(site, sign)


@pytest.mark.parametrize(("size", "root"), [(-1, EMPTY_ROOT), (1, b"short"), (2**60, EMPTY_ROOT)])
def test_a_head_that_is_none_is_refused(site, size, root):
    site.start("site")

    async def sign(workers):
        with pytest.raises(InvalidInput):
            await workers.site.sign_checkpoint(size, root, [])

    ask(site, sign)
