"""A space's worker moves keys to a newer vault key on a real token, and destroys the older one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import ObjectClass

from kms.ceremonies.ports import RewrapItem, VaultOpener
from kms.domain.approvals import VaultTarget
from kms.domain.ids import RecipientId, SpaceName
from kms.domain.models import Epoch, Recipient, RecipientKind, ReleaseClass
from kms.domain.rows import SealedRow
from kms.domain.states import KeyState
from kms.errors import (
    ApprovalRequired,
    ConclaveError,
    Forbidden,
    IntegrityFailure,
    VerificationFailed,
)
from kms.hsm.client import Workers
from kms.hsm.keyring import SpaceKeyring
from kms.hsm.labels import parse_label
from kms.hsm.publickeys import load_p256, read_p256
from kms.hsm.reseal import Resealer
from kms.hsm.token import Token
from kms.ports import Approved, Minted, Resealed, ResealItem, RetireOrder, SpaceHsm
from kms.statements import jws
from kms.statements.addendum import (
    addendum_to,
    keeper,
    peek_addendum,
    sign_addendum,
    verify_addendum,
)
from kms.statements.canonical import b64u, digest, make_row, read_row, unb64u
from kms.statements.manifest import TYP
from kms.statements.readers import Readers, peek_readers
from tests.fixtures.approvals import SECURITY, Board
from tests.fixtures.envelopes import check_opens, user
from tests.fixtures.hsm import (
    BANKING,
    SITE,
    TREASURY,
    HsmSite,
    hsm_site,
    in_this_process,
    officer,
    software_keys,
    trusted_order,
)

NOW = 1_800_000_000
SERVER = "server/one"
_R = TypeVar("_R")


@dataclass
class Space:
    """A space's worker, with epochs that were minted to its first vault key."""

    site: HsmSite
    name: str
    label: str
    epochs: list[Minted]

    def ask(self, act: Callable[[SpaceHsm], Awaitable[_R]]) -> _R:
        async def run() -> _R:
            workers = Workers(self.site.settings)
            try:
                return await act(workers.space(SpaceName(self.name)))
            finally:
                await workers.close()

        return asyncio.run(run())

    def add_vault(self, version: int) -> None:
        """Let the worker find a further vault key when it starts again."""
        self.stop()
        with in_this_process(self.site):
            token = officer(self.label)
            token.trust_vault(version, ReleaseClass.TRUSTED, token.generate_vault(version))
        self.site.start(self.label)

    def stop(self) -> None:
        """Stop the worker."""
        self.site.workers[self.label].kill()
        self.site.workers[self.label].wait()

    def reseal(self, *items: ResealItem) -> Resealed:
        return self.ask(lambda hsm: hsm.reseal(items, NOW))

    def refused(self, *items: ResealItem) -> ConclaveError:
        """Return why items are refused; afterwards the others still move."""
        with pytest.raises(ConclaveError) as refusal:
            self.reseal(*items)
        assert len(self.reseal(item_of(self.epochs[-1])).rows) == 1
        return refusal.value


def item_of(minted: Minted) -> ResealItem:
    """Return a minted epoch with its vault's envelope."""
    row, vault = minted.rows[0], minted.envelopes[0]
    return ResealItem(row, vault.recipient, vault.blob)


def epoch_of(sealed: SealedRow) -> Epoch:
    record = read_row(sealed.row)
    assert isinstance(record, Epoch)
    return record


@pytest.fixture
def site() -> Iterator[HsmSite]:
    yield from hsm_site()


@pytest.fixture
def treasury(site: HsmSite) -> Space:
    site.start("space-t")
    space = Space(site, TREASURY, "space-t", [])
    space.epochs = [space.ask(lambda hsm: hsm.mint(trusted_order())) for _ in range(3)]
    space.add_vault(2)
    return space


def test_moved_keys_are_the_epochs_own_and_the_addenda_say_where_they_are(treasury: Space) -> None:
    resealed = treasury.reseal(*map(item_of, treasury.epochs))
    for minted, envelope, sealed in zip(
        treasury.epochs, resealed.envelopes, resealed.rows, strict=True
    ):
        before, after = epoch_of(minted.rows[0]), epoch_of(sealed)
        assert replace(after, addenda=()) == before
        assert sealed.row.version == 2
        (told,) = (peek_addendum(one).recipient for one in after.addenda)
        assert (told.id, told.kind, told.version) == (envelope.recipient, RecipientKind.VAULT, 2)
        assert told.blob_sha256 == digest(envelope.blob)
        assert envelope.recipient != minted.envelopes[0].recipient
    treasury.ask(lambda hsm: hsm.check_rows(resealed.rows))


def test_what_was_moved_opens_by_the_newer_key_and_its_addendum_verifies(treasury: Space) -> None:
    """A third vault key shows it: whoever moves a key has opened it and held its commitment."""
    first = treasury.reseal(*map(item_of, treasury.epochs))
    treasury.add_vault(3)
    second = treasury.reseal(
        *(
            ResealItem(row, envelope.recipient, envelope.blob)
            for row, envelope in zip(first.rows, first.envelopes, strict=True)
        )
    )
    versions = [
        [entry.version for entry in _readers(row).of_kind(RecipientKind.VAULT)]
        for row in second.rows
    ]
    assert versions == [[1, 2, 3]] * 3
    with in_this_process(treasury.site), user("space-t") as token:
        key = _manifest_key(token)
        for row in second.rows:
            for addendum in epoch_of(row).addenda:
                verify_addendum(addendum, key)


def _readers(sealed: SealedRow) -> Readers:
    epoch = epoch_of(sealed)
    return peek_readers(epoch.manifest, epoch.addenda)


def _manifest_key(token: Token) -> ec.EllipticCurvePublicKey:
    found = token.find(ObjectClass.PUBLIC_KEY, parse_label("manifest/1"))
    return load_p256(read_p256(token, found.handle))


def test_a_moved_key_is_the_one_that_the_server_has(treasury: Space) -> None:
    """Opened by the newer vault key and wrapped to the server, it is the key of the commitment."""
    minted = treasury.epochs[0]
    resealed = treasury.reseal(item_of(minted))
    manifest = _readers(minted.rows[0]).manifest
    item = RewrapItem(
        resealed.envelopes[0].blob, manifest.commitment_context(), unb64u(manifest.commitment)
    )
    treasury.stop()
    with in_this_process(treasury.site):
        ((blob,),) = officer("space-t").rewrap(VaultOpener(2), (SERVER,), [item])
    check_opens(software_keys().server, [blob], [item])


def test_new_epochs_go_to_the_newest_vault_key_by_number(treasury: Space) -> None:
    for version in (9, 10):
        treasury.add_vault(version)
    minted = treasury.ask(lambda hsm: hsm.mint(trusted_order()))
    assert _readers(minted.rows[0]).of_kind(RecipientKind.VAULT)[0].version == 10


def test_a_row_that_this_token_did_not_seal_is_refused(treasury: Space) -> None:
    item = item_of(treasury.epochs[0])
    epoch = replace(epoch_of(item.epoch), state=KeyState.DEACTIVATED)
    forged = SealedRow(make_row(epoch, 1), item.epoch.mac)
    assert isinstance(treasury.refused(replace(item, epoch=forged)), IntegrityFailure)


def test_an_envelope_that_the_manifest_does_not_name_is_refused(treasury: Space) -> None:
    first, second = map(item_of, treasury.epochs[:2])
    refusal = treasury.refused(replace(first, blob=second.blob))
    assert isinstance(refusal, IntegrityFailure)


def test_another_recipients_envelope_is_refused(treasury: Space) -> None:
    """The escrow key, the server and the newest vault are no older vault keys of the token."""
    minted = treasury.epochs[0]
    for envelope in minted.envelopes[1:]:
        item = ResealItem(minted.rows[0], envelope.recipient, envelope.blob)
        assert isinstance(treasury.refused(item), Forbidden)


def test_a_destroyed_epoch_has_no_key_to_move(treasury: Space) -> None:
    item = item_of(treasury.epochs[0])
    gone = make_row(replace(epoch_of(item.epoch), state=KeyState.DESTROYED), 2)
    (sealed,) = treasury.ask(lambda hsm: hsm.seal_rows([gone]))
    assert isinstance(treasury.refused(replace(item, epoch=sealed)), IntegrityFailure)


def test_a_key_that_was_moved_is_not_moved_again(treasury: Space) -> None:
    item = item_of(treasury.epochs[0])
    (moved,) = treasury.reseal(item).rows
    assert isinstance(treasury.refused(replace(item, epoch=moved)), IntegrityFailure)


def test_one_bad_envelope_refuses_its_batch(treasury: Space) -> None:
    good = list(map(item_of, treasury.epochs))
    refusal = treasury.refused(good[0], replace(good[1], blob=bytes(384)), good[2])
    assert isinstance(refusal, IntegrityFailure)


def committed_otherwise(space: Space, minted: Minted) -> ResealItem:
    """Return an epoch whose row the token sealed and whose envelope is the one that it names, but
    which is committed to another key: what a web process that is not ours any more could make.
    """
    item, epoch = item_of(minted), epoch_of(minted.rows[0])
    manifest = replace(_readers(minted.rows[0]).manifest, commitment=b64u(bytes(16)))
    signer = jws.private_signer(ec.generate_private_key(ec.SECP256R1()))
    token = jws.sign(manifest.encode(), typ=TYP, kid="k", signer=signer)
    row = make_row(replace(epoch, manifest=token), 1)
    (sealed,) = space.ask(lambda hsm: hsm.seal_rows([row]))
    return replace(item, epoch=sealed)


def test_a_key_of_another_commitment_is_refused(treasury: Space) -> None:
    refusal = treasury.refused(committed_otherwise(treasury, treasury.epochs[0]))
    assert isinstance(refusal, IntegrityFailure)


def test_no_key_stays_behind(treasury: Space) -> None:
    good = [item_of(one) for one in treasury.epochs]
    bad = committed_otherwise(treasury, treasury.epochs[1])
    treasury.stop()
    with in_this_process(treasury.site), user("space-t") as token:
        keys, resealer = SpaceKeyring(token), Resealer(token, SITE, TREASURY)
        before = len(list(token.session.get_objects()))
        resealer.reseal(keys, good, NOW)
        with pytest.raises(IntegrityFailure):
            resealer.reseal(keys, [good[0], bad, good[2]], NOW)
        assert len(list(token.session.get_objects())) == before


def altered_signature(space: Space, minted: Minted) -> ResealItem:
    """Return an epoch whose row the token sealed, whose manifest names a key of the token."""
    item, epoch = item_of(minted), epoch_of(minted.rows[0])
    head, payload, _signature = epoch.manifest.split(".")
    token = ".".join((head, payload, b64u(bytes(64))))
    (sealed,) = space.ask(lambda hsm: hsm.seal_rows([make_row(replace(epoch, manifest=token), 2)]))
    return replace(item, epoch=sealed)


def test_a_manifest_that_this_token_did_not_sign_in_its_own_name_is_refused(
    treasury: Space,
) -> None:
    """A web process gone bad can have any row of an epoch sealed."""
    refusal = treasury.refused(altered_signature(treasury, treasury.epochs[0]))
    assert isinstance(refusal, IntegrityFailure)


def test_an_addendum_that_this_token_did_not_sign_in_its_own_name_is_refused(
    treasury: Space,
) -> None:
    item, epoch = item_of(treasury.epochs[0]), epoch_of(treasury.epochs[0].rows[0])
    manifest, kid = _readers(item.epoch).manifest, jws.key_id(epoch.manifest, typ=TYP)
    entry = keeper("x" * 43, RecipientKind.ESCROW, 2, b"blob")
    told = addendum_to(epoch.manifest, manifest, NOW, entry)
    forged = sign_addendum(told, kid, lambda _digest: bytes(64))
    row = make_row(replace(epoch, addenda=(forged,)), 2)
    (sealed,) = treasury.ask(lambda hsm: hsm.seal_rows([row]))
    assert isinstance(treasury.refused(replace(item, epoch=sealed)), IntegrityFailure)


def test_a_manifest_of_a_key_that_a_restored_token_lacks_stands_by_its_row(
    treasury: Space,
) -> None:
    item, epoch = item_of(treasury.epochs[0]), epoch_of(treasury.epochs[0].rows[0])
    manifest = _readers(item.epoch).manifest
    lost = ec.generate_private_key(ec.SECP256R1())
    kid, signer = jws.spki_id(lost.public_key()), jws.private_signer(lost)
    token = jws.sign(manifest.encode(), typ=TYP, kid=kid, signer=signer)
    row = make_row(replace(epoch, manifest=token), 2)
    (sealed,) = treasury.ask(lambda hsm: hsm.seal_rows([row]))
    assert len(treasury.reseal(replace(item, epoch=sealed)).rows) == 1


# --- the end of a vault key -----------------------------------------------------------------------


def vault_of(minted: Minted, version: int) -> Recipient:
    """Return the vault's record, revoked, that keeps a minted epoch."""
    name = minted.envelopes[0].recipient
    return Recipient(
        SpaceName(TREASURY), name, RecipientKind.VAULT, "vault", version, "AAAA", "", 1, revoked=NOW
    )


async def retirement(
    hsm: SpaceHsm, vault: Recipient, operation: str = "vault.retire", **changes: Any
) -> RetireOrder:
    """Return what an approved request for the end of a vault key brings about."""
    board = Board(SITE, int(time.time()), root=software_keys().site_root)
    wanted = board.request(operation, VaultTarget(vault.version), TREASURY)
    record = board.executed(wanted, SECURITY[:2], board.now)
    rows = (make_row(replace(vault, **changes), 2),)
    sealed = await hsm.seal_approved(Approved(make_row(record, 4), rows, board.token))
    return RetireOrder(sealed[0], board.token, sealed[1])


def vault_labels(space: Space) -> set[str]:
    found = space.ask(lambda hsm: hsm.info()).objects
    return {one["label"] for one in found if one["label"].startswith("vault/")}


BOTH = {"vault/1", "vault/1/trusted", "vault/2", "vault/2/trusted"}


def test_an_older_vault_key_is_destroyed_for_good_and_again(treasury: Space) -> None:
    treasury.reseal(*map(item_of, treasury.epochs))
    order = treasury.ask(lambda hsm: retirement(hsm, vault_of(treasury.epochs[0], 1)))
    for _ in range(2):
        treasury.ask(lambda hsm: hsm.retire_vault(order))
    assert vault_labels(treasury) == {"vault/2", "vault/2/trusted"}
    assert isinstance(_refusal(treasury, item_of(treasury.epochs[0])), ConclaveError)
    treasury.ask(lambda hsm: hsm.mint(trusted_order()))


def _refusal(space: Space, item: ResealItem) -> ConclaveError:
    with pytest.raises(ConclaveError) as refusal:
        space.reseal(item)
    return refusal.value


def test_no_vault_key_is_destroyed_but_by_an_approved_request(treasury: Space) -> None:
    """A web process gone bad asks for it: with epochs depending on it, the keys would be lost."""
    vault = vault_of(treasury.epochs[0], 1)
    with pytest.raises(ApprovalRequired):
        treasury.ask(lambda hsm: hsm.seal_rows([make_row(vault, 2)]))
    good = treasury.ask(lambda hsm: retirement(hsm, vault))
    board = Board(SITE, int(time.time()), root=software_keys().site_root)
    pending = board.record(board.request("vault.retire", VaultTarget(1), TREASURY), SECURITY[:2])
    (waiting,) = treasury.ask(lambda hsm: hsm.seal_rows([make_row(pending, 1)]))
    (alive,) = treasury.ask(lambda hsm: hsm.seal_rows([make_row(replace(vault, revoked=0), 1)]))
    forged = Board(SITE, board.now, root=ec.generate_private_key(ec.SECP256R1()))
    for order in (
        replace(good, request=waiting),
        replace(good, request=replace(good.request, mac=bytes(32))),
        replace(good, vault=replace(good.vault, mac=bytes(32))),
        replace(good, vault=alive),
        replace(good, register=forged.token),
        replace(good, vault=treasury.epochs[0].rows[0]),
    ):
        with pytest.raises((IntegrityFailure, Forbidden, VerificationFailed)):
            treasury.ask(lambda hsm, order=order: hsm.retire_vault(order))
    assert vault_labels(treasury) == BOTH
    assert len(treasury.reseal(*map(item_of, treasury.epochs)).rows) == 3


def test_a_request_for_one_vault_key_destroys_no_other(treasury: Space) -> None:
    """A restored site's vault keys may bear numbers that retired ones had: the id decides."""
    first = vault_of(treasury.epochs[0], 1)
    other = treasury.ask(lambda hsm: retirement(hsm, first, recipient=RecipientId("A" * 43)))
    treasury.ask(lambda hsm: hsm.retire_vault(other))
    assert vault_labels(treasury) == BOTH


def test_the_vault_key_that_new_keys_go_to_is_not_destroyed(treasury: Space) -> None:
    newest = treasury.ask(lambda hsm: hsm.mint(trusted_order()))
    order = treasury.ask(lambda hsm: retirement(hsm, vault_of(newest, 2)))
    with pytest.raises(Forbidden):
        treasury.ask(lambda hsm: hsm.retire_vault(order))
    treasury.ask(lambda hsm: hsm.mint(trusted_order()))


def test_what_an_interrupted_destruction_left_goes_by_repeating_it(treasury: Space) -> None:
    """The private half goes first: the public half alone opens nothing and tells what is owed."""
    order = treasury.ask(lambda hsm: retirement(hsm, vault_of(treasury.epochs[0], 1)))
    treasury.stop()
    treasury.site.as_officer("space-t", "destroy", "vault/1")
    treasury.site.start("space-t")
    treasury.ask(lambda hsm: hsm.retire_vault(order))
    assert vault_labels(treasury) == {"vault/2", "vault/2/trusted"}


def test_another_spaces_epoch_is_refused(site: HsmSite, treasury: Space) -> None:
    site.start("space-b")
    item = item_of(treasury.epochs[0])
    banking = Space(site, BANKING, "space-b", [])
    with pytest.raises(ConclaveError):
        banking.reseal(item)
