"""What the offline verifier finds of a web process that lies: leaves of its own, which the honest
worker of the site signs as it signs every log that only grew.
"""

from dataclasses import replace
from datetime import timedelta
from itertools import count

import msgspec
import pytest

from kms.audit.checks import Check, Verdict
from kms.domain.models import RotationReason
from kms.domain.policies import GroupNeed, Labels, Quorum, RotationRules, SpacePolicy
from kms.statements import jws
from kms.statements.canonical import digest, encode_record
from kms.statements.destruction import peek_certificate, sign_certificate
from kms.statements.register import TYP
from tests.fixtures.approved import register_token, request_id, root_key
from tests.fixtures.evidence import named, new_key
from tests.fixtures.people import LEGAL, SECURITY
from tests.fixtures.verdicts import (
    SPACE,
    alter,
    failed,
    find,
    sealed,
    small_site,
    verdicts,
    verified,
)

EVERYBODY = (*SECURITY[:3], *LEGAL[:2])
HOLD = request_id(9)
ROOT = jws.spki_id(root_key().public_key())
YEAR = 365 * 24 * 3600


@pytest.fixture
def verify(tmp_path):
    """Verify bundles, each in a folder of its own."""
    numbers = count()

    def verify(site):
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return verified(sealed(site), folder)

    return verify


def held():
    site, room = small_site()
    told = {"hold": HOLD, "meeting": "", "reason": "a lawsuit"}
    site._event("hold.place", SPACE, f"spaces/{SPACE}/holds/{HOLD}", _hold(), told, "officer")
    return site, room


def _hold():
    return [f"hold/{SPACE}/{HOLD}"]


def lift(site, people=EVERYBODY, **changes):
    place = f"spaces/{SPACE}/holds/{HOLD}"
    told = {"hold": HOLD}
    return site.approve("hold.lift", SPACE, place, told, _hold(), told, people, **changes)


def change_policy(site, retention=0, quorums=()):
    policy = SpacePolicy(SPACE, Labels(), RotationRules(3600, 86_400), retention, quorums)
    wanted = {"policy": msgspec.to_builtins(policy), "version": 1}
    place, rows = f"spaces/{SPACE}/policy", [f"policy/{SPACE}"]
    site.approve("policy.change", SPACE, place, wanted, rows, {"version": 1}, EVERYBODY)


def signed(register, key):
    kid = jws.spki_id(key.public_key())
    return jws.sign(encode_record(register), typ=TYP, kid=kid, signer=jws.private_signer(key))


# --- registers -----------------------------------------------------------------------------------


def lifted_under(monkeypatch, token):
    """Return a site where a hold was lifted under that register."""
    site, _ = held()
    monkeypatch.setattr("tests.fixtures.approved.register_token", lambda _register: token)
    site.issue_register(token)
    lift(site)
    return site


def test_a_register_of_another_root_is_found(verify, monkeypatch):
    site, _ = small_site()
    site = lifted_under(monkeypatch, signed(site.people, new_key()))
    assert failed(verify(site)) == {Check.APPROVALS}


def test_a_register_whose_signature_does_not_hold_is_found(verify, monkeypatch):
    site, _ = small_site()
    head, body, signature = register_token(site.people).split(".")
    site = lifted_under(monkeypatch, ".".join((head, body, "A" * len(signature))))
    assert failed(verify(site)) == {Check.APPROVALS}


def test_a_register_of_another_site_or_version_is_found(verify, monkeypatch):
    site, _ = small_site()
    for changes in ({"site": "branch.bank.example"}, {"version": 7}):
        token = signed(replace(site.people, **changes), root_key())
        assert failed(verify(lifted_under(monkeypatch, token))) == {Check.APPROVALS}


def test_a_register_from_before_a_restore_is_a_finding_and_never_passes(verify, monkeypatch):
    site, _ = small_site()
    site = lifted_under(monkeypatch, signed(site.people, new_key()))
    site.told_by_officers("site.restore", resource="site", size=3, root="r", site_root=ROOT)
    assert verdicts(verify(site))[Check.APPROVALS] is Verdict.FINDING


@pytest.mark.parametrize("root", [ROOT, named("another root")], ids=["too early", "another root"])
def test_a_restore_excuses_only_what_it_followed_and_only_to_the_pinned_root(
    verify, monkeypatch, root
):
    site, _ = small_site()
    token = signed(site.people, new_key())
    site, _ = held()
    monkeypatch.setattr("tests.fixtures.approved.register_token", lambda _register: token)
    site.issue_register(token)
    if root != ROOT:
        lift(site)
    site.told_by_officers("site.restore", resource="site", size=3, root="r", site_root=root)
    if root == ROOT:
        lift(site)
    assert failed(verify(site)) == {Check.APPROVALS}


@pytest.mark.parametrize("versions", [(2, 1), (1, 1)], ids=str)
def test_registers_that_do_not_get_newer_are_found(verify, versions):
    site, _ = small_site()
    for version in versions:
        site.issue_register(register_token(site.people), version=version)
    assert failed(verify(site)) == {Check.APPROVALS}


# --- quorums -------------------------------------------------------------------------------------


def test_a_request_that_asks_for_fewer_than_the_default_is_found(verify):
    site, _ = held()
    lift(site, SECURITY[:2], quorum=(GroupNeed("security", 2),))
    assert failed(verify(site)) == {Check.APPROVALS}


def test_a_policy_says_who_approves_from_then_on(verify):
    needs = (GroupNeed("legal", 2),)
    site, _ = held()
    change_policy(site, quorums=(Quorum("hold.lift", needs),))
    lift(site, LEGAL[:2], quorum=needs)
    assert failed(verify(site)) == set()
    site, _ = held()
    change_policy(site, quorums=(Quorum("hold.lift", needs),))
    lift(site)
    assert failed(verify(site)) == {Check.APPROVALS}


# --- ceremonies ----------------------------------------------------------------------------------

OFFICERS = {
    "register.change": ("", "register/1", {"version": 1, "sha256": digest(b"r")}),
    "key-list.issue": ("", "key-list/2", {"version": 2, "sha256": digest(b"k")}),
    "space.create": ("lending", "spaces/lending", {"release_class": "roster", "token": "t"}),
    "space.retire": (SPACE, f"spaces/{SPACE}", {}),
    "recipient.register": (SPACE, f"spaces/{SPACE}/recipients/x", {"kind": "server", "name": "x"}),
    "recipient.revoke": (SPACE, f"spaces/{SPACE}/recipients/x", {"kind": "server", "name": "x"}),
    "escrow.generate": ("", "escrow", {"generation": 1, "spki": named("escrow")}),
    "site.restore": ("", "site", {"size": 1, "root": "r", "site_root": ROOT}),
    "site.unseal": ("", "site", {}),
    "space.unseal": (SPACE, f"spaces/{SPACE}", {}),
}


def tell(site, action, actor, **more):
    space, place, told = OFFICERS[action]
    rows = {"space": f"space/{space}", "recipient": f"recipient/{SPACE}/x"}
    row = [rows[action.split(".")[0]]] if space else []
    site._event(action, space, place, row, {**told, "ceremony": "c-9", **more}, actor)


@pytest.mark.parametrize("actor", ["server:meet-1", "ceremony/c-9"])
@pytest.mark.parametrize("action", OFFICERS)
def test_what_officers_do_in_no_ceremony_is_found(verify, action, actor):
    site, _ = small_site()
    tell(site, action, actor)
    assert failed(verify(site)) == {Check.APPROVALS}


def test_a_ceremony_that_is_over_and_one_in_anothers_name_are_found(verify):
    site, _ = small_site()
    with site.ceremony("c-9", "create-space"):
        pass
    tell(site, "space.create", "ceremony/c-9")
    assert failed(verify(site)) == {Check.APPROVALS}
    site, _ = small_site()
    with site.ceremony("c-9", "create-space") as actor:
        tell(site, "space.create", actor, ceremony="c-8")
    assert failed(verify(site)) == {Check.APPROVALS}


@pytest.mark.parametrize("name", ["space.unseal", "site.unseal"])
def test_only_the_ceremony_for_it_unseals(verify, name):
    for kind, expected in (("unseal", set()), ("drill", {Check.APPROVALS})):
        site, _ = small_site()
        with site.ceremony("c-9", kind) as actor:
            tell(site, name, actor)
        assert failed(verify(site)) == expected


def test_a_ceremony_that_was_interrupted_goes_on_under_a_new_intent(verify):
    site, _ = small_site()
    with site.ceremony("c-9", "create-space"):
        pass
    seq = len(site.drafts) - 1
    told = {"ceremony": "c-9", "kind": "create-space"}
    alter(site, seq, outcome=site.drafts[seq].outcome.INTERRUPTED, details=told)
    with site.ceremony("c-9", "create-space") as actor:
        tell(site, "space.create", actor)
    assert failed(verify(site)) == set()


def gone(kind="destroy-space", *, retired=True, hold=False, retention=0):
    """Return a site where a ceremony destroyed a meeting without a request."""
    site, room = held() if hold else small_site()
    if retention:
        change_policy(site, retention)
    site.close(room)
    if retired:
        site.told_by_officers("space.retire", SPACE, rows=[f"space/{SPACE}"])
    living = [number for number in range(room.last + 1) if number not in room.gone]
    with site.ceremony("c-9", kind) as actor:
        rows, told = site._rows(room, *living), {"epochs": len(living)}
        site._event("meeting.destroy", SPACE, room.path(), rows, told, actor)
    return site


def test_a_retired_spaces_keys_go_in_its_ceremony(verify):
    assert failed(verify(gone())) == set()


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"kind": "retire-space"}, Check.APPROVALS),
        ({"retired": False}, Check.STATES),
        ({"hold": True}, Check.DESTRUCTION),
        ({"retention": YEAR}, Check.DESTRUCTION),
    ],
    ids=str,
)
def test_a_destruction_without_a_request_that_may_not_be_is_found(verify, changes, check):
    assert failed(verify(gone(**changes))) == {check}


# --- retention -----------------------------------------------------------------------------------


def one_epoch_gone(retention):
    """Return a site where an ended epoch of an open meeting was destroyed."""
    site, room = small_site()
    change_policy(site, retention)
    before = room.current
    site.rotate(room, RotationReason.SUSPICION)
    rows = [f"epoch/{SPACE}/{room.meeting}/{before}"]
    target, told = {"meeting": room.meeting, "epoch": before}, {"epoch": before}
    request = site.approve("epoch.destroy", SPACE, room.path(before), target, rows, told)
    site.certify(SPACE, request, room, [before])
    return site


def test_an_epoch_of_an_open_meeting_is_kept_as_long_as_the_policy_says(verify):
    assert failed(verify(one_epoch_gone(0))) == set()
    assert failed(verify(one_epoch_gone(YEAR))) == {Check.DESTRUCTION}


def test_the_present_key_of_an_open_meeting_is_not_destroyed(verify):
    site, room = small_site()
    row = [f"epoch/{SPACE}/{room.meeting}/{room.current}"]
    told = {"epoch": room.current, "reason": "a leak", "was": "active", "served": 0}
    more = {**told, "readers": list(room.roster)}
    site._event("epoch.compromise", SPACE, room.path(room.current), row, more, "officer")
    target, path = {"meeting": room.meeting, "epoch": room.current}, room.path(room.current)
    request = site.approve("epoch.destroy", SPACE, path, target, row, {"epoch": room.current})
    site.certify(SPACE, request, room, [room.current])
    assert failed(verify(site)) == {Check.STATES}


# --- grants --------------------------------------------------------------------------------------


def granted(starts=0, seconds=3600):
    """Return a site that has granted ann a role, its room, and the grant."""
    site, room = small_site()
    now = int(site._now.timestamp())
    wish = {
        "principal": "ann", "role": "operator", "starts": now + starts, "expires": now + seconds,
    }  # fmt: skip
    grant = request_id(1)
    told = {"grant": grant, **{name: wish[name] for name in ("principal", "role", "expires")}}
    place, rows = f"spaces/{SPACE}/grants/{grant}", [f"grant/{SPACE}/{grant}"]
    assert site.approve("grant.create", SPACE, place, wish, rows, told) == grant
    return site, room, grant


def use(site, room, grant, actor="ann"):
    site.close(room)
    alter(site, len(site.drafts) - 1, actor=actor, auth=f"socket:uid=1;grant={grant}")


def test_what_is_done_under_a_grant_in_force_passes(verify):
    site, room, grant = granted()
    use(site, room, grant)
    assert failed(verify(site)) == set()


def test_a_grant_that_was_never_made_or_is_anothers_is_found(verify):
    for grant, actor in ((request_id(77), "ann"), (request_id(1), "bob")):
        site, room, _ = granted()
        use(site, room, grant, actor)
        assert failed(verify(site)) == {Check.APPROVALS}


def test_a_grant_of_another_space_is_found(verify):
    site, _, grant = granted()
    site.space("lending")
    use(site, site.open("lending", "ann"), grant)
    assert failed(verify(site)) == {Check.APPROVALS}


@pytest.mark.parametrize("times", [(600, 3600), (-3600, -120)], ids=["not yet", "over"])
def test_a_grant_outside_its_time_is_found(verify, times):
    site, room, grant = granted(*times)
    use(site, room, grant)
    assert failed(verify(site)) == {Check.APPROVALS}


def test_a_grant_that_was_revoked_is_found(verify):
    site, room, grant = granted()
    row = [f"grant/{SPACE}/{grant}"]
    site._event("grant.revoke", SPACE, f"spaces/{SPACE}/grants/{grant}", row, {"grant": grant})
    site._now += timedelta(minutes=2)
    use(site, room, grant)
    assert failed(verify(site)) == {Check.APPROVALS}


# --- certificates --------------------------------------------------------------------------------


def certified(**changes):
    """Return a site whose space's key certified a destruction in other words."""
    site, room = small_site()
    site.close(room)
    site.destroy(room)
    ((request, token),) = site.certificates.items()
    told = peek_certificate(token)
    at = {key: told.destroyed + value for key, value in changes.items() if isinstance(value, int)}
    key = site.manifest_keys[SPACE]
    kid = jws.spki_id(key.public_key())
    made = sign_certificate(replace(told, **{**changes, **at}), kid, jws.private_signer(key))
    site.certificates[request] = made
    seq = find(site, "destruction.certify")
    alter(site, seq, details={"request": request, "certificate": digest(made.encode())})
    return site


def test_the_certificate_of_what_the_log_tells_passes(verify):
    assert failed(verify(certified())) == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"requester": "mallory"},
        {"supervisors": ("nobody", "else")},
        {"supervisors": ()},
        {"executor": "x"},
        {"space": "lending"},
        {"operation": "epoch.destroy"},
        {"destroyed": -1000, "issued": 0},
        {"destroyed": 1000, "issued": 1000},
        {"issued": -1},
        {"issued": 1000},
    ],
    ids=str,
)
def test_a_certificate_of_other_people_or_times_is_found(verify, changes):
    assert failed(verify(certified(**changes))) == {Check.DESTRUCTION}
