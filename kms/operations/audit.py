"""The audit log, for those who verify it."""

from kms.operations.table import (
    AUDITOR,
    READ_ERRORS,
    Operation,
)

TABLE = (
    Operation(
        "audit.checkpoint", "GET", "/v1/audit/checkpoint", frozenset({AUDITOR}),
        "The newest signed checkpoint", "最新的签名检查点", errors=("not_found",),
    ),
    Operation(
        "audit.checkpoints", "GET", "/v1/audit/checkpoints", frozenset({AUDITOR}),
        "List signed checkpoints", "列出签名检查点",
    ),
    Operation(
        "audit.leaves", "GET", "/v1/audit/leaves", frozenset({AUDITOR}),
        "Read the log's leaves", "读取日志条目",
    ),
    Operation(
        "audit.search", "GET", "/v1/audit/search", frozenset({AUDITOR}),
        "Find leaves by who, what, where, when and outcome",
        "按人员、操作、位置、时间和结果查找日志条目",
    ),
    Operation(
        "audit.proof", "GET", "/v1/audit/proofs/{leaf}", frozenset({AUDITOR}),
        "Prove that a leaf is in the log", "证明日志条目在日志之中", errors=("not_found",),
    ),
    Operation(
        "audit.consistency", "GET", "/v1/audit/consistency", frozenset({AUDITOR}),
        "Prove that the log was only appended to", "证明日志只增不改", errors=("not_found",),
    ),
    Operation(
        "audit.manifests", "GET", "/v1/audit/manifests", frozenset({AUDITOR}),
        "List the manifests of a space's epochs for evidence", "列出取证所需的密钥周期清单",
        errors=READ_ERRORS,
    ),
    Operation(
        "audit.requests", "GET", "/v1/audit/requests", frozenset({AUDITOR}),
        "List executed requests with their approvals and certificates",
        "列出已执行的请求及其批准与证书",
    ),
    Operation(
        "audit.registers", "GET", "/v1/audit/registers", frozenset({AUDITOR}),
        "List the registers of people", "列出历次人员登记册",
    ),
)  # fmt: skip
