"""The register of people: who comes in, who goes out, and that nobody does either unseen."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from kms.ceremonies.people.persons import (
    DAY,
    DRILL_SECONDS,
    NewGroup,
    NewPerson,
    change_register,
    drill_register,
    found_register,
)
from kms.domain.people import CredentialKind, Part, Register
from kms.errors import ConclaveError, InvalidInput, VerificationFailed
from kms.statements.canonical import digest
from kms.statements.card import make_card
from tests.fixtures.people import (
    GROUPS,
    NOW,
    OTHERS,
    SITE,
    YEAR,
    founders,
    held,
    moment,
    newcomer,
    register,
)

LATER = NOW + 30 * DAY
TOKEN = "the register's JWS"


def found(
    people: Sequence[NewPerson] = (), groups: Sequence[NewGroup] = GROUPS, *, software: bool = False
) -> Register:
    return found_register(
        SITE, "founding", groups, people or founders(), NOW, software_allowed=software
    )


def changing(name: str, /, **changes: Any) -> tuple[NewPerson, ...]:
    """Return the founders with one of them other than they were."""
    return tuple(
        msgspec.structs.replace(one, **changes) if one.name == name else one for one in founders()
    )


def change(
    remove: Sequence[str] = (), add: Sequence[NewPerson] = (), *, old: Register | None = None
) -> Register:
    return change_register(
        old or register(), TOKEN, "replacement", remove, add, LATER, software_allowed=False
    )


def officer(name: str, group: str, share: int) -> NewPerson:
    return newcomer(name, group=group, share=share)


def refused(error: type[ConclaveError], *words: str) -> Any:
    return pytest.raises(error, match=".*".join(words))


# --- the first register --------------------------------------------------------------------------


def test_the_first_register_has_everybody_with_the_key_on_their_card() -> None:
    made = found()
    assert (made.site, made.version, made.previous, made.ceremony) == (SITE, 1, "", "founding")
    assert [one.name for one in made.people] == [one.name for one in founders()]
    for person in made.people:
        assert person.credentials == (held(person.name).credential,)
        assert person.in_office(NOW)


def test_officers_alone_have_drills() -> None:
    for person in found().people:
        expected = NOW + DRILL_SECONDS if person.part is Part.OFFICER else 0
        assert person.drill_due == expected


def test_a_card_made_out_to_somebody_else_is_refused() -> None:
    card = make_card("li-security", held("li-security"))
    with refused(VerificationFailed, "wang-security", "made out to li-security"):
        found(changing("wang-security", card=card))


def test_a_card_that_does_not_hold_is_refused_by_its_persons_name() -> None:
    card = make_card("wang-security", held("wang-security"))[:-4] + "AAAA"
    with refused(VerificationFailed, "card of wang-security"):
        found(changing("wang-security", card=card))


def test_one_key_under_two_names_is_refused_and_both_are_named() -> None:
    card = make_card("li-security", held("wang-security"))
    with refused(InvalidInput, "wang-security and li-security", "same key"):
        found(changing("li-security", card=card))


def test_a_key_in_a_file_counts_only_where_the_configuration_allows_it() -> None:
    card = make_card("liu-witness", held("liu-witness", CredentialKind.SOFTWARE))
    people = changing("liu-witness", card=card)
    with refused(InvalidInput, "liu-witness", "does not allow"):
        found(people)
    assert found(people, software=True).person("liu-witness").credentials[0].kind == "software"


@pytest.mark.parametrize("name", list(OTHERS))
def test_nobody_but_officers_holds_a_share(name: str) -> None:
    with refused(InvalidInput, name, "holds no share"):
        found(changing(name, group="security", share=6))


@pytest.mark.parametrize("name", list(OTHERS))
def test_each_part_is_there(name: str) -> None:
    with refused(InvalidInput, f"no {OTHERS[name]}"):
        found(tuple(one for one in founders() if one.name != name))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"term_from": moment(NOW)}, "whole days"),
        ({"term_until": moment(NOW).replace(tzinfo=None)}, "no time zone"),
        ({"term_until": moment(NOW - NOW % DAY - 5 * DAY)}, "over already"),
        ({"term_from": moment(NOW - NOW % DAY + 2 * YEAR)}, "ends before it begins"),
        ({"display": "Wang\u202egnaW"}, "hidden characters"),
        ({"name": "Wang", "card": make_card("Wang", held("Wang"))}, "slug"),
        ({"group": "sales"}, "officer of no group"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], words: str) -> None:
    with refused(InvalidInput, words):
        found(changing("huang-security", **changes))


def test_an_officer_may_be_bound_to_spaces() -> None:
    made = found(changing("wang-security", spaces=("treasury", "lending")))
    bound, free = made.person("wang-security"), made.person("li-security")
    assert [bound.reaches(space) for space in ("treasury", "banking", "")] == [True, False, False]
    assert [free.reaches(space) for space in ("treasury", "")] == [True, True]


@pytest.mark.parametrize(
    ("name", "spaces", "words"),
    [
        ("wang-security", ("Treasury",), "slug"),
        ("wang-security", ("",), "slug"),
        ("wang-security", ("treasury", "treasury"), "twice"),
        ("chen-admin", ("treasury",), "bound to no space"),
    ],
)
def test_only_officers_are_bound_and_each_space_is_named_once(
    name: str, spaces: tuple[str, ...], words: str
) -> None:
    with refused(InvalidInput, words):
        found(changing(name, spaces=spaces))


@pytest.mark.parametrize("threshold", [0, 1, 6])
def test_nobody_acts_alone_and_a_threshold_can_be_reached(threshold: int) -> None:
    groups = (NewGroup(name="security", threshold=threshold), GROUPS[1])
    with refused(InvalidInput, "security"):
        found(groups=groups)


def test_shares_count_from_one_and_the_free_one_is_named() -> None:
    with refused(InvalidInput, "security count from 1 to 5", "share 3"):
        found(changing("zhang-security", share=6))
    with refused(InvalidInput, "legal count from 1 to 3", "share 2"):
        found(changing("wu-legal", share=3))


def test_a_group_has_as_many_officers_as_shares_can_be_made() -> None:
    more = [officer(f"o{place}", "security", place) for place in range(6, 18)]
    with refused(InvalidInput, "more than 16"):
        found((*founders(), *more))


# --- replacement ---------------------------------------------------------------------------------


def test_a_replacement_takes_the_free_share_and_history_stays() -> None:
    new = change(["li-security"], [officer("sun-security", "security", 2)])
    gone = new.person("li-security")
    assert (gone.removed, gone.replaced_by, gone.share) == (LATER, "sun-security", 2)
    assert gone.credentials == register().person("li-security").credentials
    assert not gone.in_office(LATER)
    assert [one.name for one in new.holders("security")] == [
        "wang-security",
        "sun-security",
        "zhang-security",
        "chen-security",
        "huang-security",
    ]


def test_the_new_register_names_the_one_before_it() -> None:
    new = change(["li-security"], [officer("sun-security", "security", 2)])
    assert (new.version, new.issued, new.ceremony) == (2, LATER, "replacement")
    assert new.previous == digest(TOKEN.encode())
    assert new.site == SITE


def test_everybody_in_office_gets_a_new_share_and_so_a_new_drill() -> None:
    new = change(["li-security"], [officer("sun-security", "security", 2)])
    assert {one.drill_due for one in new.holders("legal")} == {LATER + DRILL_SECONDS}
    assert new.person("li-security").drill_due == NOW + DRILL_SECONDS
    assert new.person("chen-admin").drill_due == 0


def test_each_of_two_successors_is_named_once() -> None:
    new = change(
        ["liu-witness", "li-security", "wu-legal"],
        [
            newcomer("ma-witness", Part.WITNESS),
            newcomer("he-witness", Part.WITNESS),
            officer("gao-legal", "legal", 2),
            officer("sun-security", "security", 2),
        ],
    )
    heirs = {one.name: one.replaced_by for one in new.people if one.removed}
    expected = {"liu-witness": "ma-witness", "li-security": "sun-security", "wu-legal": "gao-legal"}
    assert heirs == expected


def test_a_replacement_who_takes_another_share_is_told_which_is_free() -> None:
    with refused(InvalidInput, "security", "nobody has share 2") as caught:
        change(["li-security"], [officer("sun-security", "security", 6)])
    assert "an added officer takes the share" in caught.value.hint


def test_a_group_grows_and_shrinks_at_its_end() -> None:
    grown = change([], [officer("sun-security", "security", 6)])
    assert len(grown.holders("security")) == 6
    shrunk = change(["huang-security"])
    assert [one.share for one in shrunk.holders("security")] == [1, 2, 3, 4]
    assert shrunk.person("huang-security").replaced_by == ""
    with refused(InvalidInput, "nobody has share 1"):
        change(["wang-security"])


def test_a_group_does_not_shrink_below_its_threshold() -> None:
    with refused(InvalidInput, "group legal"):
        change(["xu-legal", "wu-legal"])


def test_thresholds_change_with_the_groups() -> None:
    new = change_register(
        register(),
        TOKEN,
        "replacement",
        [],
        [],
        LATER,
        software_allowed=False,
        groups=[NewGroup(name="security", threshold=4), GROUPS[1]],
    )
    assert [group.threshold for group in new.groups] == [4, 2]


def test_a_group_that_still_has_officers_stays() -> None:
    with refused(InvalidInput, "officer of no group"):
        change_register(
            *(register(), TOKEN, "replacement", [], [], LATER),
            software_allowed=False,
            groups=GROUPS[:1],
        )


def test_nobody_is_added_under_a_name_that_the_register_has() -> None:
    with refused(InvalidInput, "has a li-security"):
        change(["li-security"], [officer("li-security", "security", 2)])


@pytest.mark.parametrize("owner", ["wang-security", "li-security", "chen-admin"])
def test_a_key_stays_with_its_first_owner_even_when_that_one_is_removed(owner: str) -> None:
    card = make_card("sun-security", held(owner))
    stranger = newcomer("sun-security", group="security", share=2, card=card)
    with refused(InvalidInput, "sun-security is registered to", owner):
        change(["li-security"], [stranger])


def test_a_key_of_somebody_removed_long_ago_is_refused_too() -> None:
    second = change(["li-security"], [officer("sun-security", "security", 2)])
    card = make_card("he-security", held("li-security"))
    stranger = newcomer("he-security", group="security", share=6, card=card)
    with refused(InvalidInput, "registered to li-security"):
        change([], [stranger], old=second)


@pytest.mark.parametrize("names", [["nobody"], ["li-security", "li-security"]])
def test_only_who_is_there_is_removed_and_once(names: list[str]) -> None:
    with pytest.raises(InvalidInput, match="removed"):
        change(names)


def test_nobody_is_removed_a_second_time() -> None:
    second = change(["huang-security"])
    with refused(InvalidInput, "huang-security is not in office"):
        change(["huang-security"], old=second)


def test_the_last_of_a_part_is_not_removed() -> None:
    with refused(InvalidInput, "no auditor"):
        change(["zhao-auditor"])


def test_a_key_in_a_file_is_refused_in_a_change_as_well() -> None:
    card = make_card("ma-witness", held("ma-witness", CredentialKind.SOFTWARE))
    with refused(InvalidInput, "ma-witness", "does not allow"):
        change([], [newcomer("ma-witness", Part.WITNESS, card=card)])


def test_a_clock_that_went_back_makes_no_register() -> None:
    with refused(InvalidInput, "clock"):
        change(old=replace(register(), issued=LATER + 1))


# --- drills --------------------------------------------------------------------------------------


def test_a_drill_moves_the_due_date_of_those_who_took_part_alone() -> None:
    new = drill_register(register(), TOKEN, "drill", ["wang-security", "chen-admin"], LATER)
    assert new.person("wang-security").drill_due == LATER + DRILL_SECONDS
    assert new.person("li-security").drill_due == NOW + DRILL_SECONDS
    assert new.person("chen-admin").drill_due == 0
    assert (new.version, new.previous) == (2, digest(TOKEN.encode()))
