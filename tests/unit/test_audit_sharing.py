"""What the offline verifier says of shared meetings: a partner in a manifest, who approved it."""

from dataclasses import replace
from itertools import count

import msgspec
import pytest

from kms.audit.checks import Check
from kms.domain.models import RecipientKind
from kms.domain.policies import GroupNeed, Labels, Quorum, RotationRules, SpacePolicy
from kms.statements.canonical import b64u
from kms.statements.manifest import ManifestRecipient
from tests.fixtures.evidence import named
from tests.fixtures.people import LEGAL, SECURITY
from tests.fixtures.verdicts import SPACE, failed, sealed, small_site, verified

PARTNER = "markets"
EVERYBODY = (*SECURITY[:2], *LEGAL[:1])
QUORUM = (GroupNeed("security", 2), GroupNeed("legal", 1, PARTNER))


@pytest.fixture
def verify(tmp_path):
    """Verify bundles, each in a folder of its own."""
    numbers = count()

    def verify(site):
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return verified(site, folder)

    return verify


def change_policy(site, space, needs, version=1):
    """Let a space's policy say who approves what it shares."""
    quorums = (Quorum("meeting.share", needs),)
    policy = SpacePolicy(space, Labels(), RotationRules(3600, 86_400), 0, quorums)
    wanted = {"policy": msgspec.to_builtins(policy), "version": version}
    rows, told = [f"policy/{space}"], {"version": version}
    people = (*SECURITY[:3], *LEGAL[:2])
    site.approve("policy.change", space, f"spaces/{space}/policy", wanted, rows, told, people)


def lawyers_first():
    """Return a site where one lawyer of the partner's space approves what is shared with it."""
    site, room = small_site()
    change_policy(site, PARTNER, (GroupNeed("legal", 1),))
    return site, room


def share(site, room, people=EVERYBODY, quorum=QUORUM, to=PARTNER):
    target = {"meeting": room.meeting, "partner": PARTNER}
    place = f"{room.space}/{room.meeting}"
    rows = [f"share/{place}", f"meeting/{place}"]
    told = {"partner": to}
    site.approve("meeting.share", SPACE, room.path(), target, rows, told, people, quorum=quorum)


def with_partner(site, sender=-1, places=1):
    """Have every further manifest name the partner's vault."""
    plain = site.manifest

    def manifest(room, epoch, starts):
        made = plain(room, epoch, starts)
        entries = tuple(
            ManifestRecipient(
                named(f"vault {PARTNER} {n}"), RecipientKind.PARTNER, 3, sender, b64u(bytes(32))
            )
            for n in range(places)
        )
        return replace(made, recipients=(*made.recipients[:2], *entries, *made.recipients[2:]))

    site.manifest = manifest


def shared(**changes):
    site, room = lawyers_first()
    share(site, room)
    with_partner(site, **changes)
    site.rotate(room)
    site.activate(room)
    return site, room


def test_a_share_that_both_sides_approved_passes_and_the_roster_is_what_it_was(verify):
    site, room = shared()
    site.fetch(room, "ann")
    site.change(room, "ann", "bob", "eve")
    site.change(room, "ann")
    site.close(room)
    assert failed(verify(sealed(site))) == set()


def test_a_compromise_tells_the_readers_beside_the_keepers(verify):
    site, room = shared()
    told = {
        "epoch": room.current, "reason": "a leak", "was": "active", "served": 0,
        "readers": list(room.roster),
    }  # fmt: skip
    row = [f"epoch/{room.space}/{room.meeting}/{room.current}"]
    site._event("epoch.compromise", SPACE, room.path(room.current), row, told, "officer")
    assert failed(verify(sealed(site))) == set()


def test_a_partner_whom_nobody_approved_is_found(verify):
    site, room = small_site()
    with_partner(site)
    site.rotate(room)
    assert Check.MANIFESTS in failed(verify(sealed(site)))


def test_a_partner_left_out_after_the_share_is_found(verify):
    site, room = lawyers_first()
    share(site, room)
    site.rotate(room)
    assert Check.MANIFESTS in failed(verify(sealed(site)))


@pytest.mark.parametrize("changes", [{"sender": 0}, {"sender": 2}, {"places": 2}])
def test_a_partner_that_sends_and_two_partners_are_found(verify, changes):
    site, _ = shared(**changes)
    assert Check.MANIFESTS in failed(verify(sealed(site)))


def test_a_partners_vault_is_served_to_nobody(verify):
    site, room = shared()
    site.fetch(room, f"vault {PARTNER} 0")
    assert failed(verify(sealed(site))) == {Check.ACCESS}


@pytest.mark.parametrize(
    "changes",
    [
        {"people": SECURITY[:3]},
        {"people": (*SECURITY[:1], LEGAL[0])},
        {"quorum": QUORUM[:1], "people": SECURITY[:3]},
        {"quorum": (replace(QUORUM[0], space=PARTNER), QUORUM[1])},
        {"quorum": (replace(QUORUM[0], count=1), QUORUM[1])},
        {"quorum": (QUORUM[0], replace(QUORUM[1], group="security"))},
        {"to": "lending"},
    ],
    ids=[
        "one side",
        "too few",
        "one side asked",
        "the partner alone",
        "fewer than the default",
        "others than the partner's policy names",
        "another partner",
    ],
)
def test_a_share_that_was_not_approved_so_is_found(verify, changes):
    site, room = lawyers_first()
    share(site, room, **changes)
    assert Check.APPROVALS in failed(verify(sealed(site)))


def test_a_meeting_is_shared_once(verify):
    site, room = lawyers_first()
    share(site, room)
    share(site, room)
    assert Check.STATES in failed(verify(sealed(site)))
