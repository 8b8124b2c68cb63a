"""Compliance reports, as the log tells of them: each is made once and exported afterwards, and full
names leave only by an approved request for that report, soon after it was carried out. And the
log's own evidence, as people take it away at the board.
"""

from kms.audit.approvals import SLACK_SECONDS, Approvals, expect, request_row
from kms.audit.checks import Broken, Check, Tally
from kms.audit.facts import check_rows
from kms.audit.leaf import Leaf, seconds
from kms.audit.report_words import (
    DETAILS,
    EvidenceTaken,
    LogTaken,
    ReportExported,
    ReportMade,
    ReportUnmasked,
)
from kms.audit.words import details
from kms.domain.reports import UNMASKED_SECONDS, ReportTarget


class Reports:
    """Applies the leaves about reports and evidence."""

    def __init__(self, approvals: Approvals, tally: Tally) -> None:
        self._approvals = approvals
        self._tally = tally
        self._made: dict[str, str] = {}
        self._unmasked: dict[str, tuple[str, int]] = {}

    def knows(self, leaf: Leaf) -> bool:
        """Whether the leaf is about a report, or evidence that was taken away."""
        return leaf.action in DETAILS

    def apply(self, leaf: Leaf) -> None:
        """Apply one succeeded leaf; raise Broken."""
        told = details(leaf, DETAILS[leaf.action])
        rows: set[str] = set()
        if isinstance(told, ReportMade):
            self._make(leaf, told)
        elif isinstance(told, ReportExported):
            self._export(leaf, told)
        elif isinstance(told, EvidenceTaken):
            self._take(leaf, told)
        elif isinstance(told, LogTaken):
            _check_log(leaf, told)
        elif isinstance(told, ReportUnmasked):
            self._unmask(leaf, told)
            rows = {request_row("", told.request)}
        check_rows(leaf, rows)

    def _make(self, leaf: Leaf, told: ReportMade) -> None:
        _check_place(leaf, told.report)
        if told.report in self._made:
            raise Broken(Check.ACTIONS, "同一报告生成两次", "one report was made twice")
        self._made[told.report] = told.bundle
        whole = told.since < told.until <= seconds(leaf.time) + SLACK_SECONDS
        if not whole or not 0 < told.size <= leaf.seq:
            raise Broken(Check.ACTIONS, "报告所述期间或范围有误", "a report of what was not yet")

    def _export(self, leaf: Leaf, told: ReportExported) -> None:
        _check_place(leaf, told.report)
        if told.report not in self._made:
            raise Broken(Check.ACTIONS, "导出的报告从未生成", "a report that was never made")
        if not told.request:
            return
        self._tally.count(Check.APPROVALS)
        report, at = self._unmasked.get(told.request, ("", 0))
        if report != told.report:
            said = "未经批准即导出完整姓名"
            raise Broken(Check.APPROVALS, said, "full names were exported without approval")
        if seconds(leaf.time) >= at + UNMASKED_SECONDS + SLACK_SECONDS:
            said = "导出完整姓名的批准已过期"
            raise Broken(Check.APPROVALS, said, "full names were exported too long after that")

    def _take(self, leaf: Leaf, told: EvidenceTaken) -> None:
        _check_place(leaf, told.report)
        if self._made.get(told.report) != told.bundle:
            raise Broken(
                Check.ACTIONS, "取走的证据包不属于该报告", "not the report's evidence bundle"
            )

    def _unmask(self, leaf: Leaf, told: ReportUnmasked) -> None:
        self._tally.count(Check.APPROVALS)
        checked = self._approvals.check(leaf, told)
        expect([checked.parameters], [ReportTarget(told.report)])
        self._unmasked[told.request] = (told.report, seconds(leaf.time))


def _check_place(leaf: Leaf, report: str) -> None:
    if (leaf.space, leaf.resource) != ("", f"reports/{report}"):
        raise Broken(Check.ACTIONS, "资源不是所述报告", "the resource is not the report told of")


def _check_log(leaf: Leaf, told: LogTaken) -> None:
    if (leaf.space, leaf.resource) != ("", "audit") or not 0 < told.size <= leaf.seq:
        raise Broken(Check.ACTIONS, "取走的证据包有误", "not evidence that the log could give")
