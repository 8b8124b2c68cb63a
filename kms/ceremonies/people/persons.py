"""Makes the register of people: the first one, and each one after a change.

Nobody comes in without a card that proves their key. Nobody goes out of the register: who was
removed stays as history, with the key, which nobody else can bring in again. A person keeps the
credential that they came with; who needs another is replaced under a new name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

import msgspec

from kms.ceremonies.people.register_rules import check_removals, checked, refuse_known
from kms.ceremonies.plan import SLUG
from kms.domain.people import (
    CredentialKind,
    Group,
    Part,
    Person,
    Register,
)
from kms.domain.text import visible
from kms.errors import InvalidInput, VerificationFailed
from kms.statements.canonical import digest
from kms.statements.card import Card, read_card

DAY = 86_400
DRILL_SECONDS = 180 * DAY
"""So long after a share was last read back is its holder's next drill due."""


class NewPerson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A person as a plan brings them in. ``card`` is their credential card (JWS); terms are whole
    days (UTC), an officer's ``share`` the place in the group, from 1; ``spaces`` those alone whose
    operations an officer may approve.
    """

    name: str
    display: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    part: Part
    group: str = ""
    share: int = 0
    term_from: datetime
    term_until: datetime
    card: str
    spaces: tuple[str, ...] = ()


class NewGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A group of officers as a plan has it: ``threshold`` of its members are needed."""

    name: str
    threshold: int


def found_register(
    site: str,
    ceremony: str,
    groups: Sequence[NewGroup],
    people: Sequence[NewPerson],
    issued: int,
    *,
    software_allowed: bool,
) -> Register:
    """Return a site's first register; raise InvalidInput, VerificationFailed."""
    admitted = tuple(_admit(one, issued, software_allowed=software_allowed) for one in people)
    made = Register(site, 1, issued, "", ceremony, _groups(groups), admitted)
    return checked(made)


def change_register(
    old: Register,
    old_token: str,
    ceremony: str,
    remove: Sequence[str],
    add: Sequence[NewPerson],
    issued: int,
    *,
    software_allowed: bool,
    groups: Sequence[NewGroup] = (),
) -> Register:
    """Return the register after ``old`` (whose JWS is ``old_token``): people removed and added, and
    new ``groups`` if any are given. Raise InvalidInput, VerificationFailed.

    It goes with a new split of both secrets, so every officer's drill is due anew. An added person
    of the same part, group and share is named as the successor of who was removed.
    """
    added = [_admit(one, issued, software_allowed=software_allowed) for one in add]
    check_removals(old, remove)
    refuse_known(old, added)
    kept = _remove(old, remove, added, issued)
    changed = replace(
        _next(old, old_token, ceremony, issued),
        groups=_groups(groups) if groups else old.groups,
        people=tuple(_drilled(one, issued) for one in [*kept, *added]),
    )
    return checked(changed)


def drill_register(
    old: Register, old_token: str, ceremony: str, drilled: Iterable[str], issued: int
) -> Register:
    """Return the register after a drill in which ``drilled`` read their shares back."""
    names = set(drilled)
    people = [_drilled(one, issued) if one.name in names else one for one in old.people]
    return checked(replace(_next(old, old_token, ceremony, issued), people=tuple(people)))


def _admit(new: NewPerson, issued: int, *, software_allowed: bool) -> Person:
    card = _card(new)
    if card.credential.kind is CredentialKind.SOFTWARE and not software_allowed:
        raise InvalidInput(
            f"the key of {new.name} lies in a file, which this site's configuration does not allow",
            hint="use a credential on a token, or set software_credentials under [ceremonies]",
        )
    if visible(new.display) != new.display:
        raise InvalidInput(f"the display name of {new.name} has hidden characters")
    person = Person(
        name=new.name,
        display=new.display,
        part=new.part,
        group=new.group,
        share=new.share,
        credentials=(card.credential,),
        term_from=_day(new.name, new.term_from),
        term_until=_day(new.name, new.term_until),
        drill_due=0,
        spaces=new.spaces,
    )
    if person.term_until <= issued:
        raise InvalidInput(f"the term of {new.name} is over already")
    return _drilled(person, issued)


def _card(new: NewPerson) -> Card:
    try:
        card = read_card(new.card)
    except VerificationFailed as error:
        text = f"the card of {new.name} does not hold: {error.message}"
        raise VerificationFailed(text) from error
    if card.person != new.name:
        raise VerificationFailed(f"the card of {new.name} is made out to {card.person}")
    return card


def _day(name: str, moment: datetime) -> int:
    """Return a whole day's beginning in seconds."""
    if moment.tzinfo is None:
        raise InvalidInput(f"the term of {name} has no time zone: end it with Z")
    seconds = moment.timestamp()
    if seconds % DAY or seconds < 0:
        raise InvalidInput(f"the term of {name} is not in whole days: write T00:00:00Z")
    return int(seconds)


def _groups(groups: Sequence[NewGroup]) -> tuple[Group, ...]:
    for group in groups:
        if not SLUG.fullmatch(group.name):
            raise InvalidInput("a group is named by a slug: a letter, then 1 to 47 of a-z, 0-9, -")
    return tuple(Group(group.name, group.threshold) for group in groups)


def _remove(
    old: Register, remove: Sequence[str], added: Sequence[Person], issued: int
) -> list[Person]:
    """Return the old people; each added one is the successor of one who was removed, at most."""
    free = list(added)
    people = []
    for person in old.people:
        if person.name in remove:
            heir = next((one for one in free if _place(one) == _place(person)), None)
            if heir:
                free.remove(heir)
            changed = replace(person, removed=issued, replaced_by=heir.name if heir else "")
            people.append(changed)
        else:
            people.append(person)
    return people


def _place(person: Person) -> tuple[Part, str, int]:
    return person.part, person.group, person.share


def _next(old: Register, old_token: str, ceremony: str, issued: int) -> Register:
    if issued < old.issued:
        raise InvalidInput("the present register was issued later: the clock is wrong")
    previous = digest(old_token.encode())
    return replace(
        old, version=old.version + 1, issued=issued, previous=previous, ceremony=ceremony
    )


def _drilled(person: Person, issued: int) -> Person:
    if person.removed or person.part is not Part.OFFICER:
        return person
    return replace(person, drill_due=issued + DRILL_SECONDS)
