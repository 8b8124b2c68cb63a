"""new-generation: replaces the escrow key, and with distrust or a change of officers whatever the
officers share. Every key is wrapped to the new generation before anything old is destroyed. Disks'
recovery keys cannot be: the appliance brings new ones onto the disks afterwards.
"""

from enum import StrEnum

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.people.persons import NewPerson, change_register
from kms.ceremonies.plan import Parameters
from kms.ceremonies.ports import SharedSecret
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.disks import count_disks
from kms.ceremonies.steps.escrow import make_escrow
from kms.ceremonies.steps.generations import next_generation
from kms.ceremonies.steps.holding import quorum, so_shares
from kms.ceremonies.steps.issuing import issue_register
from kms.ceremonies.steps.officers import change_pins, draw_so_secret
from kms.ceremonies.steps.replacing import (
    announce,
    certify,
    count_cards,
    destroy_blob,
    distrust_old,
    forget_old,
    prove_coverage,
    rewrap_keys,
    trust_new,
)
from kms.domain.people import Part, Register
from kms.errors import InvalidInput

NAME = "new-generation"


class Reason(StrEnum):
    """Why the escrow key is replaced."""

    SCHEDULE = "schedule"
    DISTRUST = "distrust"
    RECOVERY = "recovery"


class NewGeneration(Parameters, frozen=True):
    """Why; and who goes and who comes, if anybody."""

    reason: Reason
    remove: tuple[str, ...] = ()
    add: tuple[NewPerson, ...] = ()

    @property
    def renews_officers(self) -> bool:
        """Whether the SO secret changes too: whoever held a share of the old one knows it."""
        return self.reason is Reason.DISTRUST or bool(self.remove or self.add)


def changed(brief: Brief, issued: int = 0) -> Register:
    """Return the register after the ceremony; without ``issued`` as of the plan's expiry."""
    wanted = brief.parameters_as(NewGeneration)
    if not wanted.renews_officers:
        return brief.register
    return change_register(
        brief.register,
        brief.register_token,
        brief.plan.file.id,
        wanted.remove,
        wanted.add,
        issued or int(brief.plan.file.expires.timestamp()),
        software_allowed=brief.site.software_credentials,
    )


def _check(brief: Brief) -> None:
    wanted = brief.parameters_as(NewGeneration)
    going = set(wanted.remove).intersection(brief.plan.file.officers)
    if going:
        raise InvalidInput(f"{min(going)} is to be removed and so takes no part")
    quorum(brief, brief.register, SharedSecret.SO)
    quorum(brief, changed(brief), SharedSecret.SO)


def _script(brief: Brief) -> Script:
    register = changed(brief)
    making = Section(
        id="escrow",
        text="A new escrow key and disk escrow key are made, the key over both is shared among all "
        "groups, and the site's token trusts them.",
        steps=make_escrow(brief, register, "escrow", next_generation(SharedSecret.ESCROW)),
    )
    if not brief.parameters_as(NewGeneration).renews_officers:
        return (making, _replace(brief))
    return (
        making,
        _share_out(brief, register),
        _replace(brief),
        change_pins(brief, register, "pins"),
    )


def _share_out(brief: Brief, register: Register) -> Section:
    return Section(
        id="officers",
        text="The security officers get a new SO secret, from which new SO PINs come.",
        steps=draw_so_secret(
            brief, register, "officers", next_generation(SharedSecret.SO), brief.site.token()
        ),
    )


def _replace(brief: Brief) -> Section:
    spaces = sorted((space, label) for space, label in brief.site.tokens.items() if space)
    renews = brief.parameters_as(NewGeneration).renews_officers
    return Section(
        id="replace",
        text="Every key is wrapped to the new escrow key, and the old one is destroyed. From here "
        "on the ceremony can only be brought to its end.",
        forward=True,
        steps=(
            announce("replace", brief.site.site),
            *so_shares(brief, "replace"),
            *((_register_step(),) if renews else ()),
            *(trust_new("replace", space, label) for space, label in spaces),
            *(rewrap_keys("replace", space, label) for space, label in spaces),
            prove_coverage("replace"),
            count_disks("replace"),
            *(distrust_old("replace", space, label) for space, label in spaces),
            forget_old("replace", brief.site.token()),
            destroy_blob("replace"),
            count_cards("replace"),
            certify("replace"),
        ),
    )


def _register_step() -> Step:
    return Step(
        id="replace/register",
        who=Part.ADMINISTRATOR,
        text="The site root signs the new register of people.",
        act=_issue_register,
    )


def _issue_register(room: Room) -> Facts:
    return issue_register(room, changed(room.brief, room.now()))


CEREMONY = Ceremony(
    name=NAME,
    title="Replace the escrow key",
    purpose="Makes a new escrow generation with new shares, wraps every key to it, proves that "
    "none is left out, and destroys the old one. Disks get new recovery keys from the appliance "
    "afterwards. With distrust, or when officers change, the officers' SO secret and all SO PINs "
    "are replaced too.",
    needs=Needs.EVERY_GROUP,
    parameters=NewGeneration,
    script=_script,
    example=example(NAME),
    check=_check,
)
