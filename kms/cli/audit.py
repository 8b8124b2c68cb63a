"""audit: look at the log's head, take evidence away, verify it. Verifying needs no service."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from kms.cli.audit_list import list_leaves
from kms.cli.audit_search import search_leaves
from kms.cli.inputs import read_root, read_text
from kms.cli.output import Column
from kms.cli.register import group, register
from kms.cli.session import Session
from kms.i18n import Language, _, language

_EXPORTED = (
    Column("Saved as", "file"),
    Column("Site", "site"),
    Column("Leaves", "leaves"),
    Column("Checkpoints", "checkpoints"),
    Column("Manifests", "manifests"),
)
_PROOF = (
    Column("Leaf", "leaf"),
    Column("Size of the tree", "size"),
    Column("Root", "root"),
    Column("Says", "body"),
)


def add(app: typer.Typer) -> None:
    """Add the commands."""
    audits = group("The audit log: evidence that can be checked without trusting the service.")
    register(audits, "checkpoint", checkpoint)
    register(audits, "list", list_leaves)
    register(audits, "search", search_leaves)
    register(audits, "export", export)
    register(audits, "verify", verify)
    register(audits, "proof", proof)
    app.add_typer(audits, name="audit")


def checkpoint(session: Session) -> None:
    """Print the newest signed checkpoint; keep it to compare later."""
    from kms.audit.gathering import newest_checkpoint  # noqa: PLC0415 -- heavy

    with session.client() as client:
        newest = newest_checkpoint(client)
    session.output.document(newest.model_dump(mode="json"), newest.note)


def export(
    session: Session,
    out: Annotated[Path, typer.Argument(help="New file to write; an existing one is refused.")],
    offline: Annotated[
        bool,
        typer.Option(
            "--offline",
            help="Read the stored files as the service's user, while no service answers: "
            "after the box was sealed.",
        ),
    ] = False,
) -> None:
    """Write the evidence up to the newest checkpoint into one bundle."""
    with session.output.progress(_("Leaves written:")) as progress:
        if offline:
            document = _export_stored(session, out, progress)
        else:
            document = _export_served(session, out, progress)
    session.output.record(document, document, _EXPORTED)


def _export_served(session: Session, out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
    from kms.cli.evidence import export_bundle  # noqa: PLC0415 -- heavy

    with session.client() as client:
        return export_bundle(client, out, progress)


def _export_stored(session: Session, out: Path, progress: Callable[[int], None]) -> dict[str, Any]:
    from kms.bootstrap.stored_evidence import stored_evidence  # noqa: PLC0415 -- heavy
    from kms.cli.evidence import export_stored  # noqa: PLC0415 -- heavy

    with stored_evidence(session.settings()) as stored:
        return export_stored(stored, out, progress)


def verify(
    session: Session,
    bundle: Annotated[Path, typer.Argument(help="The evidence bundle.")],
    site_root: Annotated[Path, typer.Option(help="The pinned public key of the site (PEM).")],
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(help="File of a checkpoint kept from before; may be given several times."),
    ] = None,
) -> None:
    """Verify a bundle offline and say in plain words what was checked."""
    import json  # noqa: PLC0415 -- for this command alone

    from kms.audit.verify import verify_bundle  # noqa: PLC0415 -- heavy

    bundle.open("rb").close()  # a mistyped name is no verdict on evidence
    root = read_root(site_root)
    earlier = [read_text(one) + "\n" for one in checkpoint or ()]
    with session.output.progress(_("Leaves verified:")) as progress:
        report = verify_bundle(bundle, root, earlier, lambda done, _all: progress(done))
    text = report.to_text("zh" if language() is Language.ZH else "en")
    session.output.document(json.loads(report.to_json()), text)
    report.raise_if_failed()


def proof(
    session: Session,
    leaf: Annotated[int, typer.Argument(help="The leaf's sequence number.")],
) -> None:
    """Fetch a leaf with its inclusion proof, and check the proof."""
    from kms.cli.evidence import checked_proof  # noqa: PLC0415 -- heavy

    with session.client() as client:
        document = checked_proof(client, leaf)
    session.output.record(document, document, _PROOF)
