"""unseal: a sealed space, or the whole sealed box, may go into service again.

A quorum approves it, and the site's token is opened with its PIN: it seals the space's row and
signs the head of the log. The marker goes last. The service starts only when people give its PINs.
"""

from dataclasses import replace
from functools import partial

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.plan import Parameters
from kms.ceremonies.ports import Entry
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.newtoken import token_of
from kms.domain.ids import parse_space
from kms.domain.models import Space
from kms.domain.people import Part
from kms.errors import IntegrityFailure, StateNotAllowed
from kms.statements.sealing import BOX, marker

NAME = "unseal"


class Unsealed(Parameters, frozen=True):
    """The space; empty for the whole box."""

    space: str


def _check(brief: Brief) -> None:
    space = brief.parameters_as(Unsealed).space
    if space != BOX:
        token_of(brief, parse_space(space))


def _script(brief: Brief) -> Script:
    space = brief.parameters_as(Unsealed).space
    return _box() if space == BOX else _space(space)


def _space(space: str) -> Script:
    values = {"space": space}
    begin = Step(
        id="unseal/begin",
        who=Part.ADMINISTRATOR,
        text="The administrator confirms that why the space {space} was sealed is over: its keys "
        "can be used again.",
        values=values,
        check=partial(_refuse, space),
        confirm=space,
        act=partial(_found, space),
    )
    record = Step(
        id="unseal/record",
        who=Part.ADMINISTRATOR,
        text="The store and the log say that the space {space} is unsealed. The site's token is "
        "opened with its PIN for that.",
        values=values,
        act=partial(_record, space),
        verify=partial(_check_record, space),
    )
    text = "The space {space} is unsealed."
    return (Section("unseal", text, (begin, record, _marker(space)), values, forward=True),)


def _box() -> Script:
    begin = Step(
        id="unseal/begin",
        who=Part.ADMINISTRATOR,
        text="The administrator confirms that why the whole box was sealed is over: its keys can "
        "be used again. Spaces that were sealed by themselves stay so.",
        check=partial(_refuse, BOX),
        confirm=NAME,
        act=partial(_found, BOX),
    )
    record = Step(
        id="unseal/record",
        who=Part.ADMINISTRATOR,
        text="The log says that the whole box is unsealed. The site's token, opened with its PIN, "
        "signs the head of the log at the end.",
        act=_record_box,
    )
    text = "The whole box is unsealed."
    return (Section("unseal", text, (begin, record, _marker(BOX)), forward=True),)


def _marker(space: str) -> Step:
    return Step(
        id="unseal/marker",
        who=Part.ADMINISTRATOR,
        text="The program removes the marker {marker} from the state directory. The service goes "
        "on when it is started and given its PINs.",
        values={"marker": marker(space)},
        act=partial(_remove, space),
        verify=partial(_check_gone, space),
    )


def _refuse(space: str, room: Room) -> None:
    if not _sealed(space, room):
        raise StateNotAllowed(f"the space {space} is not sealed" if space else "nothing is sealed")
    _check_told(space, room)


def _found(space: str, room: Room) -> Facts:
    return {"marker": marker(space) in room.files.names(), "space": space}


def _sealed(space: str, room: Room) -> bool:
    marked = marker(space) in room.files.names()
    if space == BOX:
        return marked or room.records.site_sealed()
    return marked or any(one.sealed for one in _records(space, room))


def _records(space: str, room: Room) -> list[Space]:
    return [one for one in room.records.spaces() if one.space == space]


def _check_told(space: str, room: Room) -> None:
    """Raise IntegrityFailure if more than the seal was changed: the token cannot see that."""
    for one in _records(space, room):
        room.records.check_space(one)


def _record(space: str, room: Room) -> Facts:
    _check_told(space, room)
    told = {"ceremony": room.brief.plan.file.id}
    records = tuple(replace(one, sealed=0) for one in _records(space, room))
    entry = Entry("space.unseal", space, f"spaces/{space}", told, records)
    return {"leaf": room.records.write(entry)}


def _check_record(space: str, room: Room, _facts: Facts) -> None:
    if any(one.sealed for one in _records(space, room)):
        raise IntegrityFailure(f"the row of the space {space} says that it is sealed")


def _record_box(room: Room) -> Facts:
    told = {"ceremony": room.brief.plan.file.id}
    return {"leaf": room.records.write(Entry("site.unseal", "", "site", told))}


def _remove(space: str, room: Room) -> Facts:
    room.files.remove(marker(space))
    return {"marker": marker(space)}


def _check_gone(space: str, room: Room, _facts: Facts) -> None:
    if marker(space) in room.files.names():
        raise IntegrityFailure(f"the marker {marker(space)} is still there")


CEREMONY = Ceremony(
    name=NAME,
    title="Unseal a space or the box",
    purpose="Takes back an emergency seal: the space, or the whole box, may go into service again.",
    needs=Needs.SECURITY,
    parameters=Unsealed,
    script=_script,
    example=example(NAME),
    check=_check,
)
