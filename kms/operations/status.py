"""The site at a glance: health, rotation, escrow, spaces, keys."""

from kms.operations.table import (
    AUDITOR,
    EVERYONE,
    OPERATOR,
    WATCHERS,
    Operation,
)

TABLE = (
    Operation(
        "status.read", "GET", "/v1/status", WATCHERS,
        "Show the state of log, workers and key operations", "查看日志、工作进程与密钥操作状态",
    ),
    Operation(
        "rotation.read", "GET", "/v1/rotation", WATCHERS,
        "Show the rotation of every open meeting", "查看各进行中会议的密钥轮换情况",
    ),
    Operation(
        "escrow.read", "GET", "/v1/escrow", WATCHERS,
        "Show escrow: generations, whether every key is covered, drills, what is owed",
        "查看密钥托管：各代、覆盖情况、演练与待办",
    ),
    Operation(
        "metrics.read", "GET", "/v1/metrics", frozenset({OPERATOR, AUDITOR}),
        "Metrics in Prometheus text format", "Prometheus 格式的运行指标",
    ),
    Operation(
        "health.live", "GET", "/v1/health/live", EVERYONE,
        "Whether the process answers", "进程是否响应",
    ),
    Operation(
        "health.ready", "GET", "/v1/health/ready", EVERYONE,
        "Whether key operations are possible", "是否可以进行密钥操作",
        errors=("audit_unavailable",),
    ),
    Operation(
        "space.list", "GET", "/v1/spaces", EVERYONE,
        "List the spaces that the caller may know of", "列出调用方可见的空间",
    ),
    Operation(
        "recipient.list", "GET", "/v1/recipients", EVERYONE,
        "List registered recipients", "列出已登记的接收方",
    ),
    Operation(
        "key-list.read", "GET", "/v1/key-list", EVERYONE,
        "The site's signed list of signing keys", "站点签名密钥清单",
    ),
    Operation(
        "hsm.read", "GET", "/v1/hsm", WATCHERS,
        "What each HSM token says of itself", "查看各 HSM 令牌信息",
    ),
)  # fmt: skip
