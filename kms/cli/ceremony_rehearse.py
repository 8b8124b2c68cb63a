"""ceremony rehearse: the very same plan on a throwaway token. Touches nothing of the site."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.ceremony_plan import PlanArgument, StateOption, check_people
from kms.cli.register import register
from kms.cli.session import Session
from kms.errors import InvalidInput
from kms.i18n import _

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kms.ceremonies.plan import Plan
    from kms.ceremonies.record.transcript import Transcript
    from kms.cli.premises import Premises
    from kms.domain.models import ReleaseClass

ProfileOption = Annotated[
    Path | None, typer.Option(help="Profile of SoftHSM, else the shipped one.")
]
SpaceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--space",
        help="Release class of a space of the site, such as treasury=trusted, where its "
        "ceremonies' records do not tell it; may be given several times.",
    ),
]


def add(app: typer.Typer) -> None:
    """Add the command."""
    register(app, "rehearse", rehearse)


def rehearse(
    session: Session,
    plan: PlanArgument,
    out: Annotated[
        Path | None, typer.Option(help="New file for the rehearsal's own signed transcript.")
    ] = None,
    space: SpaceOption = None,
    profile: ProfileOption = None,
    state: StateOption = None,
) -> None:
    """Rehearse a plan: the very same file, on a throwaway SoftHSM in memory.

    A stand-in of the site is made for it, with the same people, groups and spaces, whose keys,
    credentials and shares are made up and deleted at the end. Every step is done and verified; what
    is printed is what the transcript of the real ceremony has to say, step by step. The stand-in
    has no meetings and no disks, and a log of its own: re-escrowing has nothing to do, and recover,
    recover-disk and restore-site, whose plans name those, cannot be rehearsed.
    """
    from kms.ceremonies.record.durable import write_new  # noqa: PLC0415 -- heavy
    from kms.ceremonies.record.transcript import read_unverified  # noqa: PLC0415 -- heavy
    from kms.cli import premises  # noqa: PLC0415 -- heavy
    from kms.practice import rehearsal  # noqa: PLC0415 -- heavy
    from kms.practice.site import PROFILE  # noqa: PLC0415 -- heavy

    session.output.banner(rehearsal.BANNER)
    read = premises.read_plan(plan)
    place = premises.site_premises(session, state)
    check_people(premises.kind_of(read.file.ceremony), place.brief(read))
    original = rehearsal.Original(
        place.binding, place.register, _spaces(place, read, space or []), place.generation
    )
    session.output.note(_("REHEARSAL: nothing of this touches the site."))
    envelope = rehearsal.rehearse(read, original, profile or PROFILE)
    if out is not None:
        write_new(out.absolute(), envelope)
    _show(session, read_unverified(envelope), read)
    session.output.banner(rehearsal.BANNER)


def _spaces(place: "Premises", plan: "Plan", told: list[str]) -> "Mapping[str, ReleaseClass]":
    """Return the site's spaces with their release classes, as far as records or options tell; what
    nobody tells is what fits the plan.
    """
    from kms.ceremonies.steps.trusted import TrustedKind, class_of  # noqa: PLC0415 -- heavy
    from kms.cli.records_view import release_classes  # noqa: PLC0415 -- heavy
    from kms.domain.models import ReleaseClass  # noqa: PLC0415 -- heavy

    known = release_classes(place.state)
    for one in told:
        name, equals, release_class = one.partition("=")
        if not equals or release_class not in set(ReleaseClass):
            raise InvalidInput(f"--space {one} does not say NAME=trusted or NAME=roster")
        known[name] = ReleaseClass(release_class)
    kind = plan.file.parameters.get("kind", TrustedKind.SERVER)
    return {name: known.get(name, class_of(TrustedKind(kind))) for name in place.spaces}


def _show(session: Session, transcript: "Transcript", plan: "Plan") -> None:
    """Print the outline of the transcript, which the real one has to repeat."""
    from kms.cli.desk import STEPS  # noqa: PLC0415 -- heavy

    steps = _rows(transcript, plan)
    document = {
        "rehearsal": True,
        "id": transcript.ceremony,
        "kind": transcript.kind,
        "plan_sha256": plan.sha256.hex(),
        "result": transcript.result.value,
        "steps": steps,
    }
    session.output.table(document, steps, STEPS)


def _rows(transcript: "Transcript", plan: "Plan") -> list[dict[str, Any]]:
    from kms.ceremonies.catalogue import ceremony_of, read_brief  # noqa: PLC0415 -- heavy
    from kms.ceremonies.paper.papers import register_in  # noqa: PLC0415 -- heavy
    from kms.ceremonies.record.entries import StepDone  # noqa: PLC0415 -- heavy
    from kms.cli.desk import rows  # noqa: PLC0415 -- heavy

    brief = read_brief(plan, register_in(transcript), transcript.register, transcript.binding)
    done = {entry.step for entry in transcript.entries if isinstance(entry, StepDone)}
    script = ceremony_of(plan).script(brief)
    return [row for section in script for row in rows(section) if row["step"] in done]
