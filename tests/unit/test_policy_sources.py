"""Cedar texts: what is read and refused, and what a site's own policies can and cannot do."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.domain.models import CallerLabels, Principal, PrincipalKind, Role, Strength
from kms.domain.policies import Labels
from kms.errors import Forbidden, InvalidInput, NotFound
from kms.operations import OPERATIONS
from kms.policy.authorizer import Authorizer, SpaceFacts, Target
from kms.policy.bounds import MAX_TEXT
from kms.policy.cases import read_cases
from kms.policy.source import Shipped

SHIPPED = Shipped.load()
PLAIN = Authorizer(SHIPPED, SHIPPED.policies)
PERMIT = '@id("own") permit (principal, action, resource);'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("permit (principal, action, resource);", "@id"),
        ('@id("Not A Slug") permit (principal, action, resource);', "@id"),
        (PERMIT + PERMIT, "two policies have the id own"),
        (PERMIT.replace("own", "own-space-only"), "two policies have the id own-space-only"),
        (PERMIT.replace("principal,", "principal == ?principal,"), "template"),
        (PERMIT.replace("resource)", "resource is Moon)"), "Moon"),
        (PERMIT.replace(";", " when { principal.age > 3 };"), "age"),
        (PERMIT.replace(";", ' when { principal.region > "a" };'), "type"),
        (PERMIT.replace(";", " wen { true };"), "wen"),
        (PERMIT + "/" * MAX_TEXT, "at most"),
        (PERMIT.replace(";", f" when {{ {'(' * 40}true{')' * 40} }};"), "nest"),
        (PERMIT.replace(";", f" when {{ {'(' * 9000}true"), "nest"),
        (PERMIT.replace(";", f" when {{ {'true && ' * 3000} true }};"), "too long"),
    ],
    ids=[
        "no id", "no slug", "an id twice", "a shipped id", "a template", "no such type",
        "no such attribute", "wrong type", "no Cedar", "too large", "too deep", "far too deep",
        "too long",
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_is_refused_with_its_source(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        SHIPPED.with_site([("site.cedar", text)])
    assert (
        "policies have the id" in said
        or "site.cedar" in refused.value.message
        or ("two policies" in refused.value.message)
    )


@pytest.mark.parametrize("hidden", ['")" == "x"', "true // )\n", '"\\")" == "x"'])
def test_brackets_in_strings_and_remarks_hide_no_depth(hidden: str) -> None:
    nested = f"({hidden} || " * 40 + "true" + ")" * 40
    with pytest.raises(InvalidInput, match="nest"):
        SHIPPED.with_site([("s", PERMIT.replace(";", f" when {{ {nested} }};"))])


def test_the_documents_explain_every_attribute_of_the_schema() -> None:
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text("utf-8")
    for kind, names in (
        ("principal", CallerLabels.__slots__),
        ("resource", Labels.__slots__),
    ):
        for name in names:
            assert f"`{kind}.{name}`" in page


# --- what a site's own policies can do ------------------------------------------------------------

_WORDS = st.sampled_from(["", "treasury", "secret", "shanghai"])
_OPERATIONS = st.sampled_from(sorted(OPERATIONS))
_SITE_ONLY = {name for name, one in OPERATIONS.items() if "{space}" not in one.path} - {
    "envelope.fetch",
    "envelope.relay",
    "audit.manifests",
    "grant.revoke",
}


@st.composite
def questions(draw: st.DrawFn) -> tuple[Principal, str, Target, SpaceFacts]:
    operation = draw(_OPERATIONS)
    who = Principal(
        "somebody",
        PrincipalKind.SOCKET,
        "x",
        frozenset(draw(st.sets(st.sampled_from(Role)))),
        frozenset(draw(st.sets(st.sampled_from(["treasury", "markets", "*"]), min_size=1))),
        labels=CallerLabels(draw(_WORDS), draw(_WORDS), draw(_WORDS), draw(_WORDS)),
        strength=draw(st.sampled_from(Strength)),
        age=draw(st.integers(0, 7200)),
    )
    facts = SpaceFacts(draw(st.sampled_from(["trusted", "roster"])), Labels(*[draw(_WORDS)] * 5))
    if operation in _SITE_ONLY:
        return who, operation, Target(), facts
    target = Target("treasury", "", draw(st.booleans()), draw(st.booleans()), "suspicion")
    return who, operation, target, facts


@st.composite
def conditions(draw: st.DrawFn) -> str:
    compared = draw(
        st.sampled_from(
            [
                "principal.department", "principal.region", "principal.staff_number",
                "principal.business_type",
            ]
        )
    )  # fmt: skip
    numbered = draw(st.sampled_from(["strength", "age_seconds"]))
    parts = [
        f'{compared} == "{draw(_WORDS)}"',
        f"principal.auth.{numbered} < {draw(st.integers(0, 3600))}",
        'principal in Role::"officer"',
        "principal.every_space",
    ]
    chosen = draw(st.lists(st.sampled_from(parts), min_size=1, max_size=3))
    return draw(st.sampled_from([" && ", " || "])).join(chosen)


def permitted(authorizer: Authorizer, question: tuple[Principal, str, Target, SpaceFacts]) -> bool:
    who, operation, target, facts = question
    authorizer.learn({target.space: facts})
    try:
        authorizer.check(who, operation, target)
    except (Forbidden, NotFound):
        return False
    return True


@given(st.lists(conditions(), min_size=1, max_size=4), st.lists(questions(), max_size=8))
def test_forbids_alone_never_permit_more(
    wanted: list[str], asked: list[tuple[Principal, str, Target, SpaceFacts]]
) -> None:
    text = "\n".join(
        f'@id("own-{number}") forbid (principal, action, resource) when {{ {condition} }};'
        for number, condition in enumerate(wanted)
    )
    narrowed = Authorizer(SHIPPED, SHIPPED.with_site([("site", text)]))
    for question in asked:
        assert permitted(PLAIN, question) or not permitted(narrowed, question)


@given(questions())
def test_no_permit_of_a_site_opens_another_space_or_an_envelope_to_others(
    question: tuple[Principal, str, Target, SpaceFacts],
) -> None:
    who, operation, target, facts = question
    if not permitted(Authorizer(SHIPPED, SHIPPED.with_site([("site", PERMIT)])), question):
        return
    assert not target.space or who.reaches(target.space)
    if operation.startswith("envelope."):
        assert Role.MEETING_SERVER in who.roles
    if operation == "envelope.fetch":
        assert target.on_roster
        assert target.own_recipient
        assert facts.release_class == "trusted"
    if operation == "envelope.relay":
        assert target.on_roster
        assert facts.release_class == "roster"


# --- cases ----------------------------------------------------------------------------------------

CASE = """
[[case]]
name = "an officer closes a meeting"
operation = "meeting.close"
expect = "allow"
policies = ["officer-stops"]
principal = { roles = ["officer"], spaces = ["treasury"], strength = 3 }
space = { name = "treasury" }
"""


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        (("", ""), True),
        (('"allow"', '"deny"'), False),
        (("officer-stops", "officer-reads"), False),
        (('policies = ["officer-stops"]\n', ""), True),
        (('officer"]', 'auditor"]'), False),
    ],
)  # fmt: skip
def test_a_case_holds_or_not(change: tuple[str, str], holds: bool) -> None:
    (case,) = read_cases(CASE.replace(*change))
    assert case.holds(case.ask(PLAIN)) is holds


@pytest.mark.parametrize(
    "change",
    [("meeting.close", "meeting.dance"), ("strength", "strenght"), ("3", "4"), ("[[", "[")],
)
def test_cases_that_cannot_be_read_are_refused(change: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput):
        read_cases(CASE.replace(*change))
