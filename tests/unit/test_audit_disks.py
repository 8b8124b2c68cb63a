"""What the offline verifier says of encrypted disks: AV-19, and who approved it."""

from dataclasses import replace

import pytest

from kms.audit.checks import Check, Verdict
from kms.statements.erasure import Slots
from tests.fixtures.disk_evidence import DISK, ToldDisk, told_disk
from tests.fixtures.evidence import named
from tests.fixtures.verdicts import alter, failed, find, retell, sealed, seqs, verdicts, verified

OTHER = DISK[:-1] + "d"


@pytest.fixture
def verify(tmp_path):
    return lambda disk: verified(sealed(disk.site), tmp_path)


def test_the_whole_life_of_a_disk_passes(verify):
    disk = told_disk()
    disk.report("seen")
    disk.report("enrolled")
    disk.order()
    for work in ("slot", "recovery", "volume", "recover"):
        disk.release()
        disk.work(work)
    disk.rotate_kek()
    disk.change()
    disk.report("erasing")
    disk.certify(disk.erase())
    report = verify(disk)
    assert failed(report) == set()
    assert verdicts(report)[Check.DISKS] is Verdict.PASS


def test_an_absent_device_s_disk_passes(verify):
    disk = told_disk()
    disk.certify(disk.erase(absent=True))
    assert failed(verify(disk)) == set()


def test_a_device_that_is_no_disk_may_be_told_of(verify):
    disk = told_disk()
    told = {"serial": "X-1", "state": "unknown", "before": "", "code": ""}
    disk.site._event("device.report", "", "devices/X-1", [], told, "appliance")
    assert failed(verify(disk)) == set()


def test_a_release_that_an_erasure_overtook_passes_since_it_was_announced(verify):
    disk = told_disk()
    told = {"serial": disk.serial, "version": 4, "work": "none"}
    intent = disk.intent("disk.keys", told)
    disk.certify(disk.erase())
    disk.result("disk.keys", intent, told, [])
    assert failed(verify(disk)) == set()


# --- who approved it -----------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["disk.enroll", "disk.erase"])
def test_what_nobody_approved_is_found(verify, action):
    disk = told_disk()
    disk.certify(disk.erase())
    seq = find(disk.site, action)
    request = disk.site.drafts[seq].details["request"]
    del disk.site.requests[request]
    assert Check.APPROVALS in failed(verify(disk))


@pytest.mark.parametrize(
    "changes",
    [{"serial": "WD-2"}, {"preparation": "encrypt"}, {"replaces": OTHER}, {"disk": OTHER}],
)
def test_another_enrolment_than_approved_is_found(verify, changes):
    disk = told_disk()
    retell(disk.site, find(disk.site, "disk.enroll"), **changes)
    assert Check.APPROVALS in failed(verify(disk))


@pytest.mark.parametrize("changes", [{"absent": True}, {"disk": OTHER}])
def test_another_erasure_than_approved_is_found(verify, changes):
    disk = told_disk()
    disk.certify(disk.erase())
    retell(disk.site, find(disk.site, "disk.erase"), **changes)
    assert Check.APPROVALS in failed(verify(disk))


def test_one_request_erases_one_disk_once(verify):
    disk = told_disk()
    seq = find(disk.site, "disk.enroll")
    again = disk.site.drafts[seq]
    disk.site._event(again.action, disk.space, disk.path, list(again.rows), again.details, "x")
    assert Check.APPROVALS in failed(verify(disk))


# --- which disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["release", "rotate_kek", "change", "order"])
def test_a_disk_that_was_never_enrolled_is_found(verify, action):
    disk = told_disk()
    stranger = ToldDisk(disk.site, disk.space, OTHER, "WD-2")
    getattr(stranger, action)()
    assert Check.DISKS in failed(verify(disk))


def test_a_disk_or_device_that_is_enrolled_twice_is_found(verify):
    disk = told_disk()
    ToldDisk(disk.site, disk.space, OTHER, disk.serial).enrol()
    assert failed(verify(disk)) == {Check.DISKS}


def test_a_device_is_another_disk_after_its_erasure(verify):
    disk = told_disk()
    disk.certify(disk.erase())
    after = ToldDisk(disk.site, disk.space, OTHER, disk.serial)
    after.enrol()
    after.work("format")
    assert failed(verify(disk)) == set()


@pytest.mark.parametrize(
    "action", ["disk.keys", "disk.order", "disk-order.report", "device.report"]
)
def test_what_is_told_of_another_device_than_the_disk_s_is_found(verify, action):
    disk = told_disk()
    disk.release()
    disk.order()
    disk.report("seen")
    retell(disk.site, find(disk.site, action), serial="WD-9")
    assert Check.DISKS in failed(verify(disk))


# --- nothing after the end -----------------------------------------------------------------------


@pytest.mark.parametrize("action", ["release", "rotate_kek"])
def test_a_key_released_or_made_after_the_erasure_is_found(verify, action):
    disk = told_disk()
    disk.certify(disk.erase())
    seq = getattr(disk, action)()
    report = verify(disk)
    assert failed(report) == {Check.DISKS}
    assert seq in seqs(report, Check.DISKS)


@pytest.mark.parametrize("work", ["slot", "recover", "format"])
def test_a_work_after_the_erasure_is_found(verify, work):
    disk = told_disk()
    disk.certify(disk.erase())
    disk.work(work)
    assert failed(verify(disk)) == {Check.DISKS}


def test_an_erased_disk_that_is_erased_again_is_found(verify):
    disk = told_disk()
    disk.certify(disk.erase())
    disk.certify(disk.erase())
    assert Check.DISKS in failed(verify(disk))


def test_a_space_that_is_destroyed_with_a_disk_is_found(verify):
    disk = told_disk()
    space = [f"space/{disk.space}"]
    disk.site.told_by_officers("space.retire", disk.space, rows=space)
    disk.site.told_by_officers("space.destroy", disk.space, rows=space, certificate=named("c"))
    assert failed(verify(disk)) == {Check.DISKS}


def test_keys_released_while_the_space_is_sealed_are_found(verify):
    disk = told_disk()
    told = {"reason": "a break-in"}
    disk.site._event(
        "space.seal", disk.space, f"spaces/{disk.space}", [f"space/{disk.space}"], told
    )
    disk.release()
    assert failed(verify(disk)) == {Check.STATES}


# --- works ---------------------------------------------------------------------------------------


def begins_twice(disk):
    disk.begin("slot")
    disk.begin("recovery")


def commits_nothing(disk):
    disk.commit("slot")


def commits_another(disk):
    disk.begin("slot")
    disk.commit("volume")


def commits_twice(disk):
    disk.begin("slot")
    disk.commit("slot")
    disk.commit("slot")


def finishes_before_the_commit(disk):
    disk.begin("slot")
    disk.finish("slot")


def rotates_within_a_work(disk):
    disk.begin("slot")
    disk.rotate_kek()


def changes_within_a_work(disk):
    disk.begin("slot")
    disk.change()


def formats_again(disk):
    disk.begin("format")


def begins_nothing(disk):
    disk.begin("none")


def repeats_a_kek(disk):
    disk.rotate_kek(kek=1)


def recovers_with_an_old_kek(disk):
    disk.begin("recover", kek=1)


def brings_a_recovery_key_that_nobody_can_open(disk):
    disk.begin("volume", escrow=0)


def tells_of_escrow_without_a_recovery_key(disk):
    disk.begin("slot", escrow=1)


def goes_back_to_an_old_kek(disk):
    disk.rotate_kek()
    disk.begin("slot", kek=1)


@pytest.mark.parametrize(
    "act",
    [
        begins_twice,
        commits_nothing,
        commits_another,
        commits_twice,
        finishes_before_the_commit,
        rotates_within_a_work,
        changes_within_a_work,
        formats_again,
        begins_nothing,
        repeats_a_kek,
        recovers_with_an_old_kek,
        goes_back_to_an_old_kek,
        brings_a_recovery_key_that_nobody_can_open,
        tells_of_escrow_without_a_recovery_key,
    ],
)
def test_works_out_of_order_are_found(verify, act):
    disk = told_disk()
    act(disk)
    assert failed(verify(disk)) == {Check.DISKS}


@pytest.mark.parametrize("work", ["slot", "recovery", "recover"])
def test_a_recovery_takes_over_from_a_work_whose_keys_may_be_lost(verify, work):
    disk = told_disk()
    disk.begin(work)
    disk.work("recover")
    assert failed(verify(disk)) == set()


@pytest.mark.parametrize("action", ["disk.begin", "disk.commit", "disk.finish", "disk.keys"])
def test_other_rows_than_the_disk_s_are_found(verify, action):
    disk = told_disk()
    disk.release()
    seq = find(disk.site, action)
    rows = disk.site.drafts[seq].rows
    alter(disk.site, seq, rows={**rows, "disk/other/x": 1})
    assert Check.ROWS in failed(verify(disk))


def test_a_version_of_a_disk_s_row_that_is_left_out_is_found(verify):
    disk = told_disk()
    alter(disk.site, find(disk.site, "disk.finish"), rows={disk.row[0]: 9})
    assert Check.ROWS in failed(verify(disk))


# --- devices -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "then", "changes"),
    [
        ("seen", "mounted", {"before": "open"}),
        ("gone", "mounted", {}),
        ("quarantined", "open", {}),
        ("unknown", "enrolled", {}),
    ],
)
def test_a_device_that_changes_as_it_cannot_is_found(verify, first, then, changes):
    disk = told_disk()
    disk.report(first)
    disk.report(then, **changes)
    assert failed(verify(disk)) == {Check.DISKS}


# --- certificates --------------------------------------------------------------------------------


def test_an_erasure_without_a_certificate_is_a_finding(verify):
    disk = told_disk()
    disk.erase()
    assert verdicts(verify(disk))[Check.DISKS] is Verdict.FINDING


@pytest.mark.parametrize(("until", "named"), [("begun", 1), ("committed", 2), ("finished", 2)])
def test_a_certificate_names_the_escrow_that_the_disk_s_last_recovery_key_went_to(
    verify, until, named
):
    """A work that brings another recovery key makes it the disk's by its commit."""
    disk = told_disk()
    disk.escrow = 2
    disk.begin("recovery")
    if until != "begun":
        disk.commit("recovery")
    if until == "finished":
        disk.finish("recovery")
    disk.certify(disk.erase(), escrow=named)
    assert failed(verify(disk)) == set()


def test_a_disk_that_was_never_prepared_had_no_escrow(verify):
    disk = told_disk(serial="WD-1")
    other = ToldDisk(disk.site, disk.space, OTHER, "WD-2")
    other.enrol()
    other.certify(other.erase(), escrow=0)
    assert failed(verify(disk)) == set()


def test_a_certificate_that_is_missing_or_another_one_is_found(verify):
    disk = told_disk()
    request = disk.erase()
    disk.certify(request)
    disk.site.certificates[request] += "x"
    assert failed(verify(disk)) == {Check.DISKS}


@pytest.mark.parametrize(
    "changes",
    [
        {"disk": OTHER},
        {"serial": "WD-2"},
        {"keks": 0},
        {"escrow": 0},
        {"escrow": 2},
        {"keks": 2},
        {"requester": "mallory"},
        {"supervisors": ()},
        {"executor": "x"},
        {"space": "lending"},
        {"iss": "other.example"},
        {"method": "overwrite"},
        {"operation": "disk.enroll"},
        {"request": named("another")},
        {"digest": named("another")},
        {"erased": 1, "issued": 1},
        {"issued": 1},
    ],
    ids=str,
)
def test_a_certificate_of_something_else_is_found(verify, changes):
    disk = told_disk()
    disk.certify(disk.erase(), **changes)
    assert failed(verify(disk)) == {Check.DISKS}


def test_a_certificate_that_calls_an_absent_device_erased_is_found(verify):
    disk = told_disk()
    disk.certify(disk.erase(absent=True), slots=Slots.ERASED)
    assert failed(verify(disk)) == {Check.DISKS}


def test_a_device_that_broke_after_all_may_be_certified_as_absent(verify):
    disk = told_disk()
    disk.certify(disk.erase(), slots=Slots.ABSENT)
    assert failed(verify(disk)) == set()


def test_a_certificate_may_follow_days_later_but_says_so(verify):
    """The device may be plugged in long after people erased its disk."""
    disk = told_disk()
    request = disk.erase()
    then = disk.now
    disk.wait(86_400)
    disk.certify(request, erased=then)
    assert failed(verify(disk)) == set()


def test_a_certificate_of_nothing_is_found(verify):
    disk = told_disk()
    request = disk.erase()
    disk.certify(request)
    again = disk.site.drafts[-1]
    disk.site._event(again.action, disk.space, again.resource, [], again.details, "appliance")
    assert failed(verify(disk)) == {Check.DISKS}


@pytest.mark.parametrize("action", ["disk.begin", "disk.keys", "disk.order", "device.report"])
def test_details_of_another_shape_are_refused(verify, action):
    disk = told_disk()
    disk.release()
    disk.order()
    disk.report("seen")
    retell(disk.site, find(disk.site, action), more="than known")
    assert Check.ACTIONS in failed(verify(disk))


def test_a_leaf_of_a_disk_that_names_none_is_refused(verify):
    disk = told_disk()
    disk.rotate_kek()
    for seq, draft in enumerate(disk.site.drafts):
        if draft.action == "disk.rotate-kek":
            disk.site.drafts[seq] = replace(draft, resource=f"spaces/{disk.space}/disks/x")
    assert Check.ACTIONS in failed(verify(disk))
