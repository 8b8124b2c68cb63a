"""Approvals and quorums: people are counted, and only those who may, for what they signed."""

from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.ceremonies.ceremony import Needs
from kms.ceremonies.people.quorum import check_approval, check_quorum, check_roster, missing
from kms.ceremonies.plan import PlanFile
from kms.domain.people import Register
from kms.errors import ConclaveError, InvalidInput, QuorumNotMet, VerificationFailed
from kms.statements.approval import Approval, ApprovalRequest
from tests.fixtures.people import (
    LEGAL,
    NOW,
    OTHERS,
    ROSTER,
    SECURITY,
    SITE,
    YEAR,
    approve,
    changed,
    held,
    moment,
    register,
    request,
)

SOON = NOW + 60
ASKED = request()
TOKENS = {name: approve(name, ASKED) for name in ROSTER}
PEOPLE = st.sets(st.sampled_from(ROSTER))
NEEDS = st.sampled_from(Needs)


def quorum(
    names: Iterable[str], needs: Needs = Needs.EVERY_GROUP, people: Register | None = None
) -> tuple[Approval, ...]:
    tokens = {name: TOKENS[name] for name in names}
    return check_quorum(people or register(), ASKED, tokens, needs, SOON)


def is_met(names: Iterable[str], needs: Needs, people: Register | None = None) -> bool:
    try:
        quorum(names, needs, people)
    except QuorumNotMet:
        return False
    return True


def refused(error: type[ConclaveError], *words: str) -> Any:
    return pytest.raises(error, match=".*".join(words))


# --- one approval --------------------------------------------------------------------------------


def check(name: str, token: str, **changes: Any) -> Approval:
    """Check somebody's approval of ASKED now, unless said otherwise."""
    given = {"register": register(), "request": ASKED, "now": SOON} | changes
    return check_approval(person=name, token=token, **given)


def test_a_persons_word_holds() -> None:
    approval = check("wang-security", TOKENS["wang-security"])
    assert (approval.person, approval.request) == ("wang-security", ASKED.digest())


def test_an_unknown_person_is_refused() -> None:
    with refused(VerificationFailed, "nobody named mallory"):
        check("mallory", approve("mallory", ASKED))


def test_who_is_not_on_the_roster_is_refused() -> None:
    asked = request(roster=tuple(name for name in ROSTER if name != "xu-legal"))
    with refused(VerificationFailed, "xu-legal is not on the plan's roster"):
        check("xu-legal", approve("xu-legal", asked), request=asked)


def test_who_was_removed_is_refused() -> None:
    people = changed("li-security", removed=NOW + 1)
    with refused(VerificationFailed, "li-security", "removed"):
        check("li-security", TOKENS["li-security"], register=people)


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ({"term_until": SOON}, "term ended"),
        ({"term_from": SOON + 1}, "term begins"),
        ({"term_from": NOW + 2}, "outside their term"),
    ],
)
def test_who_is_not_in_office_is_refused(term: dict[str, int], words: str) -> None:
    people = changed("li-security", **term)
    with refused(VerificationFailed, "li-security", words):
        check("li-security", TOKENS["li-security"], register=people)


def test_a_key_that_is_not_registered_is_refused() -> None:
    token = approve("wang-security", ASKED, by=held("a new card"))
    with refused(VerificationFailed, "wang-security", "not registered"):
        check("wang-security", token)


def test_the_key_of_somebody_else_is_refused_and_its_owner_named() -> None:
    token = approve("wang-security", ASKED, by=held("li-security"))
    with refused(VerificationFailed, "wang-security", "key of li-security"):
        check("wang-security", token)


def test_somebody_elses_approval_handed_in_as_ones_own_is_refused() -> None:
    with refused(VerificationFailed, "wang-security", "key of li-security"):
        check("wang-security", TOKENS["li-security"])
    token = approve("wang-security", ASKED, person="li-security")
    with refused(VerificationFailed, "wang-security", "made out to li-security"):
        check("wang-security", token)


def test_a_broken_signature_is_refused() -> None:
    token = TOKENS["wang-security"]
    with refused(VerificationFailed, "wang-security", "signature does not hold"):
        check("wang-security", token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"))


@pytest.mark.parametrize("token", ["", "yes", "a.b.c"])
def test_what_is_no_approval_is_refused(token: str) -> None:
    with refused(VerificationFailed, "wang-security", "no approval"):
        check("wang-security", token)


def test_an_approval_of_an_earlier_run_is_refused() -> None:
    again = replace(ASKED, nonce="m" * 22)
    with refused(VerificationFailed, "wang-security", "another request"):
        check("wang-security", TOKENS["wang-security"], request=again)


@pytest.mark.parametrize("name", [one.name for one in fields(ApprovalRequest)])
def test_any_changed_parameter_of_the_request_is_refused(name: str) -> None:
    value = getattr(ASKED, name)
    other = value + 1 if isinstance(value, int) else value[:-1]
    with pytest.raises(VerificationFailed, match="wang-security"):
        check("wang-security", TOKENS["wang-security"], request=replace(ASKED, **{name: other}))


def test_a_request_that_expired_is_refused() -> None:
    with refused(VerificationFailed, "wang-security", "expired"):
        check("wang-security", TOKENS["wang-security"], now=ASKED.expires)
    check("wang-security", TOKENS["wang-security"], now=ASKED.expires - 1)


@pytest.mark.parametrize(
    ("signed", "words"),
    [(ASKED.issued - 1, "before the request was made"), (ASKED.expires, "after the request")],
)
def test_a_signature_from_another_time_is_refused(signed: int, words: str) -> None:
    with refused(VerificationFailed, "wang-security", words):
        check("wang-security", approve("wang-security", ASKED, signed=signed))


# --- quorums -------------------------------------------------------------------------------------


def test_three_of_five_and_two_of_three_are_enough() -> None:
    approvals = quorum([*OTHERS, *SECURITY[2:], *LEGAL[:2]])
    assert {one.person for one in approvals} == {*OTHERS, *SECURITY[2:], *LEGAL[:2]}


def test_the_security_officers_are_enough_for_what_needs_them_alone() -> None:
    quorum([*OTHERS, *SECURITY[:3]], Needs.SECURITY)
    with refused(QuorumNotMet, "2 more of group legal"):
        quorum([*OTHERS, *SECURITY[:3]])


def test_an_officer_of_one_space_counts_in_every_ceremony() -> None:
    people = changed(SECURITY[0], spaces=("treasury",))
    assert is_met([*OTHERS, *SECURITY[:3]], Needs.SECURITY, people)


def test_two_of_five_are_too_few_however_many_of_the_others_there_are() -> None:
    with refused(QuorumNotMet, "1 more of group security"):
        quorum([*OTHERS, *SECURITY[:2], *LEGAL])


@pytest.mark.parametrize("name", list(OTHERS))
def test_administrator_witness_and_auditor_are_each_needed(name: str) -> None:
    with refused(QuorumNotMet, f"{name} has not approved"):
        quorum(set(ROSTER) - {name})


def test_everything_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(QuorumNotMet) as caught:
        quorum(["chen-admin", "wu-legal"])
    assert caught.value.message == (
        "the quorum is not met: liu-witness has not approved; zhao-auditor has not approved; "
        "3 more of group security must approve; 1 more of group legal must approve"
    )


def test_a_roster_without_a_witness_meets_no_quorum() -> None:
    asked = request(roster=tuple(name for name in ROSTER if name != "liu-witness"))
    tokens = {name: approve(name, asked) for name in asked.roster}
    with refused(QuorumNotMet, "no witness"):
        check_quorum(register(), asked, tokens, Needs.SECURITY, SOON)


def test_one_bad_approval_among_good_ones_is_not_passed_over() -> None:
    bad = {**TOKENS, "xu-legal": approve("xu-legal", ASKED, signed=ASKED.expires)}
    with refused(VerificationFailed, "xu-legal"):
        check_quorum(register(), ASKED, bad, Needs.SECURITY, SOON)


def test_a_request_for_another_site_is_refused() -> None:
    with refused(VerificationFailed, "elsewhere.example"):
        check_quorum(register(), request(site="elsewhere.example"), {}, Needs.SECURITY, SOON)


def test_a_second_credential_gives_a_person_no_second_voice() -> None:
    spare = held("wang-security's second card")
    mine = register().person("wang-security").credentials
    people = changed("wang-security", credentials=(*mine, spare.credential))
    asked = ASKED
    tokens = {name: TOKENS[name] for name in (*OTHERS, *SECURITY[:2])}
    tokens["wang-security"] = approve("wang-security", asked, by=spare)
    with refused(QuorumNotMet, "1 more of group security"):
        check_quorum(people, asked, tokens, Needs.SECURITY, SOON)
    tokens["huang-security"] = approve("wang-security", asked)
    with refused(VerificationFailed, "huang-security", "key of wang-security"):
        check_quorum(people, asked, tokens, Needs.SECURITY, SOON)


def test_one_key_under_two_names_counts_for_neither_whatever_the_register_says() -> None:
    people = changed("li-security", credentials=(held("wang-security").credential,))
    tokens = {name: TOKENS[name] for name in (*OTHERS, "wang-security", "zhang-security")}
    tokens["li-security"] = approve("li-security", ASKED, by=held("wang-security"))
    with pytest.raises(VerificationFailed, match="li-security"):
        check_quorum(people, ASKED, tokens, Needs.SECURITY, SOON)


@given(PEOPLE, st.sampled_from(ROSTER), NEEDS)
def test_one_more_approval_never_unmeets_a_quorum(names: set[str], more: str, needs: Needs) -> None:
    assert is_met({*names, more}, needs) >= is_met(names, needs)


@given(PEOPLE, NEEDS)
def test_a_quorum_is_met_exactly_by_everybody_needed_and_a_threshold_of_each_group(
    names: set[str], needs: Needs
) -> None:
    legal = needs is Needs.SECURITY or len(names & set(LEGAL)) >= 2
    expected = names >= set(OTHERS) and len(names & set(SECURITY)) >= 3 and legal
    assert is_met(names, needs) == expected


@given(PEOPLE, NEEDS, st.sampled_from((*SECURITY, *LEGAL)), st.booleans())
def test_who_was_removed_or_whose_term_ended_never_counts(
    names: set[str], needs: Needs, gone: str, removed: bool
) -> None:
    people = changed(gone, **({"removed": NOW} if removed else {"term_until": SOON}))
    if gone in names:
        with pytest.raises(VerificationFailed, match=gone):
            quorum(names, needs, people)
    assert is_met(names - {gone}, needs, people) == is_met(names - {gone}, needs)


@given(PEOPLE, st.data())
def test_no_approval_counts_for_anybody_but_its_signer(
    names: set[str], data: st.DataObject
) -> None:
    signer, other = data.draw(st.permutations(ROSTER))[:2]
    tokens = {name: TOKENS[name] for name in names} | {other: TOKENS[signer]}
    with pytest.raises(VerificationFailed, match=other):
        check_quorum(register(), ASKED, tokens, Needs.EVERY_GROUP, SOON)


@given(PEOPLE, NEEDS, st.data())
def test_no_name_that_is_not_on_the_roster_helps(
    names: set[str], needs: Needs, data: st.DataObject
) -> None:
    left_out = data.draw(st.sampled_from((*SECURITY, *LEGAL)))
    asked = request(roster=tuple(name for name in ROSTER if name != left_out))
    counted = missing(register(), asked, names | {left_out}, needs)
    assert counted == missing(register(), asked, names - {left_out}, needs)


@given(PEOPLE, st.sampled_from([one.name for one in fields(ApprovalRequest)]))
def test_approvals_of_one_request_never_count_for_another(names: set[str], name: str) -> None:
    value = getattr(ASKED, name)
    other = value + 1 if isinstance(value, int) else value[:-1]
    changed_request, tokens = replace(ASKED, **{name: other}), {one: TOKENS[one] for one in names}
    with pytest.raises(VerificationFailed if names else ConclaveError):
        check_quorum(register(), changed_request, tokens, Needs.EVERY_GROUP, SOON)


# --- a plan's roster -----------------------------------------------------------------------------


def plan(**changes: Any) -> PlanFile:
    values: dict[str, Any] = {
        "version": 1,
        "ceremony": "create-space",
        "id": "space-one",
        "site": SITE,
        "purpose": "A space for the treasury.",
        "administrator": "chen-admin",
        "witness": "liu-witness",
        "auditor": "zhao-auditor",
        "officers": (*SECURITY[:3], *LEGAL[:2]),
        "expires": moment(NOW) + timedelta(days=1),
        "parameters": {},
    }
    return PlanFile(**{**values, **changes})


def test_a_plan_may_name_just_as_many_officers_as_are_needed() -> None:
    check_roster(register(), plan(), Needs.EVERY_GROUP, NOW)
    check_roster(register(), plan(officers=SECURITY[2:]), Needs.SECURITY, NOW)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"administrator": "liu-witness"}, "liu-witness as administrator, the register as witness"),
        ({"witness": "wang-security"}, "wang-security as witness, the register as officer"),
        ({"auditor": "chen-admin"}, "chen-admin as auditor"),
        ({"officers": ("chen-admin", *SECURITY, *LEGAL)}, "chen-admin as officer"),
        ({"officers": ("mallory", *SECURITY, *LEGAL)}, "nobody named mallory"),
        ({"officers": (*SECURITY[:2], *LEGAL)}, "too few officers of group security: 3"),
        ({"officers": (*SECURITY, *LEGAL[:1])}, "too few officers of group legal: 2"),
        ({"site": "elsewhere.example"}, "elsewhere.example"),
    ],
)
def test_a_plan_with_the_wrong_people_is_refused(changes: dict[str, Any], words: str) -> None:
    with refused(InvalidInput, words):
        check_roster(register(), plan(**changes), Needs.EVERY_GROUP, NOW)


def test_a_plan_names_only_people_in_office() -> None:
    with refused(InvalidInput, "wu-legal cannot take part", "removed"):
        check_roster(changed("wu-legal", removed=NOW), plan(), Needs.EVERY_GROUP, NOW)
    with refused(InvalidInput, "cannot take part: the term ended"):
        check_roster(register(), plan(), Needs.EVERY_GROUP, NOW + YEAR)
