"""What the offline verifier says of the life cycle: states, approvals, holds, policies, seals."""

from dataclasses import replace
from itertools import count

import msgspec
import pytest

from kms.audit.checks import Check, Verdict
from kms.domain.models import ReleaseClass, RotationReason
from kms.domain.policies import Labels, RotationRules, SpacePolicy
from kms.statements.request import peek_request
from tests.fixtures.approved import approval, approved, asked, request_id
from tests.fixtures.evidence import named
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


@pytest.fixture
def verify(tmp_path):
    """Verify bundles, each in a folder of its own."""
    numbers = count()

    def verify(site, **more):
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return verified(site, folder, **more)

    return verify


def suspended():
    site, room = small_site()
    row = [f"epoch/{room.space}/{room.meeting}/{room.current}"]
    told = {"epoch": room.current, "reason": "a lost laptop"}
    site._event("epoch.suspend", room.space, room.path(room.current), row, told, "officer")
    return site, room, row


def resumed(**changes):
    site, room, row = suspended()
    target = {"meeting": room.meeting, "epoch": room.current}
    path = room.path(room.current)
    told = {"epoch": room.current}
    site.approve("epoch.resume", room.space, path, {**target, **changes}, row, told)
    return site, room


def compromised(site, room, epoch, was="active", rows=None):
    row = rows or [f"epoch/{room.space}/{room.meeting}/{epoch}"]
    told = {"epoch": epoch, "reason": "found in a dump", "was": was, "served": 0}
    readers = {**told, "readers": list(room.roster)}
    site._event("epoch.compromise", room.space, room.path(epoch), row, readers, "officer")


def policy(retention=0):
    return SpacePolicy(SPACE, Labels(), RotationRules(3600, 86_400), retention)


def change_policy(site, retention=0, people=EVERYBODY, **told):
    wanted = {"policy": msgspec.to_builtins(policy(retention)), "version": 1}
    place = f"spaces/{SPACE}/policy"
    rows = [f"policy/{SPACE}"]
    return site.approve("policy.change", SPACE, place, wanted, rows, {"version": 1, **told}, people)


def test_a_key_suspended_and_resumed_by_a_quorum_passes(verify):
    site, _ = resumed()
    assert failed(verify(sealed(site))) == set()


def test_a_suspended_key_serves_nobody(verify):
    site, room, _ = suspended()
    site.fetch(room, "ann")
    assert failed(verify(sealed(site))) == {Check.ACCESS}


def test_a_resumption_of_another_epoch_than_approved_is_found(verify):
    site, _ = resumed(epoch=7)
    assert failed(verify(sealed(site))) == {Check.APPROVALS}


def test_a_compromised_key_serves_nobody_and_the_next_one_follows(verify):
    site, room = small_site()
    compromised(site, room, room.current)
    gone = room.current
    room.current = -1
    site._mint(room, "epoch.rotate", RotationReason.COMPROMISE)
    assert failed(verify(sealed(site))) == set()
    site.fetch(room, "ann", gone)
    assert failed(verify(sealed(site))) == {Check.ACCESS}


def test_a_compromise_that_hides_a_reader_is_found(verify):
    site, room = small_site()
    room.roster = room.roster[1:]
    compromised(site, room, room.current)
    assert failed(verify(sealed(site))) == {Check.STATES}


def test_a_destruction_with_its_certificate_passes(verify):
    site, room = small_site()
    site.close(room)
    site.destroy(room)
    found = verdicts(verify(sealed(site)))
    assert found[Check.DESTRUCTION] is found[Check.APPROVALS] is Verdict.PASS


def test_a_destruction_without_a_certificate_is_a_finding(verify):
    site, room = small_site()
    site.close(room)
    site.destroy(room)
    del site.drafts[-1], site.times[-1]
    site.certificates.clear()
    assert verdicts(verify(sealed(site)))[Check.DESTRUCTION] is Verdict.FINDING


def test_a_destruction_under_a_legal_hold_is_found(verify):
    site, room = small_site()
    told = {"hold": request_id(9), "meeting": "", "reason": "a lawsuit"}
    place, row = f"spaces/{room.space}/holds/{request_id(9)}", f"hold/{room.space}/{request_id(9)}"
    site._event("hold.place", room.space, place, [row], told, "officer")
    site.close(room)
    site.destroy(room)
    assert failed(verify(sealed(site))) == {Check.DESTRUCTION}


def test_a_destruction_after_the_hold_was_lifted_passes(verify):
    site, room = small_site()
    name = request_id(9)
    told = {"hold": name, "meeting": "", "reason": "a lawsuit"}
    place, row = f"spaces/{room.space}/holds/{name}", f"hold/{room.space}/{name}"
    site._event("hold.place", room.space, place, [row], told, "officer")
    site.close(room)
    lifted = {"hold": name}
    site.approve("hold.lift", room.space, place, lifted, [row], lifted, EVERYBODY)
    site.destroy(room)
    assert failed(verify(sealed(site))) == set()


def test_a_policy_changed_by_every_group_passes_and_holds_from_then_on(verify):
    site, room = small_site()
    change_policy(site, retention=3600)
    assert failed(verify(sealed(site))) == set()
    site.close(room)
    site.destroy(room)
    assert failed(verify(sealed(site))) == {Check.DESTRUCTION}


def test_a_policy_of_another_version_than_approved_is_found(verify):
    site, _ = small_site()
    change_policy(site)
    seq = find(site, "policy.change")
    alter(site, seq, details={**site.drafts[seq].details, "version": 2})
    assert failed(verify(sealed(site))) == {Check.APPROVALS}


def test_too_few_people_are_found(verify):
    site, _ = small_site()
    change_policy(site, people=SECURITY[:3])
    assert failed(verify(sealed(site))) == {Check.APPROVALS}


def test_a_request_carried_out_twice_is_found(verify):
    site, _ = small_site()
    change_policy(site)
    seq = find(site, "policy.change")
    again = site.drafts[seq]
    rows = {key: version + 1 for key, version in again.rows.items()}
    site.drafts.append(replace(again, rows=rows))
    site.times.append(site.times[-1])
    assert failed(verify(sealed(site))) == {Check.APPROVALS}


def test_approvals_of_another_request_are_found(verify):
    site, _ = small_site()
    name = change_policy(site)
    record = site.requests[name]
    wanted = peek_request(record.request)
    other = replace(wanted, reason="something else")
    site.requests[name] = replace(
        record, approvals=tuple(approval(other, person) for person in EVERYBODY)
    )
    assert failed(verify(sealed(site))) == {Check.APPROVALS}
    site.requests[name] = replace(approved(other, EVERYBODY), request=asked(other))
    assert failed(verify(sealed(site))) == {Check.APPROVALS}


def test_a_missing_register_is_found(verify):
    site, _ = small_site()
    change_policy(site)
    site.registers.clear()
    assert Check.APPROVALS in failed(verify(sealed(site)))


def test_a_request_that_no_leaf_carried_out_is_found(verify):
    site, _ = small_site()
    change_policy(site)
    seq = find(site, "policy.change")
    del site.drafts[seq], site.times[seq]
    assert failed(verify(sealed(site))) == {Check.APPROVALS}


def test_an_approved_action_without_its_request_row_is_found(verify):
    site, _ = small_site()
    change_policy(site)
    seq = find(site, "policy.change")
    rows = {k: v for k, v in site.drafts[seq].rows.items() if not k.startswith("request/")}
    alter(site, seq, rows=rows)
    assert failed(verify(sealed(site))) == {Check.ROWS}


@pytest.mark.parametrize("action", ["space.seal", "site.seal"])
def test_a_key_operation_while_sealed_is_found(verify, action):
    site, room = small_site()
    whole = action == "site.seal"
    place = "site" if whole else f"spaces/{room.space}"
    rows = [] if whole else [f"space/{room.space}"]
    site._event(action, "" if whole else room.space, place, rows, {"reason": "fire"}, "officer")
    site.fetch(room, "ann")
    assert failed(verify(sealed(site))) == {Check.STATES}


def test_a_vault_key_retired_while_a_key_depends_on_it_is_found(verify):
    site, room = small_site()
    vault = named(f"vault {room.space}")
    place, row = f"spaces/{room.space}/recipients/{vault}", f"recipient/{room.space}/{vault}"
    site.approve("vault.retire", room.space, place, {"version": 1}, [row], {"version": 1})
    assert failed(verify(sealed(site))) == {Check.STATES}


def test_a_vault_key_that_nothing_depends_on_is_retired(verify):
    site, room = small_site()
    site.rewrap(room, 2, room.current, action="vault.rewrap")
    vault = named(f"vault {room.space}")
    place, row = f"spaces/{room.space}/recipients/{vault}", f"recipient/{room.space}/{vault}"
    site.approve("vault.retire", room.space, place, {"version": 1}, [row], {"version": 1})
    assert failed(verify(sealed(site))) == set()


def test_a_vault_key_retired_without_approval_or_another_than_approved_is_found(verify):
    for other in (None, 2):
        site, room = small_site()
        site.rewrap(room, 2, room.current, action="vault.rewrap")
        vault = named(f"vault {room.space}")
        place, row = f"spaces/{room.space}/recipients/{vault}", f"recipient/{room.space}/{vault}"
        if other:
            wanted = {"version": other}
            site.approve("vault.retire", room.space, place, wanted, [row], {"version": 1})
        else:
            told = {"version": 1, "request": request_id(9), "digest": "d" * 43}
            rows = [row, f"request/{room.space}/{request_id(9)}"]
            site._event("vault.retire", room.space, place, rows, told, "service")
        assert Check.APPROVALS in failed(verify(sealed(site)))


def test_details_of_an_unknown_shape_are_found(verify):
    site, _ = small_site()
    site._event("clock.jump", "", "clock", [], {"seconds": 3, "wall": "x", "more": 1}, "service")
    assert failed(verify(sealed(site))) == {Check.ACTIONS}


def test_alerts_jumps_and_reports_pass(verify):
    site, room = small_site()
    board = site.open(room.space, "m", release_class=ReleaseClass.ROSTER)
    row = [f"meeting/{board.space}/{board.meeting}"]
    site._event("media.report", board.space, board.path(), row, {"cipher": "AES-256-GCM"})
    site._event("clock.jump", "", "clock", [], {"seconds": -30, "wall": "2026"}, "service")
    told = {"alert": "clock-jump", "subject": "clock"}
    site._event("alert.raise", "", "alerts/clock-jump", [], {**told, "number": 30}, "service")
    site._event("alert.clear", "", "alerts/clock-jump", [], told, "service")
    assert failed(verify(sealed(site))) == set()
