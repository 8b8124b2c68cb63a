"""revoke-recipient: a space's token stops trusting somebody, at once and for good.

Keys that were minted for them before stay theirs; their meetings need a roster without them.
"""

from functools import partial

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.plan import Parameters
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.holding import so_shares
from kms.ceremonies.steps.keepers import end_record
from kms.ceremonies.steps.newtoken import dump_token, token_of
from kms.ceremonies.steps.trusted import (
    TrustedKind,
    anchor_entry,
    label_of,
    labels_of,
    live_recipients,
    live_space,
    record_kind,
)
from kms.domain.ids import parse_space
from kms.domain.models import Recipient
from kms.domain.people import Part
from kms.errors import NotFound

NAME = "revoke-recipient"


class Revoked(Parameters, frozen=True):
    """Who is revoked, by the name and kind that they were registered with."""

    space: str
    kind: TrustedKind
    name: str


def _check(brief: Brief) -> None:
    wanted = brief.parameters_as(Revoked)
    token_of(brief, parse_space(wanted.space))
    label_of(wanted.kind, wanted.name)


def _script(brief: Brief) -> Script:
    wanted = brief.parameters_as(Revoked)
    label = token_of(brief, wanted.space)
    values = {"kind": wanted.kind.value, "name": wanted.name, "space": wanted.space}
    begin = Step(
        id="revoke/begin",
        who=Part.ADMINISTRATOR,
        text="The administrator confirms that {kind} {name} is revoked. What it received before "
        "it keeps: its meetings need a roster without it, and what was shared with a partner stays "
        "with it.",
        values=values,
        check=partial(_refuse, wanted, label),
        confirm=wanted.name,
        act=partial(_name, wanted),
    )
    distrust = Step(
        id="revoke/token",
        who=Part.ADMINISTRATOR,
        text="The officers' session destroys the key of {kind} {name} on the token of the space "
        "{space}, which so stops trusting it.",
        values=values,
        act=partial(_distrust, wanted, label),
    )
    record = Step(
        id="revoke/record",
        who=Part.ADMINISTRATOR,
        text="The store and the log of the space {space} say that {kind} {name} is revoked.",
        values=values,
        act=partial(_record, wanted),
    )
    return (
        Section(
            id="revoke",
            text="The space {space} revokes {kind} {name}.",
            values=values,
            forward=True,
            steps=(
                begin,
                *so_shares(brief, "revoke"),
                distrust,
                record,
                dump_token("revoke", label),
            ),
        ),
    )


def _refuse(wanted: Revoked, label: str, room: Room) -> None:
    live_space(room, wanted.space)
    if not _labels(wanted, label, room):
        raise NotFound(f"the space trusts no {wanted.kind} {wanted.name}")


def _name(wanted: Revoked, room: Room) -> Facts:
    records = [record.recipient for record in _live(wanted, room)]
    return {"label": label_of(wanted.kind, wanted.name), "recipients": records}


def _live(wanted: Revoked, room: Room) -> tuple[Recipient, ...]:
    kind = record_kind(wanted.kind)
    return tuple(
        record
        for record in live_recipients(room, wanted.space)
        if (record.kind, record.name) == (kind, wanted.name)
    )


def _distrust(wanted: Revoked, label: str, room: Room) -> Facts:
    for name in _labels(wanted, label, room):
        room.tokens(label).revoke(name)
    return {"label": label_of(wanted.kind, wanted.name)}


def _labels(wanted: Revoked, label: str, room: Room) -> tuple[str, ...]:
    return labels_of(wanted.kind, wanted.name, room.tokens(label).labels())


def _record(wanted: Revoked, room: Room) -> Facts:
    if wanted.kind is TrustedKind.DEVICE_ANCHOR:
        entry = anchor_entry(room, "recipient.revoke", wanted.space, wanted.name)
        return {"leaves": [room.records.write(entry)]}
    return {"leaves": [end_record(room, record) for record in _live(wanted, room)]}


CEREMONY = Ceremony(
    name=NAME,
    title="Revoke a recipient",
    purpose="Ends a space's trust in a meeting server, a recorder, an authority that signs "
    "rosters, one that issues devices' certificates, or another space's vault.",
    needs=Needs.SECURITY,
    parameters=Revoked,
    script=_script,
    example=example(NAME),
    check=_check,
)
