"""Every kind of ceremony with a plan, and the site that it is held at, to be killed anywhere."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kms.practice import PracticeSite
from tests.scenarios.held import write_plan
from tests.scenarios.restoration import restore_parameters
from tests.scenarios.rooms import Room
from tests.scenarios.site_ceremonies import plan_of

BANKING, TREASURY = "investment-banking", "treasury"
LENDING = '\n[[hsm.tokens]]\nlabel = "space-lending"\nspace = "lending"\n'
"""A token that the ceremonies' configuration names and nobody has made yet."""


class Start(StrEnum):
    """The site that a ceremony begins with."""

    MEETINGS = "with meetings"
    UNFOUNDED = "nothing but people"
    BURNED = "every token lost"


PlanWriter = Callable[[PracticeSite, list[Room]], Path]


def _example(kind: str, *changes: tuple[str, str]) -> PlanWriter:
    """The kind's example plan, for the site's meeting if it names one."""

    def write(site: PracticeSite, rooms: list[Room]) -> Path:
        meeting = next(room.meeting for room in rooms if room.space == TREASURY)
        plan = site.directory / f"{kind}.toml"
        text = plan_of(kind, *changes)
        plan.write_text(re.sub(r"(?m)^meeting = .*$", f'meeting = "{meeting}"', text))
        return plan

    return write


def _founding(site: PracticeSite, _rooms: list[Room]) -> Path:
    """The plan that founds a practice site."""
    return next(site.plans.glob("*-initialise-site.toml"))


def _restoring(site: PracticeSite, _rooms: list[Room]) -> Path:
    """A plan that brings back everything."""
    return write_plan(site, "restore-site", "restore-site", restore_parameters(site))


@dataclass(frozen=True)
class Case:
    """A kind of ceremony: its plan, the site that it begins with, what has to be held before, and
    in which spaces meetings go on. The operator takes a token that is ``erased`` out of the
    service's configuration.
    """

    kind: str
    plan: PlanWriter
    start: Start = Start.MEETINGS
    before: tuple[str, ...] = ()
    meetings: tuple[str, ...] = (BANKING, TREASURY)
    erased: str = ""

    @property
    def lives(self) -> bool:
        """Whether the service can start before the ceremony is over."""
        return self.start is Start.MEETINGS


CASES = {
    case.kind: case
    for case in (
        Case("initialise-site", _founding, Start.UNFOUNDED),
        Case("create-space", _example("create-space", ('space = "treasury"', 'space = "lending"'))),
        Case("register-recipient", _example("register-recipient")),
        Case("revoke-recipient", _example("revoke-recipient"), before=("register-recipient",)),
        Case("rotate-vault", _example("rotate-vault")),
        Case("drill", _example("drill")),
        Case("replace-officer", _example("replace-officer")),
        Case("new-generation", _example("new-generation")),
        Case("retire-space", _example("retire-space"), meetings=(BANKING,)),
        Case(
            "destroy-space",
            _example("destroy-space"),
            before=("close", "retire-space"),
            meetings=(BANKING,),
            erased=TREASURY,
        ),
        Case("recover", _example("recover")),
        Case("recover-disk", _example("recover-disk"), before=("enrol",)),
        Case("restore-site", _restoring, Start.BURNED),
        Case("unseal", _example("unseal"), before=("seal",), meetings=(BANKING,)),
    )
}
