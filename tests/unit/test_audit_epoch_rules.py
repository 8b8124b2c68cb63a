"""What the verifier holds against key states, epoch numbers and manifests."""

from dataclasses import replace
from functools import partial

import pytest

from kms.audit.checks import Check
from kms.domain.models import RecipientKind, ReleaseClass, RotationReason
from kms.statements.canonical import b64u
from kms.statements.manifest import ManifestRecipient, media_of, subject
from tests.fixtures.evidence import eventful_site, named
from tests.fixtures.verdicts import (
    SPACE,
    alter,
    failed,
    find,
    remade,
    retell,
    sealed,
    small_site,
    verified,
)


@pytest.fixture
def site():
    return eventful_site()


@pytest.fixture
def verify(tmp_path):
    return partial(verified, path=tmp_path)


def test_a_number_used_again_is_found(verify):
    site, room = small_site()
    site.rotate(room, RotationReason.SUSPICION)
    room.last = 0
    site.rotate(room, RotationReason.SUSPICION)
    assert Check.NUMBERS in failed(verify(sealed(site)))


def test_a_number_left_out_is_found(verify):
    site, room = small_site()
    room.last = 4
    site.rotate(room, RotationReason.SUSPICION)
    assert failed(verify(sealed(site))) == {Check.NUMBERS}


def test_an_activation_of_what_was_not_published_is_found(verify):
    site, room = small_site()
    site.rotate(room)
    site.activate(room)
    room.pending, room.current = 1, 0
    site.activate(room)
    assert Check.STATES in failed(verify(sealed(site)))


def test_an_activation_before_its_time_is_found(site, verify):
    seq = find(site, "epoch.activate")
    for later in range(seq, len(site.times)):
        site.times[later] = site.times[seq - 1]
    assert Check.STATES in failed(verify(site))


@pytest.mark.parametrize(
    "change",
    [{"state": "pre-activation"}, {"state": "suspended"}, {"cancelled": 0}, {"reason": "open"}],
    ids=str,
)
def test_a_mint_whose_state_does_not_fit_is_found(site, verify, change):
    retell(site, find(site, "roster.change"), **change)
    assert Check.STATES in failed(verify(site))


def test_a_cancelled_epoch_that_is_not_told_is_found(site, verify):
    retell(site, find(site, "meeting.close"), cancelled=None)
    assert Check.STATES in failed(verify(site))


def test_minting_in_a_closed_meeting_is_found(verify):
    site, room = small_site()
    site.close(room)
    site.rotate(room, RotationReason.SUSPICION)
    assert Check.STATES in failed(verify(sealed(site)))


def test_destroying_an_open_meeting_is_found(verify):
    site, room = small_site()
    site.destroy(room)
    assert Check.STATES in failed(verify(sealed(site)))


def test_a_destroyed_meeting_stays_destroyed(verify):
    site, room = small_site()
    site.close(room)
    site.destroy(room)
    site.rotate(room, RotationReason.SUSPICION)
    assert Check.NUMBERS in failed(verify(sealed(site)))


def test_a_key_that_outlives_its_meetings_destruction_is_found(site, verify):
    seq = find(site, "meeting.destroy")
    rows = {key: v for key, v in site.drafts[seq].rows.items() if not key.endswith("/0")}
    told = {**site.drafts[seq].details, "epochs": len(rows) - 2}
    alter(site, seq, rows=rows, details=told)
    assert {Check.STATES, Check.ROWS} <= failed(verify(site))


def test_a_meeting_opened_twice_is_found(verify):
    site, room = small_site()
    site._mint(room, "meeting.open", RotationReason.OPEN)
    assert Check.STATES in failed(verify(sealed(site)))


def test_a_rotation_of_a_meeting_that_was_never_opened_is_found(verify):
    site, room = small_site()
    room.meeting = room.meeting[:-1] + "9"
    site.rotate(room, RotationReason.SUSPICION)
    assert Check.STATES in failed(verify(sealed(site)))


def test_a_missing_manifest_is_found(site, verify):
    site.manifests.popitem()
    assert Check.MANIFESTS in failed(verify(site))


def test_two_manifests_swapped_are_found(site, verify):
    first, second = list(site.manifests)[:2]
    told = site.manifests
    told[first], told[second] = told[second], told[first]
    assert Check.MANIFESTS in failed(verify(site))


def test_two_manifests_swapped_together_with_their_digests_are_found(verify):
    site, room = small_site()
    site.rotate(room)
    remade(site, room, 0, sub=subject(SPACE, room.meeting, 1))
    assert Check.MANIFESTS in failed(verify(sealed(site)))


def test_a_manifest_that_no_leaf_speaks_of_is_found(site, verify):
    site.manifests[SPACE, "another", 0] = next(iter(site.manifests.values()))
    assert failed(verify(site)) == {Check.MANIFESTS}


def test_a_manifest_signed_by_another_spaces_key_is_found(verify):
    site, room = small_site()
    site.space("treasury")
    own, site.manifest_keys[SPACE] = site.manifest_keys[SPACE], site.manifest_keys["treasury"]
    site.rotate(room, RotationReason.SUSPICION)
    site.manifest_keys[SPACE] = own
    assert Check.MANIFESTS in failed(verify(sealed(site)))


def ghost(room, kind=RecipientKind.DEVICE):
    return ManifestRecipient(named("ghost"), kind, 0, len(room.roster), b64u(bytes(32)))


@pytest.mark.parametrize(
    "change",
    [
        lambda m, room: {"recipients": (*m.recipients, ghost(room))},
        lambda m, room: {"recipients": m.recipients[:-1]},
        lambda m, room: {"recipients": m.recipients[1:]},
        lambda m, room: {"recipients": (m.recipients[0], *m.recipients[2:])},
        lambda m, room: {"recipients": (*m.recipients, m.recipients[-1])},
        lambda m, room: {"recipients": (*m.recipients[:-1], replace(m.recipients[-1], sender=7))},
        lambda m, room: {"release_class": ReleaseClass.TRUSTED},
        lambda m, room: {"iss": "branch.bank.example"},
        lambda m, room: {"roster_version": 9},
        lambda m, room: {"wrap_alg": "RSA1_5"},
        lambda m, room: {"media": media_of(1)},
        lambda m, room: {"exp": m.nbf},
    ],
    ids=["ghost", "reader gone", "no vault", "no escrow", "twice", "sender", "class", "site",
         "roster", "downgrade", "media", "expired"],
)  # fmt: skip
def test_a_signed_manifest_that_says_something_else_is_found(verify, change):
    site, room = small_site()
    remade(site, room, 0, **change(site.manifest(room, 0, 0), room))
    assert Check.MANIFESTS in failed(verify(sealed(site)))


@pytest.mark.parametrize("kind", [RecipientKind.VAULT, RecipientKind.ESCROW])
def test_an_epoch_without_vault_or_escrow_is_found_even_if_its_leaf_agrees(verify, kind):
    site, room = small_site()
    whole = site.manifest(room, 0, 0).recipients
    fewer = tuple(entry for entry in whole if entry.kind is not kind)
    remade(site, room, 0, recipients=fewer)
    retell(site, find(site, "meeting.open"), recipients=[entry.id for entry in fewer])
    assert failed(verify(sealed(site))) == {Check.MANIFESTS}


def test_a_server_among_the_readers_of_a_roster_space_is_found(verify):
    site, room = small_site()
    whole = (*site.manifest(room, 0, 0).recipients, ghost(room, RecipientKind.SERVER))
    remade(site, room, 0, recipients=whole)
    retell(site, find(site, "meeting.open"), recipients=[entry.id for entry in whole])
    assert Check.MANIFESTS in failed(verify(sealed(site)))
