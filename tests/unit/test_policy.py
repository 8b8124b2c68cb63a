"""The policies, held against the operation table for every role and every operation."""

from pathlib import Path

import pytest

from kms.domain.ids import RecipientId
from kms.domain.models import EVERY_SPACE, Principal, PrincipalKind, Role
from kms.errors import ConfigurationError, Forbidden, NotFound
from kms.operations import OPERATIONS, Operation
from kms.policy.authorizer import Authorizer, Target

AUTHORIZER = Authorizer.load()
SPACE_BOUND = {
    "envelope.fetch", "envelope.relay", "audit.manifests", "grant.revoke", "disk.read",
    "disk.change", "disk.rotate-kek", "disk.keys", "disk.begin", "disk.commit", "disk.finish",
}  # fmt: skip


def caller(*roles: Role, spaces: tuple[str, ...] = ("treasury",)) -> Principal:
    return Principal(
        "someone", PrincipalKind.SOCKET, "uid:1000", frozenset(roles), frozenset(spaces),
        RecipientId("r" * 43),
    )  # fmt: skip


def favourable(operation: Operation, space: str = "treasury") -> Target:
    if "{space}" not in operation.path and operation.id not in SPACE_BOUND:
        return Target()
    release_class = "roster" if operation.id == "envelope.relay" else "trusted"
    return Target(space, release_class, on_roster=True, own_recipient=True, reason="suspicion")


def permits(principal: Principal, operation: str, target: Target) -> bool:
    try:
        AUTHORIZER.check(principal, operation, target)
    except Forbidden:
        return False
    return True


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.id)
@pytest.mark.parametrize("role", Role)
def test_exactly_the_roles_of_the_table_are_permitted(role: Role, operation: Operation) -> None:
    allowed = permits(caller(role), operation.id, favourable(operation))
    assert allowed is (role in operation.roles)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.id)
@pytest.mark.parametrize("role", Role)
def test_no_role_reaches_another_space_by_the_policies_either(
    role: Role, operation: Operation
) -> None:
    target = favourable(operation, "markets")
    if target.space:
        assert not AUTHORIZER.explain(caller(role), operation.id, target).permitted


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.id)
def test_an_explanation_decides_as_the_policies_do(operation: Operation) -> None:
    for role in Role:
        target = favourable(operation)
        found = AUTHORIZER.explain(caller(role), operation.id, target)
        assert found.permitted is permits(caller(role), operation.id, target)
        assert found.deciding or found.near


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.id)
def test_without_a_role_nothing_is_permitted(operation: Operation) -> None:
    assert not permits(caller(), operation.id, favourable(operation))


@pytest.mark.parametrize("role", Role)
def test_an_unknown_operation_is_forbidden(role: Role) -> None:
    assert not permits(caller(role), "meeting.eavesdrop", Target("treasury"))


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.id)
def test_another_space_does_not_exist_for_a_caller(operation: Operation) -> None:
    target = favourable(operation, "markets")
    if not target.space:
        return
    with pytest.raises(NotFound, match="there is no such thing"):
        AUTHORIZER.check(caller(*Role), operation.id, target)


def test_the_fence_holds_in_the_policies_themselves() -> None:
    assert not AUTHORIZER._ask(caller(*Role), "meeting.read", Target("markets", "trusted"))
    assert AUTHORIZER._ask(caller(*Role), "meeting.read", Target("treasury", "trusted"))


def test_a_caller_of_every_space_reaches_each() -> None:
    everywhere = caller(Role.AUDITOR, spaces=(EVERY_SPACE,))
    assert permits(everywhere, "meeting.read", Target("markets", "roster"))


@pytest.mark.parametrize("role", [Role.OFFICER, Role.AUDITOR, Role.OPERATOR])
@pytest.mark.parametrize("operation", ["envelope.fetch", "envelope.relay", "envelope.batch"])
def test_people_never_receive_envelopes(role: Role, operation: str) -> None:
    assert not permits(caller(role), operation, favourable(OPERATIONS[operation]))


@pytest.mark.parametrize("role", [one for one in Role if one is not Role.APPLIANCE])
@pytest.mark.parametrize("operation", ["disk.keys", "disk.begin", "disk.commit", "disk.finish"])
def test_disk_keys_go_to_the_appliance_alone(role: Role, operation: str) -> None:
    assert not permits(caller(role), operation, favourable(OPERATIONS[operation]))


@pytest.mark.parametrize("target", [Target(), Target("treasury")])
def test_an_order_is_about_a_disk_of_a_space_or_about_any_device(target: Target) -> None:
    for role in Role:
        allowed = permits(caller(role), "disk.order", target)
        assert allowed is (role in OPERATIONS["disk.order"].roles)


@pytest.mark.parametrize(
    "target",
    [
        Target("treasury", "trusted", on_roster=True),
        Target("treasury", "trusted", own_recipient=True),
        Target("treasury", "roster", on_roster=True, own_recipient=True),
        Target("treasury", "", on_roster=True, own_recipient=True),
        Target(),
    ],
    ids=["another's key", "off the roster", "roster space", "class unknown", "no space"],
)
def test_a_server_fetches_only_its_own_envelope_in_a_trusted_space(target: Target) -> None:
    assert not permits(caller(Role.MEETING_SERVER), "envelope.fetch", target)


def test_a_server_relays_only_to_devices_on_the_roster() -> None:
    server = caller(Role.MEETING_SERVER)
    assert permits(server, "envelope.relay", Target("treasury", "roster", on_roster=True))
    assert not permits(server, "envelope.relay", Target("treasury", "roster"))
    assert not permits(server, "envelope.relay", Target("treasury", "trusted", on_roster=True))


@pytest.mark.parametrize("reason", ["manual", "", "open", "leave"])
def test_an_officer_rotates_only_on_suspicion(reason: str) -> None:
    target = Target("treasury", reason=reason)
    assert not permits(caller(Role.OFFICER), "epoch.rotate", target)
    assert permits(caller(Role.MEETING_SERVER), "epoch.rotate", target)


def test_remembered_answers_are_those_of_the_same_question_only() -> None:
    server = caller(Role.MEETING_SERVER)
    for _ in range(3):
        assert permits(server, "envelope.relay", Target("treasury", "roster", on_roster=True))
        assert not permits(server, "envelope.relay", Target("treasury", "roster"))
        assert not permits(caller(), "envelope.relay", Target("treasury", "roster", on_roster=True))


def test_the_memory_of_answers_is_bounded() -> None:
    authorizer = Authorizer.load()
    for number in range(4100):
        question = (caller(Role.MEETING_SERVER), "meeting.read", Target(f"space-{number}"))
        authorizer._remember(question)
    assert len(authorizer._permitted) == 4096


@pytest.mark.parametrize(
    ("policy", "schema"),
    [
        ("permit (principal", "entity A;"),
        ('permit (principal, action == Action::"nope", resource);', "entity A;"),
        ("permit (principal, action, resource);", "entity {"),
    ],
    ids=["bad syntax", "unknown action", "bad schema"],
)
def test_policies_that_do_not_hold_stop_the_start(tmp_path: Path, policy: str, schema: str) -> None:
    (tmp_path / "a.cedar").write_text(policy)
    (tmp_path / "schema.cedarschema").write_text(schema)
    with pytest.raises(ConfigurationError):
        Authorizer.load(tmp_path)


def test_a_refusal_says_who_may_and_who_can_tell_why() -> None:
    with pytest.raises(Forbidden) as refused:
        AUTHORIZER.check(caller(Role.OFFICER), "meeting.open", Target("treasury"))
    assert "conclave policy explain" in refused.value.hint
    with pytest.raises(Forbidden) as refused:
        AUTHORIZER.check(caller(Role.OFFICER), "epoch.rotate", Target("treasury", reason="leave"))
    assert refused.value.hint == "officers rotate for suspicion only: --reason suspicion"


def test_a_policy_that_errs_denies(tmp_path: Path) -> None:
    overflow = '@id("b") permit (principal, action, resource) when {9223372036854775807 + 1 > 0};'
    (tmp_path / "a.cedar").write_text('@id("a") permit (principal, action, resource);' + overflow)
    action = 'action "x" appliesTo { principal: Caller, resource: Site };'
    (tmp_path / "schema.cedarschema").write_text(f"entity Caller; entity Site; {action}")
    authorizer = Authorizer.load(tmp_path)
    with pytest.raises(Forbidden):
        authorizer.check(caller(Role.OFFICER), "x", Target())
