"""The whole log checked while the service runs, and one entry with its proof (over a fake HSM)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.leaf import LeafDraft, Outcome, Phase
from kms.audit.merkle import leaf_hash, root_from_inclusion
from kms.audit.note import Checkpoint, sign_checkpoint
from kms.domain.models import EVERY_SPACE, Principal, PrincipalKind, Role
from kms.errors import Forbidden, HsmUnavailable, IntegrityFailure, NotFound
from kms.ports import PutCheckpoint, Unit
from kms.statements import jws
from kms.statements.canonical import b64u
from kms.statements.keylist import TYP, KeyList, KeyUse, ListedKey, encode_keylist
from kms.usecases.log_check import read_check, start_check
from kms.usecases.log_head import log_head, prove
from kms.usecases.log_walk import LogCheck, Trouble
from kms.usecases.services import Call, Services
from tests.fixtures.api import Clock, FakeSite, run_with_site
from tests.fixtures.approvals import SITE, Board

NOW = int(Clock().now())
PEOPLE = Board(SITE, NOW)
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def call(operation: str, role: Role = Role.AUDITOR) -> Call:
    who = Principal(
        "zhao", PrincipalKind.SOCKET, "uid", frozenset({role}), frozenset({EVERY_SPACE})
    )
    return Call(who, operation, "")


def key_list() -> str:
    kid, spki = jws.spki_id(KEY.public_key()), jws.spki_der(KEY.public_key())
    listed = KeyList(SITE, 1, NOW, (ListedKey(kid, KeyUse.CHECKPOINT, "", b64u(spki), NOW),))
    root = PEOPLE.root
    signer = jws.private_signer(root)
    return jws.sign(
        encode_keylist(listed), typ=TYP, kid=jws.spki_id(root.public_key()), signer=signer
    )


@dataclass
class Remembering:
    """A fake of the site's token that remembers a head."""

    head: tuple[int, bytes] | None = None

    async def last_checkpoint(self) -> tuple[int, bytes]:
        if self.head is None:
            raise HsmUnavailable("the fake is down")
        return self.head


async def write(services: Services, count: int) -> None:
    for number in range(count):
        leaf = LeafDraft(
            "session.start", f"person {number}", "test", "", "people/x", Phase.EVENT,
            Outcome.SUCCEEDED,
        )  # fmt: skip
        await services.store.commit(Unit(leaves=(leaf,)))


async def sign(
    services: Services, *, key: Any = KEY, root: bytes = b"", size: int = 0
) -> tuple[int, bytes]:
    """Sign the present head, or another root of that size; return it."""
    size = size or services.store.tree_size()
    root = root or services.store.root(size)
    head = Checkpoint(SITE, size, root)
    note = sign_checkpoint(head, key.public_key(), jws.private_signer(key))
    await services.store.commit(Unit((PutCheckpoint(size, note),)))
    return size, root


def on_log(work: Callable[[Services, Remembering], Awaitable[None]]) -> None:
    """Run with a log of ten entries and a token that remembers nothing yet."""

    async def on_site(site: FakeSite) -> None:
        await PEOPLE.found(site.services.store, site.services.settings.paths.state)
        token = Remembering()
        site.workers.site = token
        services = replace(site.services, key_list=key_list())
        await write(services, 8)
        assert services.store.tree_size() == 10
        await work(services, token)

    run_with_site(on_site)


async def checked(services: Services) -> LogCheck:
    await start_check(services, call("audit.leaves"))
    state = services.log_check
    assert state.running
    assert state.task is not None
    await state.task
    return await read_check(services, call("audit.leaves"))


def test_a_sound_log_passes_through_every_checkpoint_and_the_token_s_head() -> None:
    async def work(services: Services, token: Remembering) -> None:
        await sign(services)
        await write(services, 5)
        token.head = await sign(services)
        await write(services, 3)
        found = (await checked(services)).last
        assert found is not None
        assert (found.size, found.checkpoints, found.token, found.by) == (18, 2, 15, "zhao")
        assert found.root == services.store.root(18)
        assert not found.troubles

    on_log(work)


@pytest.mark.parametrize(
    ("forged", "expected"),
    [({"key": OTHER}, Trouble.SIGNATURE), ({"root": b"x" * 32}, Trouble.REWRITTEN)],
    ids=["another's signature", "another root"],
)
def test_a_checkpoint_that_does_not_hold_is_found(
    forged: dict[str, Any], expected: Trouble
) -> None:
    async def work(services: Services, token: Remembering) -> None:
        token.head = 10, services.store.root(10)
        await sign(services, **forged)
        found = (await checked(services)).last
        assert found is not None
        assert found.altered
        assert [(one.trouble, one.size) for one in found.troubles] == [(expected, 10)]

    on_log(work)


@pytest.mark.parametrize(
    ("head", "expected", "altered"),
    [
        ((7, b"y" * 32), Trouble.HEAD, True),
        ((99, b"y" * 32), Trouble.CUT, True),
        (None, Trouble.TOKEN, False),
    ],
    ids=["another head", "a longer log", "no answer"],
)
def test_what_the_token_remembers_is_compared(
    head: tuple[int, bytes] | None, expected: Trouble, altered: bool
) -> None:
    async def work(services: Services, token: Remembering) -> None:
        token.head = head
        found = (await checked(services)).last
        assert found is not None
        assert found.altered is altered
        assert [one.trouble for one in found.troubles] == [expected]

    on_log(work)


class Tampered:
    """The store, of which one entry reads otherwise from the disk than it was written."""

    def __init__(self, store: Any, seq: int) -> None:
        self._store, self._seq = store, seq

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def leaves(self, start: int, limit: int) -> list[bytes]:
        page = self._store.leaves(start, limit)
        if start <= self._seq < start + len(page):
            at = self._seq - start
            page[at] = page[at].replace(b"person", b"nobody")
        return page


def test_an_entry_altered_on_the_disk_is_found_and_not_shown() -> None:
    async def work(services: Services, token: Remembering) -> None:
        token.head = await sign(services)
        altered = replace(services, store=Tampered(services.store, 4))
        found = (await checked(altered)).last
        assert found is not None
        assert {one.trouble for one in found.troubles} == {Trouble.HEAD, Trouble.REWRITTEN}
        with pytest.raises(IntegrityFailure, match="entry 4"):
            await prove(altered, call("audit.proof"), 4)
        assert (await prove(altered, call("audit.proof"), 5)).leaf.seq == 5

    on_log(work)


def test_a_proof_leads_from_the_entry_to_the_signed_root() -> None:
    async def work(services: Services, _token: Remembering) -> None:
        size, root = await sign(services)
        await write(services, 3)
        for seq in range(size):
            found = await prove(services, call("audit.proof"), seq)
            assert (found.signed, found.size, found.root) == (True, size, root)
            assert root_from_inclusion(leaf_hash(found.body), seq, size, found.hashes) == root
            assert found.steps[-1].node == root
        later = await prove(services, call("audit.proof"), 12)
        assert (later.signed, later.size) == (False, 13)
        with pytest.raises(NotFound):
            await prove(services, call("audit.proof"), 13)

    on_log(work)


def test_the_head_says_whether_its_signature_holds_and_who_cosigned() -> None:
    async def work(services: Services, _token: Remembering) -> None:
        assert (await log_head(services, call("audit.checkpoint"))).newest is None
        await sign(services)
        newest = (await log_head(services, call("audit.checkpoint"))).newest
        assert newest is not None
        assert (newest.problem, newest.witnesses, newest.checkpoint.size) == ("", (), 10)
        await write(services, 1)
        await sign(services, key=OTHER)
        newest = (await log_head(services, call("audit.checkpoint"))).newest
        assert newest is not None
        assert newest.problem == "verification_failed"

    on_log(work)


@pytest.mark.parametrize("role", [one for one in Role if one is not Role.AUDITOR])
def test_nobody_but_auditors_may(role: Role) -> None:
    async def work(services: Services, _token: Remembering) -> None:
        with pytest.raises(Forbidden):
            await log_head(services, call("audit.checkpoint", role))
        with pytest.raises(Forbidden):
            await prove(services, call("audit.proof", role), 0)
        with pytest.raises(Forbidden):
            await start_check(services, call("audit.leaves", role))
        assert services.log_check.task is None

    on_log(work)
