"""certificate: what approved requests destroyed. Verifying and printing need no service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kms.cli.inputs import read_root, read_text
from kms.cli.output import Column, Row
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.i18n import _

if TYPE_CHECKING:
    from kms.documents.paper import Paper

_SAVED = (Column("Saved as", "file"),)

FileArgument = Annotated[Path, typer.Argument(help="The certificate's file; - reads stdin.")]


def add(app: typer.Typer) -> None:
    """Add the commands."""
    certificates = group("Certificates of what approved requests destroyed.")
    register(certificates, "show", show)
    register(certificates, "verify", verify)
    register(certificates, "print", print_certificate)
    app.add_typer(certificates, name="certificate")


def show(
    session: Session,
    request: Annotated[str, typer.Argument(help="The id of the request that was carried out.")],
    out: Annotated[
        Path | None, typer.Option(help="New file to keep it in; an existing one is refused.")
    ] = None,
) -> None:
    """Fetch a certificate and show what it says, or keep it with --out.

    Whether it holds, conclave certificate verify tells: with the site's root and key list.
    """
    from kms.cli.envelope import write_new  # noqa: PLC0415 -- heavy

    with session.client() as client:
        text = client.certificate(request).certificate
    if out is not None:
        write_new(out, text + "\n")
        session.output.record({"file": str(out)}, {"file": str(out)}, _SAVED)
        return
    shown = _shown(text)
    document = {"certificate": text, "says": shown.document}
    session.output.record(document, shown.row, shown.fields)


def verify(
    session: Session,
    file: FileArgument,
    key_list: Annotated[Path, typer.Option(help="The site's signed key list.")],
    site_root: Annotated[Path, typer.Option(help="The pinned public key of the site (PEM).")],
) -> None:
    """Verify a certificate offline, with the pinned site root, and show what it says."""
    from kms.client.keys import SiteTrust  # noqa: PLC0415 -- heavy
    from kms.statements.erasure import is_erasure  # noqa: PLC0415 -- heavy
    from kms.statements.keylist import verify_keylist  # noqa: PLC0415 -- heavy

    root, token, text = read_root(site_root), read_text(key_list), read_text(file)
    trust = SiteTrust(verify_keylist(token, root).iss, root, token)
    check = trust.erasure if is_erasure(text) else trust.certificate
    check(text)
    shown = _shown(text)
    session.output.note(_("The certificate holds: signed by a key of its space on the key list."))
    session.output.record({"holds": True, "says": shown.document}, shown.row, shown.fields)


def print_certificate(
    session: Session,
    file: FileArgument,
    out: Annotated[Path, typer.Option(help="New PDF file to write.")],
) -> None:
    """Set a certificate as PDF for the archive, in the present language.

    It prints what the file says; whether that holds, conclave certificate verify tells.
    """
    from kms.ceremonies.record.durable import write_new  # noqa: PLC0415 -- for this command alone
    from kms.documents.pdf import render_pdf  # noqa: PLC0415 -- loads the typesetter

    shown = _shown(read_text(file))
    paper = shown.paper(_banner(session, shown.document["iss"]))
    write_new(out.absolute(), render_pdf(paper, shown.document["issued"]))
    session.output.record({"file": str(out)}, {"file": str(out)}, _SAVED)


def _banner(session: Session, site: str) -> str:
    """Return what the configuration at hand has stand above everything of that site."""
    if session.options.config is None and not session.config_path().exists():
        return ""
    known = session.settings().site
    return known.banner if known.id == site else ""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a certificate says, of either kind, and how it is printed under a banner."""

    document: dict[str, Any]
    row: Row
    fields: Sequence[Column]
    paper: Callable[[str], "Paper"]


def _shown(text: str) -> _Shown:
    """Return what a certificate says, WITHOUT checking its signature; raise VerificationFailed."""
    from kms.cli import certificate_view, erasure_view  # noqa: PLC0415 -- heavy
    from kms.statements.destruction import peek_certificate  # noqa: PLC0415 -- heavy
    from kms.statements.erasure import is_erasure, peek_erasure  # noqa: PLC0415 -- heavy

    if is_erasure(text):
        erased = peek_erasure(text)
        said, told = erasure_view.document(erased), erasure_view.row(erased)
        return _Shown(said, told, erasure_view.FIELDS, partial(erasure_view.paper, erased))
    found = peek_certificate(text)
    said, told = certificate_view.document(found), certificate_view.row(found)
    return _Shown(said, told, certificate_view.FIELDS, partial(certificate_view.paper, found))
