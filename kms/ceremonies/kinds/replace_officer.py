"""replace-officer: people leave and come. Both secrets are split anew, so that everybody in office
has a share, and a new register says who that is.

A new split does not revoke: shares of the old one still combine to the same secrets. Where there is
distrust the secrets themselves have to change, by new-generation.
"""

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.people.persons import NewGroup, NewPerson, change_register
from kms.ceremonies.plan import Parameters
from kms.ceremonies.ports import SharedSecret
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Ask, Script, Section, Step
from kms.ceremonies.steps.distribution import distribute
from kms.ceremonies.steps.generations import next_split
from kms.ceremonies.steps.holding import escrow_shares, so_shares
from kms.ceremonies.steps.issuing import issue_register
from kms.domain.people import Part, Register
from kms.domain.text import visible
from kms.errors import InvalidInput
from kms.i18n import _

NAME = "replace-officer"


class Changed(Parameters, frozen=True):
    """Who leaves, who comes, and new groups if thresholds change."""

    remove: tuple[str, ...] = ()
    add: tuple[NewPerson, ...] = ()
    groups: tuple[NewGroup, ...] = ()


def changed(brief: Brief, issued: int = 0) -> Register:
    """Return the register as it will be; without ``issued`` as of the plan's expiry."""
    wanted = brief.parameters_as(Changed)
    return change_register(
        brief.register,
        brief.register_token,
        brief.plan.file.id,
        wanted.remove,
        wanted.add,
        issued or int(brief.plan.file.expires.timestamp()),
        software_allowed=brief.site.software_credentials,
        groups=wanted.groups,
    )


def _check(brief: Brief) -> None:
    wanted = brief.parameters_as(Changed)
    if not (wanted.remove or wanted.add or wanted.groups):
        raise InvalidInput("the plan changes nobody")
    changed(brief)


def _script(brief: Brief) -> Script:
    after = changed(brief)
    return (_split_so(brief, after), _split_escrow(brief, after), _issue())


def _split_so(brief: Brief, after: Register) -> Section:
    return Section(
        id="so",
        text="The SO secret is split anew. Shares of the old split still combine: whoever keeps "
        "one keeps its power. Where there is distrust, hold new-generation instead.",
        steps=(
            *so_shares(brief, "so"),
            *distribute(brief, after, "so", SharedSecret.SO, next_split(SharedSecret.SO)),
        ),
    )


def _split_escrow(brief: Brief, after: Register) -> Section:
    return Section(
        id="escrow",
        text="The share wrapping key is split anew. Shares of the old split still combine: "
        "whoever keeps one keeps its power. Where there is distrust, hold new-generation instead.",
        steps=(
            *escrow_shares(brief, "escrow"),
            *distribute(
                brief, after, "escrow", SharedSecret.ESCROW, next_split(SharedSecret.ESCROW)
            ),
        ),
    )


def _issue() -> Section:
    return Section(
        id="issue",
        text="The new register of people is issued.",
        forward=True,
        steps=(
            Step(
                id="issue/destroy-old",
                who=Part.WITNESS,
                text="Everybody hands in the cards of the old split; the witness sees them "
                "destroyed and says how many there were and which are missing.",
                confirm=NAME,
                act=_destroy_old,
                asks=(
                    Ask(
                        Part.WITNESS,
                        "how many old cards were destroyed, and the places of those missing",
                    ),
                ),
            ),
            Step(
                id="issue/register",
                who=Part.ADMINISTRATOR,
                text="The site root signs the new register of people.",
                act=_register,
            ),
        ),
    )


def _destroy_old(room: Room) -> Facts:
    told = room.people.ask(
        room.brief.plan.file.witness, _("Cards destroyed, and which are missing:")
    )
    return {"told": visible(told.strip())}


def _register(room: Room) -> Facts:
    return issue_register(room, changed(room.brief, room.now()))


CEREMONY = Ceremony(
    name=NAME,
    title="Replace an officer",
    purpose="Changes who is in office: new people get shares of a new split of both secrets, and "
    "a new register says who holds them. It does not revoke old shares.",
    needs=Needs.EVERY_GROUP,
    parameters=Changed,
    script=_script,
    example=example(NAME),
    check=_check,
)
