"""What an approved request may make of policies and grants: checked without asking anybody."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from kms.audit.leaf import decode_leaf
from kms.domain.approvals import GrantWish, Parameters, PolicyChange, SitePolicyChange
from kms.domain.grants import Grant
from kms.domain.ids import SpaceName
from kms.domain.models import Role, Space
from kms.domain.people import Credential, CredentialKind, Group, Part, Person, Register
from kms.domain.policies import (
    GroupNeed,
    Labels,
    Quorum,
    SitePolicy,
    SpacePolicy,
    Threshold,
)
from kms.domain.policy_checks import check_policy
from kms.errors import ConclaveError, InvalidInput
from kms.policy import apart
from kms.policy.authorizer import Authorizer
from kms.settings import Rotation
from kms.statements.request import CheckedRequest, OperationRequest
from kms.usecases.approvals.effect import Effect
from kms.usecases.approvals.registers import InForce, Registers
from kms.usecases.grants import prepare_grant
from kms.usecases.policies import (
    check_way_back,
    default_policy,
    prepare_policy,
    prepare_site_policy,
)
from kms.usecases.services import Call
from tests.fixtures.api import BANKING, TREASURY, FakeSite, make_caller, run_with_site
from tests.fixtures.approvals import Board
from tests.unit.test_grants_and_policies import put

NOW, DAY = 1_800_000_000, 24 * 3600


def person(name: str, part: Part, group: str = "", share: int = 0) -> Person:
    key = Credential(name, CredentialKind.SOFTWARE, "AAAA")
    return Person(name, name, part, group, share, (key,), 0, NOW + DAY, NOW + DAY)


REGISTER = Register(
    "fake.example", 1, NOW - DAY, "", "x",
    (Group("security", 2), Group("risk", 2)),
    (
        *(person(f"sec-{n}", Part.OFFICER, "security", n) for n in (1, 2, 3)),
        *(person(f"risk-{n}", Part.OFFICER, "risk", n) for n in (1, 2)),
    ),
)  # fmt: skip


class FixedRegisters(Registers):
    """A fake: the register above is in force."""

    def in_force(self, *_: object) -> InForce:
        return InForce(REGISTER, "e30.e30.e30", "x" * 43)


POLICY = default_policy(TREASURY, Rotation())
BOTH = (GroupNeed("security", 1), GroupNeed("risk", 1))


@pytest.mark.parametrize(
    "good",
    [
        POLICY,
        replace(POLICY, labels=Labels("金库部", "rates", "shanghai", "a", "secret")),
        replace(POLICY, quorums=(Quorum("meeting.destroy", BOTH),)),
        replace(POLICY, quorums=(Quorum("meeting.share", (*BOTH, GroupNeed("risk", 1, BANKING))),)),
        replace(POLICY, thresholds=(Threshold("rotation-overdue", 0),), retention_seconds=DAY),
    ],
    ids=["default", "labels", "a quorum of one each", "a partner's officers", "a threshold"],
)
def test_a_policy_that_can_be_kept_is_taken(good: SpacePolicy) -> None:
    check_policy(good, REGISTER, {TREASURY, BANKING})


def _rules(**changes: int) -> SpacePolicy:
    return replace(POLICY, rotation=replace(POLICY.rotation, **changes))


def _quorum(*needs: GroupNeed, operation: str = "meeting.destroy") -> SpacePolicy:
    return replace(POLICY, quorums=(Quorum(operation, needs),))


BAD: dict[str, SpacePolicy] = {
    "interval beyond the maximum age": _rules(interval_seconds=7200, maximum_age_seconds=3600),
    "a negative number": _rules(maximum_uses=-1),
    "quiet hours beyond the day": _rules(quiet_until=1440),
    "retention before the end": replace(POLICY, retention_seconds=-1),
    "a quorum of nobody": _quorum(),
    "a quorum of one person": _quorum(GroupNeed("security", 1)),
    "a need of nobody": _quorum(GroupNeed("security", 2), GroupNeed("risk", 0)),
    "a group that is not there": _quorum(GroupNeed("marketing", 2)),
    "more officers than there are": _quorum(GroupNeed("risk", 3)),
    "a space that is not there": _quorum(GroupNeed("risk", 2, "nowhere")),
    "what nobody approves": _quorum(*BOTH, operation="meeting.open"),
    "two quorums": replace(POLICY, quorums=(Quorum("hold.lift", BOTH), Quorum("hold.lift", BOTH))),
    "no such alert": replace(POLICY, thresholds=(Threshold("moon", 1),)),
    "a negative threshold": replace(POLICY, thresholds=(Threshold("seal", -1),)),
    "a label of two lines": replace(POLICY, labels=Labels("a\nb")),
    "a label with hidden characters": replace(POLICY, labels=Labels(region="a\u202eb")),
    "a long label": replace(POLICY, labels=Labels(region="a" * 129)),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_policy_that_cannot_be_kept_is_refused(bad: SpacePolicy) -> None:
    with pytest.raises(InvalidInput):
        check_policy(bad, REGISTER, {TREASURY, BANKING})


# --- effects --------------------------------------------------------------------------------------

Prepare = Callable[..., Any]


def request(operation: str, parameters: Parameters, space: str = TREASURY) -> CheckedRequest:
    wanted = OperationRequest(
        "fake.example", space, "0193a000-0000-7000-8000-000000000009", operation,
        msgspec.to_builtins(parameters), "because", "sec-1", "x" * 43, BOTH, "n", NOW, NOW + DAY,
    )  # fmt: skip
    return CheckedRequest(wanted, parameters, REGISTER.person("sec-1"), {})


def prepared(
    prepare: Prepare,
    checked: CheckedRequest,
    *there: SpacePolicy | SitePolicy | Space,
    later: int = 0,
) -> Effect | str:
    """Return the effect, or the code of the error."""
    found: list[Effect | str] = []

    async def work(site: FakeSite) -> None:
        for record in there:
            await put(site, record)
        site.services.clock.seconds = NOW + later
        call = Call(None, "approval.execute", "")
        try:
            found.append(await prepare(site.services, call, checked))
        except ConclaveError as error:
            found.append(error.code)

    helper = make_caller((Role.OPERATOR,), (BANKING,))
    run_with_site(work, caller=helper, registers=FixedRegisters())
    return found[0]


def test_a_space_policy_follows_the_version_that_was_seen() -> None:
    first = PolicyChange(POLICY, 1)
    effect = prepared(prepare_policy, request("policy.change", first))
    assert isinstance(effect, Effect)
    assert effect.resource == "spaces/treasury/policy"
    assert (effect.records, effect.details) == (((POLICY, 1),), {"version": 1})
    assert prepared(prepare_policy, request("policy.change", first), POLICY) == (
        "precondition_failed"
    )
    assert isinstance(
        prepared(prepare_policy, request("policy.change", PolicyChange(POLICY, 2)), POLICY), Effect
    )


@pytest.mark.parametrize("space", [BANKING, ""])
def test_a_policy_is_the_requests_own_spaces(space: str) -> None:
    checked = request("policy.change", PolicyChange(POLICY, 1), space)
    assert prepared(prepare_policy, checked) == "invalid_input"


def test_a_policy_that_cannot_be_kept_is_not_prepared() -> None:
    checked = request("policy.change", PolicyChange(BAD["a quorum of one person"], 1))
    assert prepared(prepare_policy, checked) == "invalid_input"


OWN = '@id("own") forbid (principal, action == Action::"meeting.open", resource);'


def officers(text: str) -> None:
    shipped = Authorizer.load().shipped
    policies = shipped.with_site([("site", text)])
    check_way_back(Authorizer(shipped, policies), [make_caller((Role.OFFICER,), (TREASURY,))])


def test_site_policies_leave_the_way_back() -> None:
    officers(OWN)
    for text in (
        '@id("own") forbid (principal, action, resource);',
        '@id("own") forbid (principal, action == Action::"site-policy.read", resource);',
        (
            '@id("own") forbid (principal, action == Action::"approval.execute", resource)'
            " unless { principal.auth.strength >= 2 };"
        ),
        '@id("own") forbid (principal, action == Action::"site.seal", resource);',
    ):
        with pytest.raises(InvalidInput, match="no officer may do"):
            officers(text)


@pytest.mark.parametrize(
    ("text", "version", "space", "outcome"),
    [
        (OWN, 2, "", "precondition_failed"),
        (OWN, 1, TREASURY, "invalid_input"),
        (OWN.replace("own", "officer-stops"), 1, "", "invalid_input"),
        (OWN.replace('@id("own")', ""), 1, "", "invalid_input"),
        (OWN.replace("meeting.open", "meeting.dance"), 1, "", "invalid_input"),
        (OWN, 1, "", "invalid_input"),
    ],
    ids=["version", "of a space", "a shipped id", "no id", "no such action", "nobody left"],
)
def test_a_site_policy_that_cannot_be_is_refused(
    text: str, version: int, space: str, outcome: str
) -> None:
    checked = request("site-policy.change", SitePolicyChange(text, version), space)
    assert prepared(prepare_site_policy, checked) == outcome


def test_a_site_policy_is_one_sealed_row() -> None:
    async def work(site: FakeSite) -> None:
        checked = request("site-policy.change", SitePolicyChange(OWN, 1), "")
        effect = await prepare_site_policy(site.services, None, checked)
        assert effect.records == ((SitePolicy("site", OWN), 1),)
        assert (effect.resource, effect.details) == ("site-policy", {"version": 1})

    run_with_site(work)


WISH = GrantWish("tester", Role.AUDITOR, NOW, NOW + 7 * DAY)


def test_a_grant_is_what_was_asked_for() -> None:
    effect = prepared(prepare_grant, request("grant.create", WISH))
    assert isinstance(effect, Effect)
    ((record, version),) = effect.records
    assert isinstance(record, Grant)
    assert (version, record.principal, record.reason) == (1, "tester", "because")
    assert effect.resource == f"spaces/treasury/grants/{record.grant}"
    assert effect.details == {
        "grant": record.grant, "principal": "tester", "role": "auditor", "expires": NOW + 7 * DAY,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "space", "later", "outcome"),
    [
        (replace(WISH, role=Role.MEETING_SERVER), TREASURY, 0, "invalid_input"),
        (replace(WISH, role=Role.OPERATOR), BANKING, 0, "invalid_input"),
        (replace(WISH, starts=NOW - 601), TREASURY, 0, "invalid_input"),
        (replace(WISH, expires=NOW), TREASURY, 0, "invalid_input"),
        (replace(WISH, expires=NOW + 90 * DAY + 1), TREASURY, 0, "invalid_input"),
        (replace(WISH, principal="nobody"), TREASURY, 0, "invalid_input"),
        (replace(WISH, principal="server:alpha"), TREASURY, 0, "invalid_input"),
        (WISH, "", 0, "invalid_input"),
        (WISH, SpaceName("nowhere"), 0, "not_found"),
        (WISH, TREASURY, 7 * DAY, "state_not_allowed"),
    ],
    ids=[
        "a server's role", "an operator's", "from long ago", "of no time", "too long",
        "to nobody", "to a server", "of no space", "of an unknown space", "when it is over",
    ],
)  # fmt: skip
def test_a_grant_that_cannot_be_is_refused(
    wish: GrantWish, space: str, later: int, outcome: str
) -> None:
    assert prepared(prepare_grant, request("grant.create", wish, space), later=later) == outcome


def test_nobody_is_granted_what_they_have() -> None:
    async def work(site: FakeSite) -> None:
        with pytest.raises(InvalidInput, match="already"):
            await prepare_grant(site.services, None, request("grant.create", WISH))

    run_with_site(work)


@pytest.mark.parametrize("died", [False, True], ids=["by its form", "its reader died"])
def test_a_text_that_cannot_be_read_is_refused_and_logged(
    died: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '@id("x") forbid (principal, action, resource) when { 1%s == 1 };'

    async def work(site: FakeSite) -> None:
        board = Board("fake.example", int(site.services.clock.now()))
        await board.found(site.store, site.services.settings.paths.state)
        change = SitePolicyChange(text % ("" if died else "+1" * 20_000), 1)
        token = board.signed(board.request("site-policy.change", change, ""))
        async with site.client() as client:
            reply = await client.post(
                "/v1/approvals", json={"request": token}, headers={"idempotency-key": "k"}
            )
            assert (reply.status_code, reply.json()["code"]) == (400, "invalid_input")
            assert "too complex" in reply.text or "too long" in reply.text
            assert (await client.get("/v1/health/live")).status_code == 200
        last = decode_leaf(site.store.leaves(site.store.tree_size() - 1, 1)[0])
        assert (last.action, last.details["code"]) == ("approval.refused", "invalid_input")

    if died:
        monkeypatch.setattr(apart, "SECONDS", 0.0)
    run_with_site(work, caller=make_caller((Role.OFFICER,), ("*",)))
