"""The table of operations is whole and at one with itself."""

import re
from collections import Counter

import pytest

from kms.domain.approvals import RULES
from kms.domain.models import Role
from kms.operations import COMMON_ERRORS, OPERATIONS, Operation
from kms.wire.statuses import STATUS

EVERY = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda entry: entry.id)


@EVERY
def test_an_operation_says_who_may_and_what_it_is_in_both_languages(operation: Operation) -> None:
    assert operation.roles
    assert operation.summary_en.isascii()
    assert re.search("[\u4e00-\u9fff]", operation.summary_zh)
    assert re.fullmatch(r"[a-z-]+\.[a-z-]+", operation.id)
    assert operation.path.startswith("/v1/")


@EVERY
def test_every_error_of_an_operation_has_a_status(operation: Operation) -> None:
    assert set(operation.errors) | set(COMMON_ERRORS) <= STATUS.keys()
    assert len(set(operation.errors)) == len(operation.errors)


@EVERY
def test_what_creates_can_find_its_key_reused(operation: Operation) -> None:
    assert operation.creates is ("idempotency_key_reused" in operation.errors)
    assert not operation.creates or operation.method == "POST"


@EVERY
def test_what_depends_on_a_meetings_state_can_refuse_for_it(operation: Operation) -> None:
    assert not operation.states or "state_not_allowed" in operation.errors


@EVERY
def test_an_action_of_another_name_is_an_operation_too(operation: Operation) -> None:
    assert not operation.action or operation.action in OPERATIONS


def test_only_fetch_and_relay_share_a_path() -> None:
    shared = [
        key for key, count in Counter(o.key for o in OPERATIONS.values()).items() if count > 1
    ]
    assert shared == [OPERATIONS["envelope.fetch"].key]
    assert OPERATIONS["envelope.relay"].key == shared[0]


def test_auditors_only_read_and_operators_have_hands_for_disks_and_all_for_own_passkeys() -> None:
    asks_by_post = {"policy.explain", "report.make", "report.export"}
    hands = {"disk.change", "disk.rotate-kek", "disk.order"}
    own = {"passkey.invite", "passkey.revoke"}
    changing = {
        role: {one.id for one in OPERATIONS.values() if one.method != "GET" and role in one.roles}
        for role in (Role.AUDITOR, Role.OPERATOR)
    }
    assert changing == {
        Role.AUDITOR: asks_by_post | own,
        Role.OPERATOR: hands | own | {"passkey.admit"},
    }


def test_disk_keys_are_the_appliances_alone_and_it_changes_nothing_else() -> None:
    own = {one.id for one in OPERATIONS.values() if one.roles == {Role.APPLIANCE}}
    allowed = {one.id for one in OPERATIONS.values() if Role.APPLIANCE in one.roles}
    assert own == {
        *("disk-order.take", "disk-order.report", "device.report"),
        *("disk.keys", "disk.begin", "disk.commit", "disk.finish"),
    }
    assert all(OPERATIONS[name].method == "GET" for name in allowed - own)


def test_what_several_people_approve_is_no_operation_of_its_own() -> None:
    assert not RULES.keys() & OPERATIONS.keys()
