"""What people must be told."""

from kms.operations.table import WATCHERS, Operation

TABLE = (
    Operation(
        "alert.list", "GET", "/v1/alerts", WATCHERS,
        "List active alerts, the gravest first", "列出当前告警，最严重的在前",
    ),
)  # fmt: skip
