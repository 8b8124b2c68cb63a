"""The register of people: parts, groups, terms, drills, whose shares open what; and ceremonies."""

from dataclasses import dataclass

from starlette.responses import Response

from kms.domain.people import Group, Part, Person
from kms.usecases.approvals.registers import InForce
from kms.usecases.people import people
from kms.web.ceremonies import list_ceremonies
from kms.web.links import href
from kms.web.roles import PEOPLE
from kms.web.views import ceremonies
from kms.web.visit import PAGE_ROWS, Page, Visit


@dataclass(frozen=True, slots=True)
class Holders:
    """A group of officers, and those of them who hold a share, by share."""

    group: Group
    people: tuple[Person, ...]


async def _people(visit: Visit) -> Response:
    found = await people(visit.services, visit.call("people.read"))
    after = visit.number("after", 0)
    held, more = await list_ceremonies(visit, after, PAGE_ROWS)
    return visit.show(
        "people.html",
        register=found.register,
        sha256=found.sha256,
        groups=tuple(_groups(found)),
        standing={one.name: one.standing(visit.services.seconds()) for one in _everybody(found)},
        present=[one for one in _everybody(found) if not one.removed],
        former=[one for one in _everybody(found) if one.removed],
        officer=Part.OFFICER,
        ceremonies=held,
        next=href("/people", after=after + PAGE_ROWS) if more else "",
        first="/people" if after else "",
    )


def _everybody(found: InForce) -> tuple[Person, ...]:
    return found.register.people


def _groups(found: InForce) -> list[Holders]:
    register = found.register
    return [Holders(group, register.holders(group.name)) for group in register.groups]


PAGES = (Page("people", "/people", PEOPLE, _people), *ceremonies.PAGES)
