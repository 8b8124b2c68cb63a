"""Requests for approval: exact parameters, whose signature counts for what, matching of quorums."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.approvals import (
    MOST_PEOPLE,
    RULES,
    EpochTarget,
    GrantWish,
    MeetingTarget,
    Parameters,
    PolicyChange,
    Sharing,
    SitePolicyChange,
    VaultTarget,
    check_needs,
    default_needs,
    side_needs,
    unmet,
)
from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Role
from kms.domain.people import Part, Person, Register
from kms.domain.policies import GroupNeed, Quorum
from kms.errors import ConclaveError, InvalidInput, QuorumNotMet, VerificationFailed
from kms.statements.canonical import canonical, decode_record, encode_record
from kms.statements.request import (
    MAX_SECONDS,
    MAX_SKEW,
    CheckedRequest,
    OperationRequest,
    check_form,
    check_quorum,
    peek_request,
    verify_request,
)
from tests.fixtures.approvals import (
    ADMIN,
    EXAMPLES,
    MEETING,
    NOW,
    OTHER,
    POLICY,
    SECURITY,
    SITE,
    SPACE,
    Board,
    everybody,
    space_of,
)
from tests.fixtures.people import held

BOARD = Board(SITE, NOW)
EVERY = pytest.mark.parametrize("operation", RULES)


def asked(operation: str = "meeting.destroy", board: Board = BOARD, **changes: Any) -> Any:
    parameters = changes.pop("parameters", EXAMPLES[operation])
    return board.request(
        operation, parameters, changes.pop("space", space_of(operation)), **changes
    )


def verify(
    wanted: OperationRequest, names: Sequence[str] = (), board: Board = BOARD, **changes: Any
) -> CheckedRequest:
    record = board.record(wanted, names, **changes)
    return verify_request(record, SITE, board.register, board.sha256)


def refused(error: type[ConclaveError], words: str) -> Any:
    return pytest.raises(error, match=words)


# --- what is asked for ---------------------------------------------------------------------------


@EVERY
def test_a_request_comes_back_as_it_was_signed(operation: str) -> None:
    wanted = asked(operation)
    found = verify(wanted, everybody(operation))
    assert found.wanted.digest() == wanted.digest()
    assert found.parameters == EXAMPLES[operation]
    assert found.requester.name == ADMIN
    assert set(found.approvals) == set(everybody(operation))


@EVERY
def test_parameters_of_another_operation_are_refused(operation: str) -> None:
    for other, parameters in EXAMPLES.items():
        wanted = asked(operation, parameters=parameters)
        if RULES[other].parameters is RULES[operation].parameters:
            check_form(wanted)
        else:
            with pytest.raises(InvalidInput):
                check_form(wanted)


@EVERY
@given(data=st.data())
def test_parameters_are_taken_in_their_exact_form_alone(operation: str, data: Any) -> None:
    exact = msgspec.to_builtins(EXAMPLES[operation])
    name = data.draw(st.sampled_from([*exact, "more"]))
    value = data.draw(
        st.none() | st.booleans() | st.integers(-3, 2**40) | st.text(max_size=5) | st.just([])
    )
    changed = {**exact, name: value}
    found = OperationRequest(**{**_fields(asked(operation)), "parameters": changed})
    try:
        parameters = found.parameters_as()
    except InvalidInput:
        return
    assert canonical(changed) == encode_record(parameters)
    assert name in exact


@EVERY
@given(data=st.data())
def test_no_parameter_may_be_left_out(operation: str, data: Any) -> None:
    exact = msgspec.to_builtins(EXAMPLES[operation])
    name = data.draw(st.sampled_from(sorted(exact)))
    found = replace(asked(operation), parameters={k: v for k, v in exact.items() if k != name})
    with pytest.raises(InvalidInput):
        found.parameters_as()


def test_what_a_policy_leaves_to_its_defaults_is_spelled_out_all_the_same() -> None:
    exact = msgspec.to_builtins(EXAMPLES["policy.change"])
    shorter = {**exact, "policy": {k: v for k, v in exact["policy"].items() if k != "quorums"}}
    with refused(InvalidInput, "exact form"):
        replace(asked("policy.change"), parameters=shorter).parameters_as()


@EVERY
def test_a_request_lies_where_its_operation_does(operation: str) -> None:
    other = SPACE if RULES[operation].site else ""
    with refused(InvalidInput, "is about"):
        check_form(asked(operation, space=other))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"operation": "space.destroy"}, "nothing that is approved"),
        ({"id": "1"}, "UUIDv7"),
        ({"space": "Treasury!"}, "slug"),
        ({"nonce": "AAAA"}, "16 bytes"),
        ({"nonce": "=="}, "base64url"),
        ({"reason": ""}, "says why"),
        ({"reason": "x" * 1001}, "says why"),
        ({"reason": " \n "}, "say why"),
        *(({"reason": f"a{one}b"}, "invisible") for one in "\0\t\r\x1b\x7f\x9b\u200b\u202e\u2066"),
        ({"expires": NOW}, "open for at most"),
        ({"expires": NOW + MAX_SECONDS + 1}, "open for at most"),
        ({"quorum": ()}, "people approve"),
        ({"quorum": (GroupNeed("security", 1),)}, "people approve"),
        ({"quorum": (GroupNeed("security", 3), GroupNeed("legal", 0))}, "people approve"),
        ({"quorum": (GroupNeed("security", MOST_PEOPLE + 1),)}, "people approve"),
    ],
)
def test_a_request_that_can_mean_nothing_is_refused(changes: dict[str, Any], words: str) -> None:
    with refused(InvalidInput, words):
        check_form(replace(asked(), **changes))


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("meeting.destroy", MeetingTarget(MeetingId("../treasury"))),
        ("epoch.destroy", EpochTarget(MEETING, -1)),
        ("epoch.destroy", EpochTarget(MEETING, 2**31)),
        ("meeting.share", Sharing(MEETING, SPACE)),
        ("meeting.share", Sharing(MEETING, SpaceName(""))),
        ("policy.change", PolicyChange(replace(POLICY, space=OTHER), 1)),
        ("policy.change", PolicyChange(POLICY, 0)),
        ("site-policy.change", SitePolicyChange("", 0)),
        ("vault.retire", VaultTarget(0)),
        ("grant.create", GrantWish("nurse", Role.OFFICER, NOW, NOW)),
        ("grant.create", GrantWish("nurse", Role.OFFICER, -1, NOW)),
    ],
)
def test_parameters_that_cannot_be_are_refused(operation: str, parameters: Parameters) -> None:
    with pytest.raises(InvalidInput):
        check_form(asked(operation, parameters=parameters))


@given(
    st.builds(
        OperationRequest,
        site=st.text(max_size=4), space=st.text(max_size=4), id=st.text(max_size=4),
        operation=st.text(max_size=4), reason=st.text(max_size=4), requester=st.text(max_size=4),
        register=st.text(max_size=4), nonce=st.text(max_size=4),
        parameters=st.dictionaries(
            st.text("abc", max_size=2), st.integers(-9, 9) | st.text(max_size=3), max_size=3
        ),
        quorum=st.lists(
            st.builds(GroupNeed, st.text(max_size=3), st.integers(-9, 9), st.text(max_size=3)),
            max_size=3,
        ).map(tuple),
        issued=st.integers(-9, 9), expires=st.integers(-9, 9),
    )
)  # fmt: skip
def test_every_request_has_one_form_and_a_digest_of_its_own(wanted: OperationRequest) -> None:
    data = encode_record(wanted)
    assert decode_record(data, OperationRequest) == wanted
    assert replace(wanted, issued=wanted.issued + 1).digest() != wanted.digest()


@pytest.mark.parametrize("token", ["", "a.b.c", "é", "a" * 200])
def test_what_is_no_request_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput):
        peek_request(token)


# --- who asked, who approved ---------------------------------------------------------------------


def test_a_request_is_bound_to_site_space_and_id() -> None:
    wanted = asked()
    for record in (
        replace(BOARD.record(wanted), space=OTHER),
        replace(BOARD.record(wanted), id=str(MEETING)),
    ):
        with refused(VerificationFailed, "something else"):
            verify_request(record, SITE, BOARD.register, BOARD.sha256)
    with refused(VerificationFailed, "something else"):
        verify_request(BOARD.record(wanted), "other.example", BOARD.register, BOARD.sha256)


def test_a_request_ends_with_its_register() -> None:
    newer = Board(SITE, NOW, version=2)
    with refused(VerificationFailed, "register of people has changed"):
        verify_request(BOARD.record(asked()), SITE, newer.register, newer.sha256)


@pytest.mark.parametrize("name", ["wang-security", "nobody"])
def test_nobody_asks_in_anothers_name(name: str) -> None:
    wanted = asked()
    record = replace(BOARD.record(wanted), request=BOARD.signed(wanted, by=held(name)))
    with refused(VerificationFailed, "name|nobody's"):
        verify_request(record, SITE, BOARD.register, BOARD.sha256)


def test_who_asks_is_in_office() -> None:
    late = NOW + 200 * 24 * 3600
    with refused(VerificationFailed, "out of office"):
        verify(asked(issued=late, expires=late + 60))


def test_a_changed_request_is_refused() -> None:
    wanted = asked()
    head, _, signature = BOARD.signed(wanted).split(".")
    body = BOARD.signed(replace(wanted, reason="another")).split(".")[1]
    record = replace(BOARD.record(wanted), request=f"{head}.{body}.{signature}")
    with refused(VerificationFailed, "signature does not hold"):
        verify_request(record, SITE, BOARD.register, BOARD.sha256)


@pytest.mark.parametrize("name", [one.name for one in fields(OperationRequest)])
def test_an_approval_is_for_exactly_one_request(name: str) -> None:
    wanted = asked()
    value = getattr(wanted, name)
    other = {
        int: lambda: value + 1, str: lambda: f"{value}x", tuple: lambda: (*value, *value),
        dict: lambda: {**value, "meeting": "0193a5b0-7c3e-7000-8000-0123456789ac"},
    }[type(value)]()  # fmt: skip
    foreign = BOARD.approve("wang-security", replace(wanted, **{name: other}))
    record = replace(BOARD.record(wanted), approvals=(foreign,))
    with refused(VerificationFailed, "for another request"):
        verify_request(record, SITE, BOARD.register, BOARD.sha256)


def approval_refused(words: str, token: str, wanted: Any, board: Board = BOARD) -> None:
    record = replace(board.record(wanted), approvals=(token,))
    with refused(VerificationFailed, words):
        verify_request(record, SITE, board.register, board.sha256)


def test_nobody_approves_their_own_request() -> None:
    wanted = asked(requester="wang-security")
    approval_refused("of their own", BOARD.approve("wang-security", wanted), wanted)


def test_a_second_credential_is_no_way_round_that() -> None:
    board = Board(SITE, NOW, seconds=("wang-security",))
    wanted = asked(board=board, requester="wang-security")
    second = board.approve("wang-security", wanted, by=held("wang-security 2"))
    approval_refused("of their own", second, wanted, board)


@pytest.mark.parametrize("name", [ADMIN, "liu-witness", "zhao-auditor"])
def test_only_officers_approve(name: str) -> None:
    wanted = asked(requester="han-legal")
    approval_refused("not an officer", BOARD.approve(name, wanted), wanted)


def test_an_approval_with_a_key_of_nobody_or_of_another_is_refused() -> None:
    wanted = asked()
    stranger = BOARD.approve("wang-security", wanted, by=held("a stranger"))
    approval_refused("nobody's", stranger, wanted)
    other = BOARD.approve("wang-security", wanted, by=held("sun-security"))
    approval_refused("signed by sun-security", other, wanted)


def test_an_approval_counts_only_while_it_was_asked_for() -> None:
    wanted = asked()
    for signed in (wanted.issued - 1, wanted.expires):
        token = BOARD.approve("wang-security", wanted, signed=signed)
        approval_refused("while it was asked for", token, wanted)


def test_who_belongs_to_another_group_has_no_say() -> None:
    wanted = asked()
    approval_refused("no say", BOARD.approve("qian-legal", wanted), wanted)


def test_who_is_bound_to_other_spaces_has_no_say() -> None:
    board = Board(SITE, NOW, spaces={"wang-security": (OTHER,), "sun-security": (SPACE,)})
    wanted = asked(board=board)
    approval_refused("no say", board.approve("wang-security", wanted), wanted, board)
    verify(wanted, ["sun-security"], board)
    site = asked("site-policy.change", board)
    approval_refused("no say", board.approve("sun-security", site), site, board)


def test_one_person_approves_once_whatever_the_key() -> None:
    board = Board(SITE, NOW, seconds=("wang-security",))
    wanted = asked(board=board)
    twice = tuple(
        board.approve("wang-security", wanted, by=held(key), signed=NOW + at)
        for at, key in enumerate(("wang-security", "wang-security 2"))
    )
    record = replace(board.record(wanted), approvals=twice)
    with refused(VerificationFailed, "before"):
        verify_request(record, SITE, board.register, board.sha256)


# --- enough of them ------------------------------------------------------------------------------


def test_a_quorum_that_is_met_is_met_until_the_request_expires() -> None:
    wanted = asked()
    checked = verify(wanted, SECURITY[:2])
    check_quorum(checked, BOARD.register, NOW + 10)
    check_quorum(checked, BOARD.register, wanted.expires - 1)
    with refused(VerificationFailed, "expired"):
        check_quorum(checked, BOARD.register, wanted.expires)


def test_what_is_missing_is_said() -> None:
    checked = verify(asked("hold.lift"), SECURITY[:1])
    with refused(QuorumNotMet, "1 of group security; 2 of group legal"):
        check_quorum(checked, BOARD.register, NOW)


def test_whose_term_ended_meanwhile_no_longer_counts() -> None:
    checked = verify(asked(), SECURITY[:2])
    gone = [replace(one, term_until=NOW + 5) for one in BOARD.register.people]
    register = replace(BOARD.register, people=tuple(gone))
    check_quorum(checked, register, NOW + 4)
    with refused(QuorumNotMet, "2 of group security"):
        check_quorum(checked, register, NOW + 5)


def test_signatures_from_the_future_are_refused() -> None:
    wanted = asked()
    token = BOARD.approve("wang-security", wanted, signed=NOW + MAX_SKEW + 1)
    record = replace(BOARD.record(wanted, SECURITY[1:2]), approvals=(token,))
    checked = verify_request(record, SITE, BOARD.register, BOARD.sha256)
    with refused(VerificationFailed, "future"):
        check_quorum(checked, BOARD.register, NOW)


def test_both_spaces_approve_what_both_share() -> None:
    board = Board(
        SITE, NOW, spaces={"wang-security": (SPACE,), "sun-security": (SPACE,),
                           "zhou-security": (OTHER,), "wu-security": (OTHER,)},
    )  # fmt: skip
    wanted = asked("meeting.share", board)
    with refused(QuorumNotMet, "2 of group security for markets"):
        check_quorum(verify(wanted, SECURITY[:2], board), board.register, NOW)
    check_quorum(verify(wanted, SECURITY, board), board.register, NOW)


# --- matching people to places -------------------------------------------------------------------

_SPACES = ("treasury", "markets")
_NEED = st.builds(
    GroupNeed, st.sampled_from(("a", "b")), st.integers(1, 3), st.sampled_from(("", *_SPACES))
)


def someone(number: int, group: str, spaces: tuple[str, ...]) -> Person:
    return Person(f"p-{number}", "", Part.OFFICER, group, 1, (), 0, 1, 0, spaces=spaces)


_PEOPLE = st.lists(
    st.tuples(st.sampled_from(("a", "b")), st.sets(st.sampled_from(_SPACES)).map(tuple)),
    max_size=6,
).map(lambda found: [someone(number, *one) for number, one in enumerate(found)])


def brute(needs: Sequence[GroupNeed], space: str, people: Sequence[Person]) -> int:
    """Return how many places are filled at most, by trying everything."""
    if not people:
        return 0
    first, rest = people[0], people[1:]
    best = brute(needs, space, rest)
    for place, need in enumerate(needs):
        fits = first.group == need.group and first.reaches(need.space or space)
        if need.count and fits:
            left = [*needs[:place], replace(need, count=need.count - 1), *needs[place + 1 :]]
            best = max(best, 1 + brute(left, space, rest))
    return best


@given(st.lists(_NEED, min_size=1, max_size=3), st.sampled_from(("", *_SPACES)), _PEOPLE)
def test_as_many_places_are_filled_as_can_be(
    needs: list[GroupNeed], space: str, people: list[Person]
) -> None:
    missing = unmet(needs, space, people)
    wanted = sum(need.count for need in needs)
    assert wanted - sum(need.count for need in missing) == brute(needs, space, people)
    assert all(need.count > 0 for need in missing)


@given(
    st.lists(_NEED, min_size=1, max_size=3), st.sampled_from(("", *_SPACES)), _PEOPLE, st.randoms()
)
def test_order_and_repetition_of_people_change_nothing(
    needs: list[GroupNeed], space: str, people: list[Person], random: Any
) -> None:
    shuffled = [*people, *people[:2]]
    random.shuffle(shuffled)
    total = sum(need.count for need in unmet(needs, space, people))
    assert total == sum(need.count for need in unmet(needs, space, shuffled))


@given(st.lists(_NEED, min_size=1, max_size=3), st.sampled_from(("", *_SPACES)), _PEOPLE)
def test_more_people_never_make_a_quorum_fail(
    needs: list[GroupNeed], space: str, people: list[Person]
) -> None:
    before = sum(need.count for need in unmet(needs, space, people))
    more = [*people, someone(99, "a", ())]
    assert sum(need.count for need in unmet(needs, space, more)) in {before, before - 1}


# --- whose approval is needed --------------------------------------------------------------------


@EVERY
def test_a_default_quorum_can_be_asked_for(operation: str) -> None:
    check_needs(default_needs(RULES[operation], BOARD.register, "markets"))


def test_a_policy_names_another_quorum_for_its_space_alone() -> None:
    mine = (GroupNeed("legal", 3),)
    policy = replace(POLICY, quorums=(Quorum("meeting.share", mine),))
    register: Register = BOARD.register
    assert side_needs("meeting.share", register, policy) == mine
    assert side_needs("meeting.share", register, policy, OTHER) == (GroupNeed("legal", 3, OTHER),)
    assert side_needs("epoch.destroy", register, policy) == (GroupNeed("security", 2),)
    assert side_needs("meeting.share", register, None, OTHER) == (GroupNeed("security", 2, OTHER),)


def _fields(wanted: OperationRequest) -> dict[str, Any]:
    return {one.name: getattr(wanted, one.name) for one in fields(wanted)}
