"""ceremony plan, rehearse, handbook: everything before the day. Changes nothing at the site."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kms.cli.output import Column
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.errors import InvalidInput
from kms.i18n import _

if TYPE_CHECKING:
    from kms.ceremonies.ceremony import Ceremony
    from kms.ceremonies.room import Brief
    from kms.cli.premises import Premises

PlanArgument = Annotated[Path, typer.Argument(help="The plan file.")]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="Folder with the site's public files (site-root-N.pem, register-N.jws, "
        "key-list-N.jws, ceremonies), on a machine without its configuration.",
    ),
]
_SAVED = (Column("Saved as", "file"),)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    plans = group("Plans: what a ceremony will do, in one file that everybody signs.")
    register(plans, "new", new)
    register(plans, "check", check)
    register(plans, "show", show)
    app.add_typer(plans, name="plan")
    register(app, "handbook", handbook)


def new(
    session: Session,
    kind: Annotated[str, typer.Argument(help="Kind of ceremony, such as register-recipient.")],
    out: Annotated[
        Path | None,
        typer.Option(help="New file to write, else stdout; an existing one is refused."),
    ] = None,
    state: StateOption = None,
) -> None:
    """Write a plan with the site's id, people and spaces filled in; complete it before the check.

    Without a register of people, so before the first ceremony, people are those of the example.
    That of restore-site names log, spaces and recipients as the store has them, unchecked.
    """
    from kms.ceremonies.record.durable import write_new  # noqa: PLC0415 -- heavy
    from kms.cli import premises  # noqa: PLC0415 -- heavy

    ceremony = premises.kind_of(kind)
    known = _surveyed(session) if kind == "restore-site" and state is None else ""
    text = _filled_in(ceremony, premises.site_premises(session, state), known)
    if out is None:
        session.output.document({"plan": text}, text)
        return
    write_new(out.absolute(), text.encode())
    document = {"file": str(out), "kind": kind}
    session.output.record(document, document, _SAVED)
    hint = _("Complete it, then: conclave ceremony plan check {file}")
    session.output.note(hint.format(file=out))


def _surveyed(session: Session) -> str:
    """Return what a restoration names, as the site's store has it; nothing before it has any."""
    from kms.bootstrap.survey import restoration_parameters  # noqa: PLC0415 -- heavy

    settings = session.settings()
    return restoration_parameters(settings) if settings.paths.database.exists() else ""


def _filled_in(ceremony: "Ceremony", place: "Premises", parameters: str) -> str:
    import time  # noqa: PLC0415 -- for this command alone

    from kms.ceremonies.paper.blank import Known, blank_plan  # noqa: PLC0415 -- heavy
    from kms.ceremonies.record.folder import CEREMONIES  # noqa: PLC0415 -- heavy

    folder = place.state / CEREMONIES
    known = Known(
        site=place.binding.site,
        spaces=place.absent if ceremony.name == "create-space" else place.spaces,
        generation=place.generation,
        register=place.register,
        taken={one.name for one in folder.iterdir()} if folder.is_dir() else (),
        parameters=parameters,
    )
    return blank_plan(ceremony, known, int(time.time()))


def check(session: Session, plan: PlanArgument, state: StateOption = None) -> None:
    """Check a plan: form, parameters, people, quorum. Says who must sign, and what to compare.

    What only the tokens and the log can tell is checked by ceremony run --dry-run.
    """
    _show(session, plan, state, checked=True)
    session.output.note(_("The plan holds as far as it can be told without tokens and log."))


def show(session: Session, plan: PlanArgument, state: StateOption = None) -> None:
    """Show what a plan says, without checking its people."""
    _show(session, plan, state, checked=False)


def _show(session: Session, plan: Path, state: Path | None, *, checked: bool) -> None:
    from kms.cli import plan_view, premises  # noqa: PLC0415 -- heavy

    read = premises.read_plan(plan)
    ceremony = premises.kind_of(read.file.ceremony)
    place = premises.site_premises(session, state)
    register = place.brief(read).register if checked else place.register
    if checked:
        check_people(ceremony, place.brief(read))
    plan_view.show_plan(session.output, plan_view.plan_document(read, ceremony, register))


def check_people(ceremony: "Ceremony", brief: "Brief") -> None:
    """Raise InvalidInput unless the plan's people are in office and enough, and it can be held."""
    import time  # noqa: PLC0415 -- for this command alone

    from kms.ceremonies.engine import check_script  # noqa: PLC0415 -- heavy
    from kms.ceremonies.people.quorum import check_roster  # noqa: PLC0415 -- heavy

    now = int(time.time())
    if brief.plan.file.expires.timestamp() <= now:
        raise InvalidInput("the plan has expired", hint="make a plan with a later expiry")
    check_roster(brief.register, brief.plan.file, ceremony.needs, now)
    check_script(ceremony.script(brief))


def handbook(
    session: Session,
    plan: Annotated[
        Path | None, typer.Argument(help="The plan file, else the handbook of all kinds.")
    ] = None,
    pdf: Annotated[
        Path | None, typer.Option(help="New PDF file to write; without it Markdown is printed.")
    ] = None,
    state: StateOption = None,
) -> None:
    """Print the handbook: of one plan with every step and every input, or of all kinds."""
    if plan is None:
        _whole_handbook(session, pdf)
        return
    import time  # noqa: PLC0415 -- for this command alone

    from kms.ceremonies.paper import handbook as book  # noqa: PLC0415 -- heavy
    from kms.ceremonies.record.durable import write_new  # noqa: PLC0415 -- heavy
    from kms.cli import premises  # noqa: PLC0415 -- heavy

    read = premises.read_plan(plan)
    ceremony = premises.kind_of(read.file.ceremony)
    brief = premises.site_premises(session, state).brief(read)
    if pdf is None:
        text = book.render_markdown(ceremony, brief, plan=str(plan))
        session.output.document({"handbook": text}, text)
        return
    write_new(pdf.absolute(), book.render_pdf(ceremony, brief, int(time.time()), plan=str(plan)))
    document = {"file": str(pdf)}
    session.output.record(document, document, _SAVED)


def _whole_handbook(session: Session, pdf: Path | None) -> None:
    from kms.ceremonies.catalogue import CEREMONIES  # noqa: PLC0415 -- heavy
    from kms.ceremonies.paper.handbook_whole import whole_handbook  # noqa: PLC0415 -- heavy

    if pdf is not None:
        raise InvalidInput("--pdf goes with a plan", hint="docs/handbook has the whole handbook")
    text = whole_handbook(CEREMONIES)
    session.output.document({"handbook": text}, text)
