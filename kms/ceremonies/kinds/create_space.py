"""create-space: a department's key domain. Makes its token, which trusts site root and escrow key
before it has any key to lose, and tells store, log and key list of it.
"""

from functools import partial

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.plan import Parameters
from kms.ceremonies.ports import Entry, SigningUse
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.anchors import escrow_in_force, own_key, own_vault, root_in_force
from kms.ceremonies.steps.holding import so_shares
from kms.ceremonies.steps.issuing import add_to_key_list
from kms.ceremonies.steps.keepers import (
    keeper,
    make_vault,
    recipient_entry,
    trust_escrow,
    trust_root,
)
from kms.ceremonies.steps.newtoken import (
    finish_token,
    make_row_mac,
    make_signing_key,
    make_token,
    token_of,
)
from kms.ceremonies.steps.state import key_list, listed
from kms.domain.ids import SpaceName, parse_space
from kms.domain.models import RecipientKind, ReleaseClass, Space
from kms.domain.people import Part
from kms.errors import AlreadyExists
from kms.statements.keylist import KeyUse

NAME = "create-space"


class NewSpace(Parameters, frozen=True):
    """A space and its release class, which never changes."""

    space: str
    release_class: ReleaseClass


def _check(brief: Brief) -> None:
    token_of(brief, parse_space(brief.parameters_as(NewSpace).space))


def _script(brief: Brief) -> Script:
    wanted = brief.parameters_as(NewSpace)
    label = token_of(brief, wanted.space)
    return (_make_keys(brief, wanted, label), _register(wanted, label))


def _make_keys(brief: Brief, wanted: NewSpace, label: str) -> Section:
    return Section(
        id="token",
        text="The token of the space {space} is made.",
        values={"space": wanted.space},
        steps=(
            *so_shares(brief, "token"),
            *make_token("token", label, check=partial(_refuse_known, wanted, label)),
            trust_root("token", label, root_in_force),
            trust_escrow("token", label),
            make_row_mac("token", label),
            make_signing_key("token", label, SigningUse.MANIFEST),
            make_vault("token", label, wanted.release_class),
            *finish_token("token", label),
        ),
    )


def _register(wanted: NewSpace, label: str) -> Section:
    steps = (
        Step(
            id="register/space",
            who=Part.ADMINISTRATOR,
            text="The space {space} enters the store, with its release class {release_class}.",
            values={"space": wanted.space, "release_class": wanted.release_class},
            confirm=wanted.space,
            act=partial(_write_space, wanted, label),
        ),
        Step(
            id="register/vault",
            who=Part.ADMINISTRATOR,
            text="The space's vault key enters the store.",
            act=partial(_write_vault, wanted, label),
        ),
        Step(
            id="register/escrow",
            who=Part.ADMINISTRATOR,
            text="The escrow key enters the store as one that keeps the space's keys.",
            act=partial(_write_escrow, wanted),
        ),
        Step(
            id="register/key-list",
            who=Part.ADMINISTRATOR,
            text="The site root signs a key list that has the space's manifest key.",
            act=partial(_issue_key_list, wanted, label),
        ),
    )
    return Section(
        id="register",
        text="The space {space} is registered: meetings can be opened in it.",
        values={"space": wanted.space},
        forward=True,
        steps=steps,
    )


def _refuse_known(wanted: NewSpace, label: str, room: Room) -> None:
    """Refuse a space that store or key list know of: then its token holds what may be needed."""
    known = {space.space for space in room.records.spaces()}
    known |= {SpaceName(key.space) for key in key_list(room.files).keys}
    if wanted.space in known:
        raise AlreadyExists(f"there is or was a space {wanted.space}", hint="choose another name")
    for space in room.records.spaces():
        if space.token == label:
            raise AlreadyExists(f"the token {label} belongs to the space {space.space}")


def _write_space(wanted: NewSpace, label: str, room: Room) -> Facts:
    name = SpaceName(wanted.space)
    told = {
        "ceremony": room.brief.plan.file.id,
        "release_class": wanted.release_class.value,
        "token": label,
    }
    record = Space(name, wanted.release_class, label, room.now())
    leaf = room.records.write(Entry("space.create", name, f"spaces/{name}", told, (record,)))
    return {"leaf": leaf}


def _write_vault(wanted: NewSpace, label: str, room: Room) -> Facts:
    version, spki = own_vault(room, "token", label, wanted.release_class)
    record = keeper(wanted.space, RecipientKind.VAULT, spki, version, room.now())
    return {"leaf": room.records.write(recipient_entry(room, "recipient.register", record))}


def _write_escrow(wanted: NewSpace, room: Room) -> Facts:
    found = escrow_in_force(room)
    record = keeper(wanted.space, RecipientKind.ESCROW, found.key, found.generation, room.now())
    return {"leaf": room.records.write(recipient_entry(room, "recipient.register", record))}


def _issue_key_list(wanted: NewSpace, label: str, room: Room) -> Facts:
    spki = own_key(room, "token", SigningUse.MANIFEST, label)
    return add_to_key_list(room, listed(KeyUse.MANIFEST, spki, room.now(), wanted.space))


CEREMONY = Ceremony(
    name=NAME,
    title="Create a space",
    purpose="Gives a department keys of its own: a token, on it a vault key and a key that signs "
    "epoch manifests, and the site root and escrow key that it trusts.",
    needs=Needs.SECURITY,
    parameters=NewSpace,
    script=_script,
    example=example(NAME),
    check=_check,
)
