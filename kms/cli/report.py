"""report: the compliance report of a period, in one step or several, and whether one holds."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.inputs import read_root
from kms.cli.output import Column
from kms.cli.register import Group, register
from kms.cli.session import Session
from kms.i18n import _, language

if TYPE_CHECKING:
    from kms.client.api import Client
    from kms.wire.reports import ReportOut

_REPORT = (
    Column("Report", "report"),
    Column("From", "since"),
    Column("Until", "until"),
    Column("Made", "made"),
    Column("Made by", "maker"),
    Column("Leaves", "size"),
)
_WRITTEN = (
    Column("Report", "report"),
    Column("PDF", "paper"),
    Column("Figures", "figures"),
    Column("Statement", "statement"),
    Column("Evidence bundle", "bundle"),
)
_FIGURES = (Column("Figure", "id"), Column("Counts", "counted"), Column("Value", "shown"))
Period = Annotated[
    str,
    typer.Option(
        help="Such as last-quarter, this-month, 2026-Q3 or 2026-07-01..2026-09-30; "
        "else last-quarter, or this-month while the log is younger."
    ),
]
Out = Annotated[Path, typer.Option(help="Folder to write into; existing files are refused.")]
Request = Annotated[
    str, typer.Option(help="Show full names, by this executed request (report.unmask).")
]


class _OneStep(Group):
    """The group whose bare name is the one step: options without a command are that one's."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the command line; without a command it is the one step."""
        words = {*self.commands, "--help"}
        if not any(one in words for one in args):
            args = ["quick", *args]
        return super().parse_args(ctx, args)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    reports = typer.Typer(
        cls=_OneStep,
        help=_(
            "Compliance reports. Alone: quick, which makes one and exports it with its evidence."
        ),
        add_completion=False,
    )
    register(reports, "quick", quick)
    register(reports, "make", make)
    register(reports, "list", list_reports)
    register(reports, "show", show)
    register(reports, "export", export)
    register(reports, "verify", verify)
    app.add_typer(reports, name="report")


def quick(session: Session, period: Period = "", out: Out = Path()) -> None:
    """Make a period's report unless it is there, and export PDF and evidence: one step."""
    with session.client() as client:
        made = _make(session, client, period)
        _export(session, client, made, out, "")


def make(session: Session, period: Period = "") -> None:
    """Make the report of a period, unless it is there."""
    with session.client() as client:
        made = _make(session, client, period)
    document = made.model_dump(mode="json")
    session.output.record(document, document, _REPORT)


def list_reports(session: Session) -> None:
    """List the reports that were made, the newest first."""
    with session.client() as client:
        found = client.reports().model_dump(mode="json")
    session.output.table(found, found["items"], _REPORT)
    for one in found["altered"]:
        told = _("The report {report} was altered: its signature does not hold.")
        session.output.banner(told.format(report=one))


def show(session: Session, report: Annotated[str, typer.Argument(help="The report's id.")]) -> None:
    """Show a report's figures, names masked."""
    import json  # noqa: PLC0415 -- for this command alone

    with session.client() as client:
        found = json.loads(client.report(report).figures)
    rows = [{**one, "shown": _shown(one["rows"])} for one in found["figures"]]
    session.output.table(found, rows, _FIGURES)


def export(
    session: Session,
    report: Annotated[str, typer.Argument(help="The report's id.")],
    out: Out = Path(),
    request: Request = "",
) -> None:
    """Export a report as PDF with figures, statement and evidence bundle; the log tells of it."""
    with session.client() as client:
        made = next((one for one in client.reports().items if one.report == report), None)
        if made is None:
            from kms.errors import NotFound  # noqa: PLC0415 -- for this case alone

            raise NotFound("there is no such report", hint="see conclave report list")
        _export(session, client, made, out, request)


def verify(
    session: Session,
    report: Annotated[Path, typer.Argument(help="The report's figures (JSON).")],
    bundle: Annotated[Path, typer.Argument(help="Its evidence bundle.")],
    site_root: Annotated[Path, typer.Option(help="The pinned public key of the site (PEM).")],
    statement: Annotated[
        Path | None, typer.Option(help="The statement; else it lies beside the figures (.jws).")
    ] = None,
    pdf: Annotated[Path | None, typer.Option(help="The PDF, to see that it is the one.")] = None,
) -> None:
    """Verify a report offline: signatures, digests, and every figure from the evidence anew."""
    from kms.cli.report_check import checked  # noqa: PLC0415 -- heavy
    from kms.reports.verdict import document, to_text  # noqa: PLC0415 -- heavy
    from kms.reports.verification import raise_if_failed  # noqa: PLC0415 -- heavy

    told = statement or report.with_suffix(".jws")
    with session.output.progress(_("Leaves and figures verified:")) as progress:
        content, found = checked(report, bundle, told, pdf, read_root(site_root), progress)
    session.output.document(document(content, found), to_text(content, found))
    raise_if_failed(found)


def _make(session: Session, client: "Client", period: str) -> "ReportOut":
    """Return the report of a period; if none is named, last quarter's, or a young log's month."""
    from kms.errors import StateNotAllowed  # noqa: PLC0415 -- for this command alone

    with session.output.progress(_("Making the report")) as progress:
        progress(0)
        try:
            return client.make_report(period or "last-quarter")
        except StateNotAllowed:
            if period:
                raise
        session.output.note(_("The log begins after last quarter: this month so far is reported."))
        return client.make_report("this-month")


def _export(session: Session, client: "Client", made: "ReportOut", out: Path, request: str) -> None:
    """Write PDF, figures, statement and bundle; raise AlreadyExists before anything is asked."""
    wanted = language().value
    stem = f"-names-{wanted}" if request else f"-{wanted}"  # beside the masked one in a folder
    names = {
        kind: out / f"{made.name}{end}"
        for kind, end in (
            ("paper", f"{stem}.pdf"), ("figures", f"{stem}.json"),
            ("statement", f"{stem}.jws"), ("bundle", ".db"),
        )
    }  # fmt: skip
    _check_free(names.values())
    found = client.export_report(made.report, wanted, request or None)
    _write(names["paper"], base64.b64decode(found.paper))
    _write(names["figures"], found.figures.encode())
    _write(names["statement"], f"{found.statement}\n".encode())
    with session.output.progress(_("Bytes of evidence:")) as progress:
        _take(client, made.report, names["bundle"], progress)
    document = {"report": made.report, **{kind: str(path) for kind, path in names.items()}}
    session.output.record(document, document, _WRITTEN)


def _take(client: "Client", report: str, path: Path, progress: Callable[[int], None]) -> None:
    done = 0
    with path.open("xb") as file:
        path.chmod(0o600)
        for part in client.report_evidence(report):
            file.write(part)
            done += len(part)
            progress(done)


def _check_free(paths: Any) -> None:
    from kms.errors import AlreadyExists  # noqa: PLC0415 -- for this case alone

    for path in paths:
        if path.exists():
            raise AlreadyExists(f"{path} is there", hint="choose another folder with --out")


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        path.chmod(0o600)
        file.write(data)


def _shown(rows: list[list[Any]]) -> str:
    """Return a figure's value if it is one, else how many rows it has."""
    if len(rows) == 1 and len(rows[0]) == 1:
        return str(rows[0][0])
    return _("{count} rows").format(count=len(rows))
