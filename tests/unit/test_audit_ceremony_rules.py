"""What the verifier holds against the leaves of ceremonies: spaces, keepers, escrow generations."""

from dataclasses import replace
from functools import partial

import pytest

from kms.audit.checks import Check, Verdict
from kms.domain.models import RecipientKind
from kms.statements.addendum import keeper
from kms.statements.canonical import digest
from tests.fixtures import evidence
from tests.fixtures.evidence import named
from tests.fixtures.verdicts import SPACE, alter, failed, find, retell, sealed, small_site, verified

TOLD = {"generation": 1, "spki": named("escrow"), "disk_spki": named("disk escrow")}
DISK = {
    "disk": "0193a5b0-7c3e-7000-8000-00000000d15c", "appliance": "key", "generations": [1],
    "offline_image": False,
}  # fmt: skip


@pytest.fixture
def verify(tmp_path):
    return partial(verified, path=tmp_path)


def begun():
    """Return a site whose first escrow generation stands in the log, and a meeting."""
    site, room = small_site()
    site.told_by_officers("escrow.generate", **TOLD)
    return site, room


def replaced(*epochs):
    """Return a site where generation 2 has received these epochs."""
    site, room = begun()
    site.told_by_officers("escrow.generate", generation=2, spki=named("escrow 2"))
    site.rewrap(room, 2, *epochs)
    return site, room


def test_a_ceremonys_leaves_pass(verify):
    site, room = replaced(0)
    site.rewrap(room, 2, 0, action="vault.rewrap")
    site.told_by_officers("escrow.destroy", generation=1, certificate=digest(b"c"))
    site.told_by_officers("escrow.drill", generation=2, officers=["ann", "bob"])
    site.told_by_officers(
        "escrow.recover", SPACE, room.path(), epochs=[0], recipient=named("r"), generations=[2],
        offline_image=True,
    )  # fmt: skip
    site.told_by_officers("site.restore", size=3, root="r", site_root=named("root"))
    site.told_by_officers("register.change", resource="register/2", version=2, sha256=digest(b"r"))
    site.told_by_officers("key-list.issue", resource="key-list/2", version=2, sha256=digest(b"k"))
    report = verify(sealed(site), earlier=site.notes())
    assert report.verdict is Verdict.PASS, report.to_text()


def recover_disk(site, **told):
    where = f"spaces/{SPACE}/disks/{DISK['disk']}"
    site.told_by_officers("escrow.recover-disk", SPACE, where, **{**DISK, **told})


def test_a_recovered_disk_passes(verify):
    site, _ = begun()
    recover_disk(site)
    assert verify(sealed(site), earlier=site.notes()).verdict is Verdict.PASS


def test_details_that_no_recovery_of_a_disk_writes_are_found(verify):
    site, _ = begun()
    recover_disk(site, recipient=named("r"))
    assert failed(verify(sealed(site))) == {Check.ACTIONS}


def test_a_disk_is_recovered_by_its_own_kind_of_ceremony_alone(verify, monkeypatch):
    site, _ = begun()
    monkeypatch.delitem(evidence._KINDS, "escrow.recover-disk")  # so it is told in a drill
    recover_disk(site)
    assert failed(verify(sealed(site))) == {Check.APPROVALS}


def test_recipients_come_and_go_by_their_own_row(verify):
    site, _ = begun()
    where = f"spaces/{SPACE}/recipients/{named('x')}"
    row = f"recipient/{SPACE}/{named('x')}"
    for action in ("recipient.register", "recipient.revoke"):
        site.told_by_officers(action, SPACE, where, [row], kind="server", name="x")
    assert verify(sealed(site), earlier=site.notes()).verdict is Verdict.PASS


def test_a_ceremony_that_changes_another_row_is_found(verify):
    site, _ = begun()
    where = f"spaces/{SPACE}/recipients/{named('x')}"
    row = f"recipient/{SPACE}/{named('y')}"
    site.told_by_officers("recipient.revoke", SPACE, where, [row], kind="server", name="x")
    assert failed(verify(sealed(site))) == {Check.ROWS}


@pytest.mark.parametrize("action", ["escrow.drill", "site.restore", "escrow.generate"])
def test_a_ceremony_that_changes_rows_unsaid_is_found(verify, action):
    site, _ = begun()
    site.told_by_officers(action, rows=[f"space/{SPACE}"], **TOLD)
    assert Check.ROWS in failed(verify(sealed(site)))


@pytest.mark.parametrize("more", [{"extra": 1}, {"generation": "2"}], ids=str)
def test_details_that_no_ceremony_writes_are_found(verify, more):
    site, _ = begun()
    site.told_by_officers("escrow.drill", **{**TOLD, **more})
    assert failed(verify(sealed(site))) == {Check.ACTIONS}


def test_a_generation_left_out_is_found(verify):
    site, _ = begun()
    site.told_by_officers("escrow.generate", generation=3, spki=named("escrow 3"))
    assert failed(verify(sealed(site))) == {Check.NUMBERS}


def test_a_generation_destroyed_while_only_it_recovers_a_key_is_found(verify):
    site, room = begun()
    site.rotate(room)
    site.told_by_officers("escrow.generate", generation=2, spki=named("escrow 2"))
    site.rewrap(room, 2, 0)
    site.told_by_officers("escrow.destroy", generation=1)
    assert failed(verify(sealed(site))) == {Check.STATES}


def test_the_present_generation_destroyed_is_found(verify):
    site, _ = replaced(0)
    site.told_by_officers("escrow.destroy", generation=2)
    assert failed(verify(sealed(site))) == {Check.STATES}


def test_keys_wrapped_to_a_generation_that_is_not_present_are_found(verify):
    site, room = begun()
    site.rewrap(room, 7, 0)
    assert failed(verify(sealed(site))) == {Check.STATES}


def test_a_destroyed_epoch_cannot_be_wrapped_again(verify):
    site, room = begun()
    site.close(room)
    site.destroy(room)
    site.rewrap(room, 1, 0)
    report = verify(sealed(site))
    assert Check.STATES in failed(report)


def test_an_addendum_left_out_of_the_bundle_is_found(verify):
    site, _ = replaced(0)
    site.addenda.clear()
    assert failed(verify(sealed(site))) == {Check.MANIFESTS}


def test_an_addendum_that_no_leaf_speaks_of_is_found(verify):
    site, room = replaced(0)
    extra = site.addendum(room, 0, keeper(named("e"), RecipientKind.ESCROW, 2, b"y"))
    site.addenda[digest(extra.encode())] = extra
    assert failed(verify(sealed(site))) == {Check.MANIFESTS}


@pytest.mark.parametrize(
    ("entry", "changes"),
    [
        ({}, {"manifest": digest(b"another")}),
        ({}, {"iss": "other.example"}),
        ({"version": 3}, {}),
        ({"id": named("ghost")}, {}),
        ({"kind": RecipientKind.VAULT}, {}),
        ({"kind": RecipientKind.SERVER}, {}),
        ({"kind": RecipientKind.DEVICE}, {}),
        ({"sender": 0}, {}),
    ],
    ids=str,
)
def test_an_addendum_that_says_something_else_than_its_leaf_is_found(verify, entry, changes):
    site, room = replaced(0)
    right = keeper(named("escrow 2"), RecipientKind.ESCROW, 2, b"x")
    forged = site.addendum(room, 0, replace(right, **entry), **changes)
    site.addenda = {digest(forged.encode()): forged}
    retell(site, find(site, "escrow.rewrap"), addenda=[digest(forged.encode())])
    assert Check.MANIFESTS in failed(verify(sealed(site)))


def test_an_addendum_by_another_spaces_key_is_found(verify):
    site, room = begun()
    site.space("treasury")
    site.manifest_keys[SPACE], own = site.manifest_keys["treasury"], site.manifest_keys[SPACE]
    site.told_by_officers("escrow.generate", generation=2, spki=named("escrow 2"))
    site.rewrap(room, 2, 0)
    site.manifest_keys[SPACE] = own
    assert failed(verify(sealed(site))) == {Check.MANIFESTS}


def test_a_rewrap_without_a_row_for_each_addendum_is_found(verify):
    site, _ = replaced(0)
    alter(site, find(site, "escrow.rewrap"), rows={})
    assert Check.ROWS in failed(verify(sealed(site)))


def ended():
    site, room = begun()
    site.close(room)
    site.told_by_officers("space.retire", SPACE, rows=[f"space/{SPACE}"])
    return site, room


def test_a_space_retired_and_destroyed_passes(verify):
    site, room = ended()
    site.destroy(room)
    row = [f"space/{SPACE}"]
    site.told_by_officers("space.destroy", SPACE, rows=row, certificate=digest(b"c"))
    assert verify(sealed(site), earlier=site.notes()).verdict is Verdict.PASS


def test_minting_in_a_retired_space_is_found(verify):
    site, _ = ended()
    site.open(SPACE, "ann")
    assert failed(verify(sealed(site))) == {Check.STATES}


def test_a_space_destroyed_with_keys_left_or_before_it_was_retired_is_found(verify):
    site, _ = ended()
    site.told_by_officers("space.destroy", SPACE, rows=[f"space/{SPACE}"])
    assert failed(verify(sealed(site))) == {Check.STATES}
    site, _ = begun()
    site.told_by_officers("space.destroy", SPACE, rows=[f"space/{SPACE}"])
    (leftover,) = failed(verified(sealed(site), path=_beside(verify)))
    assert leftover is Check.STATES


def _beside(verify):
    folder = verify.keywords["path"] / "second"
    folder.mkdir()
    return folder
