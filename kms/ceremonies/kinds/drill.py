"""drill: officers prove that their shares still read, combine, and open the escrow keys.

Every quorum of the shares read back is combined, so that each of them is proved, and not only as
many as are needed.
"""

from functools import partial

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.people.persons import drill_register
from kms.ceremonies.plan import Parameters
from kms.ceremonies.ports import EscrowPair, SharedSecret
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.generations import BookFinder, read_escrow, read_escrow_blobs
from kms.ceremonies.steps.holding import SWK, combine_given, quorum, share_groups, share_steps
from kms.ceremonies.steps.issuing import issue_register, log
from kms.domain.people import Part, Person
from kms.errors import InvalidInput

NAME = "drill"


class Drilled(Parameters, frozen=True):
    """The escrow generation whose shares are read back, with those of the SO secret in force."""

    generation: int


def _check(brief: Brief) -> None:
    if brief.parameters_as(Drilled).generation < 1:
        raise InvalidInput("generations count from 1")
    for secret in SharedSecret:
        quorum(brief, brief.register, secret)


def _script(brief: Brief) -> Script:
    generation = brief.parameters_as(Drilled).generation
    return (_read_shares(brief, generation), _record(generation))


def _read_shares(brief: Brief, generation: int) -> Section:
    so = BookFinder(SharedSecret.SO)
    escrow = BookFinder(SharedSecret.ESCROW, generation)
    label = brief.site.token()
    return Section(
        id="shares",
        text="Every officer reads their shares back, and each share is proved.",
        steps=(
            *share_steps("shares", SharedSecret.SO, _holders(brief, SharedSecret.SO), so),
            *share_steps(
                "shares", SharedSecret.ESCROW, _holders(brief, SharedSecret.ESCROW), escrow
            ),
            _combine_step("so-combine", so),
            _combine_step("escrow-combine", escrow),
            Step(
                id="shares/escrow-open",
                who=Part.ADMINISTRATOR,
                text="The token {token} opens the private half of the escrow key, and a key that "
                "was wrapped to its public half with it.",
                values={"token": label},
                act=partial(_open, label, generation),
            ),
            Step(
                id="shares/disk-open",
                who=Part.ADMINISTRATOR,
                text="The token {token} opens the private half of the disk escrow key, and "
                "decrypts with it what was encrypted to its public half.",
                values={"token": label},
                act=partial(_open_disk_key, label, generation),
            ),
        ),
    )


def _combine_step(name: str, book: BookFinder) -> Step:
    return Step(
        id=f"shares/{name}",
        who=Part.ADMINISTRATOR,
        text="The program combines every quorum of the SO shares and compares check values."
        if book.secret is SharedSecret.SO
        else "The program combines every quorum of the escrow shares and compares check values.",
        act=partial(_combine, book),
    )


def _record(generation: int) -> Section:
    return Section(
        id="record",
        text="Register and log tell of the drill.",
        forward=True,
        steps=(
            Step(
                id="record/log",
                who=Part.ADMINISTRATOR,
                text="The log tells which officers took part.",
                confirm=NAME,
                act=partial(_log, generation),
            ),
            Step(
                id="record/register",
                who=Part.ADMINISTRATOR,
                text="The site root signs a register of people in which their next drill is due "
                "in 180 days.",
                act=_register,
            ),
        ),
    )


def _holders(brief: Brief, secret: SharedSecret) -> tuple[Person, ...]:
    groups = {group.name for group in share_groups(brief.register, secret)}
    officers = (brief.register.person(name) for name in brief.plan.file.officers)
    return tuple(person for person in officers if person.group in groups)


def _combine(finder: BookFinder, room: Room) -> Facts:
    return combine_given(room, finder.find(room))


def _open(label: str, generation: int, room: Room) -> Facts:
    blob = read_escrow_blobs(room.files, generation).key
    pair = EscrowPair(read_escrow(room.files, generation).key, blob)
    room.tokens(label).prove_escrow(room.memory[SWK], pair)
    return {"generation": generation}


def _open_disk_key(label: str, generation: int, room: Room) -> Facts:
    blob = read_escrow_blobs(room.files, generation).disk_key
    pair = EscrowPair(read_escrow(room.files, generation).disk_key, blob)
    room.tokens(label).prove_disk_escrow(room.memory[SWK], pair)
    return {"generation": generation}


def _log(generation: int, room: Room) -> Facts:
    officers = sorted(room.brief.plan.file.officers)
    log(room, "escrow.drill", f"escrow/{generation}", generation=generation, officers=officers)
    return {"officers": officers}


def _register(room: Room) -> Facts:
    brief = room.brief
    file = brief.plan.file
    register = drill_register(
        brief.register, brief.register_token, file.id, file.officers, room.now()
    )
    return issue_register(room, register)


CEREMONY = Ceremony(
    name=NAME,
    title="Drill",
    purpose="Proves that the officers' shares still read and combine and that the escrow keys of "
    "meetings and of disks open, without opening the key of any of them.",
    needs=Needs.EVERY_GROUP,
    parameters=Drilled,
    script=_script,
    example=example(NAME),
    check=_check,
)
