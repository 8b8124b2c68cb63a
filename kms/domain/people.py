"""The people of key ceremonies: who they are, in which part, by which credentials, in which group.

Quorums count people, never keys. Nobody has two parts, and a credential belongs to one person.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from kms.domain.ids import parse_space
from kms.errors import InvalidInput, NotFound

_NAME = re.compile(r"[a-z][a-z0-9-]{1,31}", re.ASCII)
_LEAST_THRESHOLD = 2


class Part(StrEnum):
    """What a person does in ceremonies. Only officers hold shares."""

    ADMINISTRATOR = "administrator"
    OFFICER = "officer"
    WITNESS = "witness"
    AUDITOR = "auditor"


class CredentialKind(StrEnum):
    """Where a signing credential's private key lies."""

    TOKEN = "token"  # noqa: S105 -- a kind of credential
    SOFTWARE = "software"


class Standing(StrEnum):
    """How a person stands at some time."""

    IN_OFFICE = "in-office"
    NOT_BEGUN = "term-not-begun"
    ENDED = "term-ended"
    DRILL_OVERDUE = "drill-overdue"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Credential:
    """A P-256 signing key: ``kid`` is the SHA-256 of ``spki`` (DER), both base64url."""

    kid: str
    kind: CredentialKind
    spki: str


@dataclass(frozen=True, slots=True)
class Person:
    """One person. ``group`` and ``share`` (place in the group, from 1) are an officer's alone.
    ``spaces`` are those whose operations an officer may approve; empty: every space and the site.
    Ceremonies count every officer: a share opens what it opens.

    Times in whole seconds; ``removed`` is 0 while the person is in office.
    """

    name: str
    display: str
    part: Part
    group: str
    share: int
    credentials: tuple[Credential, ...]
    term_from: int
    term_until: int
    drill_due: int
    removed: int = 0
    replaced_by: str = ""
    spaces: tuple[str, ...] = ()

    def in_office(self, now: int) -> bool:
        """Whether the person may act at ``now``."""
        return not self.removed and self.term_from <= now < self.term_until

    def standing(self, now: int) -> Standing:
        """Return how the person stands at ``now``."""
        if self.removed:
            return Standing.REMOVED
        if now < self.term_from:
            return Standing.NOT_BEGUN
        if now >= self.term_until:
            return Standing.ENDED
        if self.drill_due and now >= self.drill_due:
            return Standing.DRILL_OVERDUE
        return Standing.IN_OFFICE

    def reaches(self, space: str) -> bool:
        """Whether the person may approve for a space; for the site (empty) only who may for all."""
        return not self.spaces or space in self.spaces


@dataclass(frozen=True, slots=True)
class Group:
    """A group of officers: ``threshold`` of its members are needed."""

    name: str
    threshold: int


@dataclass(frozen=True, slots=True)
class Register:
    """The register of people. ``previous`` is the SHA-256 (base64url) of the register before it,
    empty for the first; ``ceremony`` made it. Removed people stay, as history.

    The first group is the security officers: their quorum alone opens an SO session.
    """

    site: str
    version: int
    issued: int
    previous: str
    ceremony: str
    groups: tuple[Group, ...]
    people: tuple[Person, ...]

    def person(self, name: str) -> Person:
        """Return one person, removed or not; raise NotFound."""
        for person in self.people:
            if person.name == name:
                return person
        raise NotFound("the register has nobody named {name}", about={"name": name})

    def holders(self, group: str) -> tuple[Person, ...]:
        """Return the officers of a group who are not removed, by share."""
        members = [one for one in self.people if one.group == group and not one.removed]
        return tuple(sorted(members, key=lambda person: person.share))


def parse_name(text: str) -> str:
    """Return a person's name; raise InvalidInput."""
    if not _NAME.fullmatch(text):
        raise InvalidInput("a person is named by a slug: a letter, then 1 to 31 of a-z, 0-9, -")
    return text


def check_register(register: Register) -> None:
    """Raise InvalidInput unless the register keeps the rules of ceremonies."""
    present = [person for person in register.people if not person.removed]
    _refuse_twins("a name", (person.name for person in register.people))
    kids = [key.kid for person in register.people for key in person.credentials]
    _refuse_twins("a credential", kids)
    if not register.groups:
        raise InvalidInput("the register has no group of officers")
    _refuse_twins("a group", (group.name for group in register.groups))
    for person in present:
        _check_person(person, {group.name for group in register.groups})
    for group in register.groups:
        _check_group(group, register.holders(group.name))
    for part in (Part.ADMINISTRATOR, Part.WITNESS, Part.AUDITOR):
        if not any(person.part is part for person in present):
            raise InvalidInput(f"the register has no {part}")


def _check_person(person: Person, groups: set[str]) -> None:
    parse_name(person.name)
    if not person.credentials:
        raise InvalidInput(f"{person.name} has no credential")
    if person.term_from >= person.term_until:
        raise InvalidInput(f"the term of {person.name} ends before it begins")
    if person.part is not Part.OFFICER and (person.group or person.share):
        raise InvalidInput(f"{person.name} is {person.part} and so holds no share")
    if person.part is Part.OFFICER and person.group not in groups:
        raise InvalidInput(f"{person.name} is an officer of no group")
    _check_spaces(person)


def _check_spaces(person: Person) -> None:
    if person.spaces and person.part is not Part.OFFICER:
        raise InvalidInput(f"{person.name} is {person.part} and so is bound to no space")
    for space in person.spaces:
        parse_space(space)
    _refuse_twins(f"a space of {person.name}", person.spaces)


def _check_group(group: Group, members: tuple[Person, ...]) -> None:
    if not _LEAST_THRESHOLD <= group.threshold <= len(members):
        raise InvalidInput(
            f"group {group.name} needs {group.threshold} of {len(members)}: nobody acts alone, "
            "and there are enough to act"
        )
    if [person.share for person in members] != list(range(1, len(members) + 1)):
        raise InvalidInput(f"the shares of group {group.name} do not count from 1")


def _refuse_twins(what: str, values: Iterable[str]) -> None:
    twins = [value for value, count in Counter(values).items() if count > 1]
    if twins:
        raise InvalidInput(f"{what} stands in the register twice: {twins[0]}")
