"""retire-space: nothing is minted in a space any more, and its token trusts nobody but its keepers.

Vault and escrow stay: what was minted can be recovered until the space is destroyed.
"""

from dataclasses import replace
from functools import partial

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.plan import Parameters
from kms.ceremonies.ports import Entry
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.holding import so_shares
from kms.ceremonies.steps.keepers import end_record
from kms.ceremonies.steps.newtoken import dump_token, token_of
from kms.ceremonies.steps.trusted import TrustedKind, live_recipients, live_space
from kms.domain.ids import SpaceName, parse_space
from kms.domain.models import RecipientKind
from kms.domain.people import Part

NAME = "retire-space"


class Retired(Parameters, frozen=True):
    """The space."""

    space: str


def _check(brief: Brief) -> None:
    token_of(brief, parse_space(brief.parameters_as(Retired).space))


def _script(brief: Brief) -> Script:
    space = brief.parameters_as(Retired).space
    label = token_of(brief, space)
    values = {"space": space}
    begin = Step(
        id="retire/begin",
        who=Part.ADMINISTRATOR,
        text="The administrator confirms that the space {space} is retired: no meeting is opened "
        "in it and no key minted any more.",
        values=values,
        check=partial(_refuse, space),
        confirm=space,
        act=partial(_count, space),
    )
    distrust = Step(
        id="retire/token",
        who=Part.ADMINISTRATOR,
        text="The officers' session destroys the keys of servers, recorders, roster authorities, "
        "device anchors and partners on the token of the space {space}. Site root, vault, escrow "
        "key and disk escrow key stay.",
        values=values,
        act=partial(_distrust, label),
    )
    recipients = Step(
        id="retire/recipients",
        who=Part.ADMINISTRATOR,
        text="The store and the log say that the recipients of the space {space} are revoked.",
        values=values,
        act=partial(_end_recipients, space),
    )
    record = Step(
        id="retire/record",
        who=Part.ADMINISTRATOR,
        text="The store and the log say that the space {space} is retired.",
        values=values,
        act=partial(_record, space),
    )
    return (
        Section(
            id="retire",
            text="The space {space} is retired.",
            values=values,
            forward=True,
            steps=(
                begin,
                *so_shares(brief, "retire"),
                distrust,
                recipients,
                record,
                dump_token("retire", label),
            ),
        ),
    )


def _refuse(space: str, room: Room) -> None:
    live_space(room, space)


def _count(space: str, room: Room) -> Facts:
    return {"epochs": sum(1 for _epoch in room.records.epochs(SpaceName(space))), "space": space}


def _distrust(label: str, room: Room) -> Facts:
    token = room.tokens(label)
    kinds = {kind.value for kind in TrustedKind}
    gone = [name for name in token.labels() if name.partition("/")[0] in kinds]
    for name in gone:
        token.revoke(name)
    return {"labels": gone}


def _end_recipients(space: str, room: Room) -> Facts:
    keepers = (RecipientKind.VAULT, RecipientKind.ESCROW)
    ended = [one for one in live_recipients(room, space) if one.kind not in keepers]
    return {"leaves": [end_record(room, record) for record in ended]}


def _record(space: str, room: Room) -> Facts:
    told = {"ceremony": room.brief.plan.file.id}
    records = tuple(
        replace(one, retired=room.now())
        for one in room.records.spaces()
        if one.space == space and not one.retired
    )
    entry = Entry("space.retire", space, f"spaces/{space}", told, records)
    return {"leaf": room.records.write(entry)}


CEREMONY = Ceremony(
    name=NAME,
    title="Retire a space",
    purpose="Ends the use of a space: no meeting is opened in it any more. Its keys can be "
    "recovered until the space is destroyed.",
    needs=Needs.SECURITY,
    parameters=Retired,
    script=_script,
    example=example(NAME),
    check=_check,
)
