"""initialise-site: the first ceremony. Founds the register of people, makes the officers' secret,
the site's token and the first escrow generation, and issues register and key list.

The officers' secret is shared out and proved before any token is initialised with it: whatever is
interrupted afterwards, the officers can erase what was left.
"""

import os

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.people.persons import NewGroup, NewPerson, found_register
from kms.ceremonies.plan import Parameters, Plan
from kms.ceremonies.ports import SharedSecret, SigningUse
from kms.ceremonies.room import Brief, Facts, Room, SiteBinding
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.anchors import escrow_made, own_key
from kms.ceremonies.steps.distribution import distribute
from kms.ceremonies.steps.escrow import make_escrow
from kms.ceremonies.steps.generations import first, own_book, share_books
from kms.ceremonies.steps.holding import SO_SECRET, so_shares
from kms.ceremonies.steps.issuing import issue_key_list, issue_register, log_generation
from kms.ceremonies.steps.newtoken import (
    finish_token,
    make_row_mac,
    make_signing_key,
    make_token,
)
from kms.ceremonies.steps.state import FIRST, current_register, listed, write_site_root
from kms.domain.people import Part, Register
from kms.errors import AlreadyExists, InvalidInput, NotFound
from kms.statements import archive
from kms.statements.keylist import KeyUse

NAME = "initialise-site"
SIGNED_REGISTER = "register"
"""The fact that has the first register, signed: a transcript proves by it whose root it names."""
SO_SECRET_BYTES = 16
_ONCE = (archive.SITE_ROOT, archive.REGISTER, archive.KEY_LIST, archive.ESCROW_RECORD)


class FoundSite(Parameters, frozen=True):
    """Groups of officers, the security officers first, and everybody with their card."""

    groups: tuple[NewGroup, ...]
    people: tuple[NewPerson, ...]


def founded(plan: Plan, parameters: FoundSite, site: SiteBinding, issued: int = 0) -> Register:
    """Return the register that the plan founds; without ``issued`` as of the plan's expiry."""
    return found_register(
        site.site,
        plan.file.id,
        parameters.groups,
        parameters.people,
        issued or int(plan.file.expires.timestamp()),
        software_allowed=site.software_credentials,
    )


def _check(brief: Brief) -> None:
    for person in brief.register.people:
        if person.part is Part.OFFICER and person.name not in brief.plan.file.officers:
            raise InvalidInput(
                f"the plan's officers lack {person.name}: every officer gets a share, and so "
                "takes part"
            )


def _script(brief: Brief) -> Script:
    return (_share_out(brief), _make_site(brief), _make_escrow(brief), _issue(brief))


def _share_out(brief: Brief) -> Section:
    return Section(
        id="officers",
        text="The security officers get the SO secret, from which the SO PINs of all tokens come.",
        steps=(
            Step(
                id="officers/so-secret",
                who=Part.ADMINISTRATOR,
                text="The program draws the SO secret: 128 random bits of the operating system.",
                check=_refuse_known_site,
                act=_draw_secret,
            ),
            *distribute(brief, brief.register, "officers", SharedSecret.SO, first),
        ),
    )


def _make_site(brief: Brief) -> Section:
    label = brief.site.token()
    return Section(
        id="site",
        text="The site's own token is made, with the site root and the key that signs the log.",
        steps=(
            *so_shares(brief, "site", book=own_book(SharedSecret.SO)),
            *make_token("site", label, check=_refuse_foreign_token),
            make_row_mac("site", label),
            make_signing_key("site", label, SigningUse.SITE_ROOT),
            make_signing_key("site", label, SigningUse.CHECKPOINT),
            *finish_token("site", label),
        ),
    )


def _make_escrow(brief: Brief) -> Section:
    return Section(
        id="escrow",
        text="The first escrow key and disk escrow key are made, the key over both is shared among "
        "all groups, and the site's token trusts them.",
        steps=make_escrow(
            brief, brief.register, "escrow", first, so_book=own_book(SharedSecret.SO)
        ),
    )


def _issue(brief: Brief) -> Section:
    return Section(
        id="issue",
        text="The site root signs the register of people and the key list: the site is founded.",
        forward=True,
        steps=(
            Step(
                id="issue/site-root",
                who=Part.ADMINISTRATOR,
                text="The program writes down the site root's public half, which clients pin.",
                confirm=brief.site.site,
                act=_write_root,
            ),
            Step(
                id="issue/key-list",
                who=Part.ADMINISTRATOR,
                text="The site root signs the first key list.",
                act=_issue_key_list,
            ),
            Step(
                id="issue/escrow",
                who=Part.ADMINISTRATOR,
                text="The log tells of the first escrow generation.",
                act=_log_escrow,
            ),
            Step(
                id="issue/register",
                who=Part.ADMINISTRATOR,
                text="The site root signs the first register of people.",
                act=_issue_register,
            ),
        ),
    )


def _refuse_known_site(room: Room) -> None:
    names = room.files.names()
    if any(archive.newest(names, pattern) for pattern in _ONCE) or share_books(room.files):
        raise AlreadyExists(
            "a site was founded here already", hint="its officers change by replace-officer"
        )


def _refuse_foreign_token(room: Room) -> None:
    """Allow only a token that this ceremony itself left: its officers have shares then."""
    label = room.brief.site.token()
    if not room.tokens(label).exists():
        return
    try:
        own_book(SharedSecret.SO).find(room)
    except NotFound:
        raise AlreadyExists(
            f"there is a token {label} already, of which this site knows nothing",
            hint="empty it with the HSM's own tools, or name another in the configuration",
        ) from None


def _draw_secret(room: Room) -> Facts:
    room.memory[SO_SECRET] = os.urandom(SO_SECRET_BYTES)
    return {"bytes": SO_SECRET_BYTES}


def _write_root(room: Room) -> Facts:
    spki = own_key(room, "site", SigningUse.SITE_ROOT, room.brief.site.token())
    return write_site_root(room.files, FIRST, spki)


def _issue_register(room: Room) -> Facts:
    brief = room.brief
    parameters = brief.parameters_as(FoundSite)
    facts = issue_register(room, founded(brief.plan, parameters, brief.site, room.now()))
    return {**facts, SIGNED_REGISTER: current_register(room.files)[1]}


def _issue_key_list(room: Room) -> Facts:
    spki = own_key(room, "site", SigningUse.CHECKPOINT, room.brief.site.token())
    return issue_key_list(room, [listed(KeyUse.CHECKPOINT, spki, room.now())])


def _log_escrow(room: Room) -> Facts:
    return log_generation(room, escrow_made(room, FIRST))


CEREMONY = Ceremony(
    name=NAME,
    title="Initialise the site",
    purpose="Founds a site: its register of people, the officers' secret, its own token with the "
    "site root, the first escrow key, and the first key list.",
    needs=Needs.EVERY_GROUP,
    parameters=FoundSite,
    script=_script,
    example=example(NAME),
    check=_check,
    makes_root="issue/site-root",
)
