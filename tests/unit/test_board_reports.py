"""How the board names the files of a report. The export itself is a fake here."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kms.statements import jws
from kms.statements.canonical import digest
from kms.statements.report import ReportStatement, peek_report, sign_report
from kms.usecases.reports.exporting import Exported
from kms.usecases.reports.folder import Kept
from kms.web.views import reports
from tests.fixtures.board import BoardSite, run_with_board
from tests.fixtures.reported import AUDITOR, REPORT

NAME = "conclave-report-1970-01-01-1970-01-02-0000beef"


def a_statement() -> str:
    key, sha = ec.generate_private_key(ec.SECP256R1()), digest(b"x")
    told = ReportStatement(
        iss="fake.example", report=REPORT, since=0, until=86_400 + 60, size=1, root=sha, bundle=sha,
        figures=sha, paper=sha, language="en", request="", actor=AUDITOR, issued=90_000, full="",
    )  # fmt: skip
    return sign_report(told, jws.spki_id(key.public_key()), jws.private_signer(key))


def disposition(name: str) -> str:
    return f'attachment; filename="{name}"'


@pytest.mark.parametrize(
    ("form", "name"), [("zip", f"{NAME}-en.zip"), ("pdf", f"{NAME}-en-reading.pdf")]
)
def test_what_is_verified_and_what_is_read_have_names_of_their_own(
    monkeypatch: pytest.MonkeyPatch, form: str, name: str
) -> None:
    async def exported(*_: object) -> Exported:
        return Exported(REPORT, b"%PDF", b"{}", a_statement())

    monkeypatch.setattr(reports, "export", exported)

    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("auditor")
        fields = {"csrf": await browser.token(), "language": "en", "form": form}
        answer = await browser.post(f"/reports/{REPORT}/export", fields)
        assert answer.header("content-disposition") == disposition(name)
        if form == "zip":
            with zipfile.ZipFile(io.BytesIO(answer.body)) as packed:
                assert packed.namelist() == [f"{NAME}-en.{end}" for end in ("pdf", "json", "jws")]

    run_with_board(work)


def test_full_names_never_overwrite_the_masked_file(monkeypatch: pytest.MonkeyPatch) -> None:
    async def exported(*_: object) -> Exported:
        return Exported(REPORT, b"%PDF", b"{}", a_statement())

    monkeypatch.setattr(reports, "export", exported)

    async def work(site: BoardSite) -> None:
        browser = await site.signed_in("auditor")
        fields = {"csrf": await browser.token(), "language": "en", "form": "pdf", "request": "r"}
        answer = await browser.post(f"/reports/{REPORT}/export-full", fields)
        assert answer.header("content-disposition") == disposition(f"{NAME}-names-en-reading.pdf")

    run_with_board(work)


def test_a_list_of_reports_has_their_ids_and_their_makers_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = replace(peek_report(a_statement()), actor="chen-admin")

    async def listed(*_: object) -> tuple[list[Kept], list[str]]:
        return [Kept(Path("nowhere"), told, "")], []

    monkeypatch.setattr(reports, "list_reports", listed)

    async def work(site: BoardSite) -> None:
        for visitor in ("auditor", "officer"):
            page = (await (await site.signed_in(visitor)).get("/reports")).text
            assert f'title="{REPORT}">…{REPORT[-8:]}</code>' in page
            assert 'Chen-Admin <small class="next">chen-admin</small>' in page

    run_with_board(work)
