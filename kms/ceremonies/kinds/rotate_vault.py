"""rotate-vault: a space's next vault key. New keys go to it; the service moves the old ones itself,
and then destroys the vault key that kept them.
"""

from functools import partial

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.plan import Parameters
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.anchors import check_trusted
from kms.ceremonies.steps.holding import so_shares
from kms.ceremonies.steps.keepers import keeper, recipient_entry
from kms.ceremonies.steps.newtoken import dump_token, key_facts, spki_of, token_of
from kms.ceremonies.steps.replacing import keeping_space, vaults_of
from kms.domain.ids import parse_space
from kms.domain.models import RecipientKind, ReleaseClass, Space
from kms.domain.people import Part
from kms.errors import NotFound

NAME = "rotate-vault"
_LOOK = "look/space"
_SECTION = "rotate"
_MAKE = f"{_SECTION}/vault"


class Rotated(Parameters, frozen=True):
    """The space."""

    space: str


def _check(brief: Brief) -> None:
    token_of(brief, parse_space(brief.parameters_as(Rotated).space))


def _script(brief: Brief) -> Script:
    space = brief.parameters_as(Rotated).space
    label = token_of(brief, space)
    values = {"space": space, "token": label}
    return (_look_section(space, values), _rotate_section(brief, space, label, values))


def _look_section(space: str, values: dict[str, str]) -> Section:
    """Return the section that fixes the number: the next one is begun anew when it is taken up."""
    look = Step(
        id=_LOOK,
        who=Part.ADMINISTRATOR,
        text="The program looks which vault key of the space {space} is the next one.",
        values=values,
        check=partial(_refuse, space),
        act=partial(_look, space),
    )
    return Section(id="look", text="The space {space} is looked at.", values=values, steps=(look,))


def _rotate_section(brief: Brief, space: str, label: str, values: dict[str, str]) -> Section:
    begin = Step(
        id=f"{_SECTION}/begin",
        who=Part.ADMINISTRATOR,
        text="The administrator confirms that the space {space} gets its next vault key.",
        values=values,
        confirm=space,
        act=lambda room: {"version": _version(room)},
    )
    make = Step(
        id=_MAKE,
        who=Part.ADMINISTRATOR,
        text="The token {token} generates the next vault key of the space {space}, and the "
        "officers' session trusts its public half. A key that is wrapped to it comes back out of "
        "it.",
        values=values,
        act=partial(_make, space, label),
    )
    record = Step(
        id=f"{_SECTION}/record",
        who=Part.ADMINISTRATOR,
        text="The new vault key enters the store and the log of the space {space}. The old one "
        "stays until the service has moved every key.",
        values=values,
        act=partial(_record, space, label),
    )
    shares = so_shares(brief, _SECTION)
    return Section(
        id=_SECTION,
        text="The space {space} gets a new vault key, to which new keys go.",
        values=values,
        forward=True,
        steps=(begin, *shares, make, dump_token(_SECTION, label), record),
    )


def _space(name: str, room: Room) -> Space:
    """Return a space whose keys are kept; raise NotFound."""
    found = keeping_space(room, name)
    if found is None:
        raise NotFound(f"there is no space {name}, or it is destroyed")
    return found


def _refuse(name: str, room: Room) -> None:
    """Refuse a space that has no vault key to follow."""
    vaults_of(room, _space(name, room))


def _look(name: str, room: Room) -> Facts:
    """Take a number that no vault key of the space ever had."""
    known = room.records.recipients(_space(name, room).space)
    last = max(one.version for one in known if one.kind is RecipientKind.VAULT)
    return {"space": name, "version": last + 1}


def _version(room: Room) -> int:
    return int(room.facts[_LOOK]["version"])


def _make(name: str, label: str, room: Room) -> Facts:
    """Make the key, or take the one that an interrupted attempt made: once it is trusted, the
    service may have wrapped keys to it. A private half alone never kept anything.
    """
    space, token = _space(name, room), room.tokens(label)
    version = _version(room)
    if _public(version, space.release_class) not in token.labels():
        token.destroy(f"{RecipientKind.VAULT}/{version}")
        token.trust_vault(version, space.release_class, token.generate_vault(version))
    spki = token.prove_vault(version, space.release_class)
    return {"version": version, **key_facts(spki)}


def _public(version: int, release_class: ReleaseClass) -> str:
    return f"{RecipientKind.VAULT}/{version}/{release_class}"


def _record(name: str, label: str, room: Room) -> Facts:
    space, version = _space(name, room), _version(room)
    spki = spki_of(room, _MAKE)
    check_trusted(room.tokens(label), _public(version, space.release_class), spki)
    record = keeper(name, RecipientKind.VAULT, spki, version, room.now())
    leaf = room.records.write(recipient_entry(room, "recipient.register", record))
    return {"leaf": leaf, "recipient": record.recipient, "version": version}


CEREMONY = Ceremony(
    name=NAME,
    title="Rotate a vault key",
    purpose="Gives a space a new vault key. The service moves every key to it while meetings go "
    "on, and then destroys the old one, which closes older backups to everything but escrow.",
    needs=Needs.SECURITY,
    parameters=Rotated,
    script=_script,
    example=example(NAME),
    check=_check,
)
