"""destroy-space: the end of a retired space. Every envelope goes, then the token is erased: no key
of the space can be had again, by anybody. Refuses while a legal hold stands, keys are retained or a
disk is not erased.
"""

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import groupby

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.plan import Parameters
from kms.ceremonies.ports import Entry
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.certificate import Destroyed, write_certificate
from kms.ceremonies.steps.holding import so_shares
from kms.ceremonies.steps.newtoken import token_of
from kms.ceremonies.steps.replacing import vault_of
from kms.ceremonies.steps.rewrapping import read_readers, site_trust
from kms.domain.ids import RecipientId, SpaceName, parse_space
from kms.domain.models import Epoch, Meeting, Space
from kms.domain.people import Part
from kms.domain.states import KeyState, MeetingState
from kms.errors import IntegrityFailure, NotFound, OnHold, Retained, StateNotAllowed

NAME = "destroy-space"
BACKUPS = (
    "Backups made before hold envelopes of this space. The vault key that opened them is gone "
    "with the token. The escrow key still opens the escrow envelopes among them: backups that must "
    "not be opened any more are destroyed, or the escrow generation is replaced."
)


class EndedSpace(Parameters, frozen=True):
    """The retired space."""

    space: str


def _check(brief: Brief) -> None:
    token_of(brief, parse_space(brief.parameters_as(EndedSpace).space))


def _script(brief: Brief) -> Script:
    name = SpaceName(brief.parameters_as(EndedSpace).space)
    label = token_of(brief, name)
    values = {"space": name, "token": label}
    return (
        Section(
            id="look",
            text="It is shown what will be destroyed.",
            steps=(
                Step(
                    id="look/space",
                    who=Part.ADMINISTRATOR,
                    text="The program counts the meetings and keys of the space {space}, and reads "
                    "all that is on its token {token}.",
                    values=values,
                    check=partial(_check_retired, name),
                    act=partial(_look, name, label),
                ),
            ),
        ),
        Section(
            id="destroy",
            text="The space {space} is destroyed. This cannot be undone.",
            values=values,
            forward=True,
            steps=(
                Step(
                    id="destroy/keys",
                    who=Part.ADMINISTRATOR,
                    text="Every envelope of every meeting of {space} is deleted, vault's and "
                    "escrow's too.",
                    values=values,
                    confirm=name,
                    act=partial(_destroy_keys, name, label),
                ),
                *so_shares(brief, "destroy"),
                Step(
                    id="destroy/token",
                    who=Part.ADMINISTRATOR,
                    text="The token {token} is erased with everything on it.",
                    values=values,
                    act=partial(_erase, label),
                ),
                Step(
                    id="destroy/certificate",
                    who=Part.ADMINISTRATOR,
                    text="The destruction certificate is written, and log and store tell of the "
                    "destruction. Before the service starts again, the token {token} is taken out "
                    "of its configuration and its PIN document.",
                    values={"token": label},
                    act=partial(_certify, name, label),
                ),
            ),
        ),
    )


def _space(room: Room, name: SpaceName) -> Space:
    for space in room.records.spaces():
        if space.space == name:
            return space
    raise NotFound(f"there is no space {name}")


def _check_retired(name: SpaceName, room: Room) -> None:
    space = _space(room, name)
    if space.destroyed:
        raise StateNotAllowed(f"the space {name} is destroyed already")
    if not space.retired:
        raise StateNotAllowed(
            f"the space {name} is in use", hint="hold the ceremony retire-space first"
        )
    for meeting in room.records.meetings(name):
        if meeting.state is MeetingState.OPEN:
            raise StateNotAllowed(
                f"the meeting {meeting.meeting} is open", hint="end it, then begin again"
            )
    _check_may_go(name, room)


def _check_may_go(name: SpaceName, room: Room) -> None:
    """Raise OnHold while a legal hold of the space stands, Retained while keys have to be kept,
    StateNotAllowed while it has a disk whose keys would go with the token.
    """
    for hold in room.records.holds(name):
        if not hold.lifted:
            raise OnHold(
                f"the legal hold {hold.hold} forbids it: {hold.reason}",
                hint="a hold is lifted by an approved request",
            )
    _check_disks(name, room)
    policy = room.records.policy(name)
    kept = policy.retention_seconds if policy else room.brief.site.retention_seconds
    last = max((one.closed for one in room.records.meetings(name)), default=0)
    if room.now() < last + kept:
        until = datetime.fromtimestamp(last + kept, UTC)
        raise Retained(
            f"keys of the space {name} are kept until {until:%Y-%m-%dT%H:%M:%SZ}",
            hint="hold the ceremony then, or have the policy changed by an approved request",
        )


def _check_disks(name: SpaceName, room: Room) -> None:
    left = [disk for disk in room.records.disks(name) if not disk.erased]
    if left:
        raise StateNotAllowed(
            f"the space {name} has {len(left)} encrypted disks that are not erased, {left[0].disk} "
            "among them: what lies on them would be lost with the token",
            hint="erase each disk by an approved request (disk.erase), then begin again",
        )


def _look(name: SpaceName, label: str, room: Room) -> Facts:
    vault = vault_of(room, _space(room, name))
    return {
        "epochs": sum(1 for _epoch in room.records.epochs(name)),
        "meetings": sum(1 for _meeting in room.records.meetings(name)),
        "objects": room.tokens(label).dump(),
        "vault": vault.recipient,
    }


def _destroy_keys(name: SpaceName, label: str, room: Room) -> Facts:
    """Destroy meeting after meeting; once the token is erased there is nothing left to do. The
    service may have run since an interruption, and a hold been placed.
    """
    if room.tokens(label).exists():
        _check_may_go(name, room)
        meetings = {one.meeting: one for one in room.records.meetings(name)}
        total = len(meetings)
        for meeting, epochs in groupby(room.records.epochs(name), lambda one: one.meeting):
            room.records.write(_gone(room, meetings.pop(meeting), list(epochs)))
            room.people.progress(name, total - len(meetings), total)
        for empty in meetings.values():
            room.records.write(_gone(room, empty, []))
    return {"meetings": room.facts["look/space"]["meetings"]}


def _gone(room: Room, meeting: Meeting, epochs: list[Epoch]) -> Entry:
    """Return the entry of a destroyed meeting, as the service writes it."""
    trust = site_trust(room)
    dropped = [
        (epoch.space, epoch.meeting, epoch.epoch, RecipientId(entry.id))
        for epoch in epochs
        for entry in read_readers(trust, epoch).entries
    ]
    place = f"spaces/{meeting.space}/meetings/{meeting.meeting}"
    told = {"epochs": len(epochs)}
    return Entry(
        "meeting.destroy",
        meeting.space,
        place,
        told,
        (
            replace(meeting, state=MeetingState.DESTROYED),
            *(epoch.moved(KeyState.DESTROYED) for epoch in epochs),
        ),
        dropped=tuple(dropped),
    )


def _erase(label: str, room: Room) -> Facts:
    token = room.tokens(label)
    token.erase()
    if token.exists() and token.labels():
        raise IntegrityFailure(f"the token {label} still has objects")
    return {"token": label}


def _certify(name: SpaceName, label: str, room: Room) -> Facts:
    looked = room.facts["look/space"]
    content = (
        Destroyed("vault key", looked["vault"], label, "token erased"),
        Destroyed("all other keys of the space", label, label, "token erased"),
        Destroyed("envelopes", str(looked["epochs"]), "database", "rows overwritten and deleted"),
    )
    facts = write_certificate(room, content, BACKUPS)
    space = _space(room, name)
    record = replace(space, destroyed=space.destroyed or room.now())
    told = {"ceremony": room.brief.plan.file.id, "certificate": facts["sha256"]}
    room.records.write(Entry("space.destroy", name, f"spaces/{name}", told, (record,)))
    return facts


CEREMONY = Ceremony(
    name=NAME,
    title="Destroy a space",
    purpose="Destroys every key of a retired space: all envelopes, and everything on its token.",
    needs=Needs.EVERY_GROUP,
    parameters=EndedSpace,
    script=_script,
    example=example(NAME),
    check=_check,
)
