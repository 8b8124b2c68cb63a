"""Rules for changing the register of people, told in words that say what to do.

kms.domain.people has the rules of any register; what is refused here names people and places.
"""

from collections.abc import Sequence

from kms.domain.people import Person, Register, check_register
from kms.errors import InvalidInput

_MOST = 16
"""SLIP-39 has no more groups, and no more shares in one."""


def check_removals(old: Register, remove: Sequence[str]) -> None:
    """Raise InvalidInput unless those to be removed are there, each named once."""
    present = {person.name for person in old.people if not person.removed}
    if len(set(remove)) != len(remove):
        raise InvalidInput("a person is to be removed twice")
    for name in remove:
        if name not in present:
            raise InvalidInput(f"{name} is not in office, and so cannot be removed")


def refuse_known(old: Register, added: Sequence[Person]) -> None:
    """Raise InvalidInput for a name or key that the register has, be it of a removed person."""
    owners = {key.kid: person.name for person in old.people for key in person.credentials}
    names = {person.name for person in old.people}
    for person in added:
        if person.name in names:
            raise InvalidInput(
                f"the register has a {person.name}",
                hint="a name stands for one person and one credential: choose another",
            )
        for key in person.credentials:
            if key.kid in owners:
                raise InvalidInput(
                    f"the key of {person.name} is registered to {owners[key.kid]} already"
                )


def checked(register: Register) -> Register:
    """Return a register that keeps every rule; raise InvalidInput that says what would."""
    if len(register.groups) > _MOST:
        raise InvalidInput(f"there are at most {_MOST} groups")
    _refuse_twin_keys(register)
    for group in register.groups:
        _check_places(group.name, register.holders(group.name))
    check_register(register)
    return register


def _refuse_twin_keys(register: Register) -> None:
    owners: dict[str, str] = {}
    for person in register.people:
        for key in person.credentials:
            other = owners.setdefault(key.kid, person.name)
            if other != person.name:
                raise InvalidInput(f"{other} and {person.name} present the same key")


def _check_places(group: str, members: Sequence[Person]) -> None:
    """Say which places are free or taken twice; check_register only refuses."""
    if len(members) > _MOST:
        raise InvalidInput(f"group {group} has more than {_MOST} officers")
    free = set(range(1, len(members) + 1)) - {person.share for person in members}
    if free:
        raise InvalidInput(
            f"the shares of group {group} count from 1 to {len(members)}: nobody has share "
            f"{', '.join(map(str, sorted(free)))}",
            hint="an added officer takes the share of one who was removed; to make the group "
            "smaller, remove the officer with the last share",
        )
