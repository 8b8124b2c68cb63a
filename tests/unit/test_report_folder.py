"""What lies in the folder of reports is believed by its signature alone."""

from pathlib import Path

import pytest

from kms.errors import IntegrityFailure
from kms.usecases.reports.folder import STATEMENT, ReportFolder

REPORT = "0192f0c8-7e3a-7bbb-8c3d-2f1a5b6c7d8e"


def test_a_report_that_was_altered_is_told_of_and_stops_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / REPORT
    folder.mkdir(parents=True)
    (folder / STATEMENT).write_text("nobody signed this")
    (tmp_path / "reports" / "notes.txt").write_text("not a report")
    reports = ReportFolder(tmp_path, "")
    assert list(reports.all()) == []
    assert reports.altered() == [REPORT]
    with pytest.raises(IntegrityFailure):
        reports.find(REPORT)
