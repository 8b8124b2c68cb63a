"""What the verifier asks of the log about reports."""

from datetime import timedelta

import pytest

from kms.audit.checks import Check
from kms.domain.reports import UNMASKED_SECONDS
from kms.statements.canonical import digest
from tests.fixtures.evidence import Site
from tests.fixtures.verdicts import failed, find, retell, sealed, small_site, verified

REPORT = "0193a5b0-7c3e-7000-8000-00000000beef"
OTHER = "0193a5b0-7c3e-7000-8000-00000000dead"
SHA = digest(b"something")


def made(site: Site, report: str = REPORT) -> None:
    at = int(site._now.timestamp())
    told = {
        "report": report, "since": at - 60, "until": at, "size": len(site.drafts),
        "bundle": SHA, "figures": SHA, "full": SHA, "statement": SHA,
    }  # fmt: skip
    site._event("report.make", "", f"reports/{report}", [], told, "auditor")


def exported(site: Site, request: str = "", report: str = REPORT) -> None:
    told = {
        "report": report, "language": "zh", "request": request, "paper": SHA, "statement": SHA,
    }  # fmt: skip
    site._event("report.export", "", f"reports/{report}", [], told, "auditor")


def taken(site: Site, bundle: str = SHA, report: str = REPORT) -> None:
    told = {"report": report, "bundle": bundle}
    site._event("report.evidence", "", f"reports/{report}", [], told, "auditor")


def unmasked(site: Site) -> str:
    target = {"report": REPORT}
    return site.approve("report.unmask", "", f"reports/{REPORT}", target, [], target)


def log_taken(site: Site, size: int = 3) -> None:
    site._event("audit.evidence", "", "audit", [], {"size": size, "bundle": SHA}, "auditor")


def reported() -> tuple[Site, str]:
    site, _ = small_site()
    made(site)
    exported(site)
    request = unmasked(site)
    exported(site, request)
    taken(site)
    log_taken(site)
    return site, request


def test_a_report_is_made_exported_and_with_approval_exported_in_full(tmp_path):
    site, _ = reported()
    sealed(site)
    assert failed(verified(site, tmp_path)) == set()


@pytest.mark.parametrize("wrong", [{"bundle": digest(b"another")}, {"report": OTHER}])
def test_the_evidence_that_is_taken_is_a_reports(tmp_path, wrong):
    site, _ = reported()
    taken(site, **wrong)
    sealed(site)
    assert failed(verified(site, tmp_path)) == {Check.ACTIONS}


@pytest.mark.parametrize("size", [0, 10_000])
def test_the_evidence_of_the_log_holds_leaves_that_were_there(tmp_path, size):
    site, _ = reported()
    log_taken(site, size)
    sealed(site)
    assert failed(verified(site, tmp_path)) == {Check.ACTIONS}


def test_full_names_want_a_request_that_was_carried_out(tmp_path):
    site, _ = small_site()
    made(site)
    exported(site, "01990000-0000-7000-8000-000000000001")
    sealed(site)
    assert failed(verified(site, tmp_path)) == {Check.APPROVALS}


def test_full_names_of_another_report_are_not_what_was_approved(tmp_path):
    site, request = reported()
    made(site, OTHER)
    exported(site, request, OTHER)
    sealed(site)
    assert failed(verified(site, tmp_path)) == {Check.APPROVALS}


@pytest.mark.parametrize(("later", "fails"), [(-1, False), (61, True)])
def test_full_names_are_exported_soon_after_the_approval(tmp_path, later, fails):
    site, request = reported()
    site._now += timedelta(seconds=UNMASKED_SECONDS + later)
    exported(site, request)
    sealed(site)
    assert (failed(verified(site, tmp_path)) == {Check.APPROVALS}) is fails


def test_an_approval_of_another_report_is_found(tmp_path):
    site, _ = reported()
    retell(site, find(site, "report.unmask"), report=OTHER)
    sealed(site)
    assert Check.APPROVALS in failed(verified(site, tmp_path))


@pytest.mark.parametrize("change", [{"size": 0}, {"until": 1}, {"report": OTHER}, {"more": 1}])
def test_a_report_that_cannot_be_is_found(tmp_path, change):
    site, _ = reported()
    retell(site, find(site, "report.make"), **change)
    sealed(site)
    assert Check.ACTIONS in failed(verified(site, tmp_path))


def test_nothing_is_exported_that_was_not_made_and_nothing_is_made_twice(tmp_path):
    site, _ = small_site()
    exported(site)
    sealed(site)
    assert failed(verified(site, tmp_path)) == {Check.ACTIONS}
    again, _ = reported()
    made(again)
    sealed(again)
    (tmp_path / "again").mkdir()
    assert failed(verified(again, tmp_path / "again")) == {Check.ACTIONS}
