"""What a meeting's media are protected with, and the self-check score that follows."""

from kms.operations.table import (
    AUDITOR,
    CHANGE_ERRORS,
    KEPT,
    MEETING,
    OFFICER,
    OPEN,
    READ_ERRORS,
    SERVER,
    Operation,
)

TABLE = (
    Operation(
        "media.report", "POST", MEETING + ":report-media", frozenset({SERVER}),
        "Report the cipher that a meeting's media were negotiated to", "报告会议媒体协商的加密方式",
        states=OPEN, errors=CHANGE_ERRORS,
    ),
    Operation(
        "score.read", "GET", MEETING + "/score", frozenset({OFFICER, AUDITOR}),
        "Show a meeting's self-check reference score with its reasons",
        "查看会议的自查参考分及依据",
        states=KEPT, errors=(*READ_ERRORS, "state_not_allowed"),
    ),
)  # fmt: skip
