"""Compliance reports, for auditors: made, read and exported; what shows full names is approved."""

from kms.operations.table import AUDITOR, OFFICER, READ_ERRORS, Operation

_REPORTS = "/v1/reports"
_REPORT = _REPORTS + "/{report}"

TABLE = (
    Operation(
        "report.make", "POST", _REPORTS, frozenset({AUDITOR}),
        "Make the compliance report of a period, unless it is there",
        "生成某一期间的密码应用合规报告（已有则直接返回）", errors=("state_not_allowed",),
    ),
    Operation(
        "report.list", "GET", _REPORTS, frozenset({AUDITOR, OFFICER}),
        "List the compliance reports", "列出密码应用合规报告",
    ),
    Operation(
        "report.read", "GET", _REPORT, frozenset({AUDITOR}),
        "Read a report's figures, names masked", "读取报告数据（姓名已遮盖）", errors=READ_ERRORS,
    ),
    Operation(
        "report.export", "POST", _REPORT + ":export", frozenset({AUDITOR}),
        "Export a report as PDF, marked as the caller's and logged",
        "将报告导出为带水印的 PDF，并记入日志", errors=(*READ_ERRORS, "approval_required"),
    ),
    Operation(
        "report.evidence", "GET", _REPORT + "/evidence", frozenset({AUDITOR}),
        "Read a part of a report's evidence bundle", "读取报告证据包的一部分", errors=READ_ERRORS,
    ),
)  # fmt: skip
