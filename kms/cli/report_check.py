"""Reads the files of a report and has them verified, the evidence bundle first."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from kms.audit.bundle import Bundle
from kms.audit.checks import Tally
from kms.audit.proofs import read_key_list
from kms.audit.verify import verify_bundle
from kms.cli.inputs import read_text
from kms.reports.content import Content, decode
from kms.reports.verification import Checked, Files, verify
from kms.statements.canonical import b64u, digest


def checked(
    report: Path,
    bundle: Path,
    statement: Path,
    paper: Path | None,
    root: ec.EllipticCurvePublicKey,
    progress: Callable[[int], None],
) -> tuple[Content, tuple[Checked, ...]]:
    """Return the report and what came of every check; raise VerificationFailed for files that
    cannot be read as what they should be.
    """
    files = Files(
        figures=report.read_bytes(),
        statement=read_text(statement),
        bundle=_digest(bundle),
        paper=digest(paper.read_bytes()) if paper else "",
    )
    audited = verify_bundle(bundle, root, progress=lambda done, _all: progress(done))
    with Bundle(bundle) as opened:
        opened.check_schema()
        keys = read_key_list(opened, root, Tally())
    return decode(files.figures), verify(bundle, files, keys, audited, progress)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return b64u(hashlib.file_digest(file, "sha256").digest())
