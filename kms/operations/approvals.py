"""Requests that several people must approve: asked for, signed, carried out once."""

from kms.operations.table import AUDITOR, OFFICER, READ_ERRORS, Operation

_SEERS = frozenset({OFFICER, AUDITOR})
_REQUEST = "/v1/approvals/{request}"
_SIGN_ERRORS = (
    *READ_ERRORS,
    "already_exists",
    "state_not_allowed",
    "verification_failed",
    "configuration_error",
)
_EFFECT_ERRORS = (
    *_SIGN_ERRORS,
    "conflict",
    "on_hold",
    "retained",
    "precondition_failed",
    "sealed",
    "audit_unavailable",
)

TABLE = (
    Operation(
        "approval.rules", "GET", "/v1/approval-rules", _SEERS,
        "Show what needs approval, by whom, under which register of people",
        "查看哪些操作需要批准、由谁批准、依据哪份人员登记册",
        errors=(*READ_ERRORS, "configuration_error"),
    ),
    Operation(
        "approval.list", "GET", "/v1/approvals", _SEERS,
        "List requests and who has still to approve them", "列出请求及尚缺的批准",
        errors=("configuration_error",),
    ),
    Operation(
        "approval.read", "GET", _REQUEST, _SEERS,
        "Show a request with its approvals", "查看请求及其批准",
        errors=(*READ_ERRORS, "configuration_error"),
    ),
    Operation(
        "approval.submit", "POST", "/v1/approvals", frozenset({OFFICER}),
        "Hand in a signed request for what several people must approve",
        "提交需多人批准的已签名请求",
        creates=True, errors=(*_EFFECT_ERRORS, "idempotency_key_reused"),
    ),
    Operation(
        "approval.sign", "POST", _REQUEST + ":sign", frozenset({OFFICER}),
        "Hand in somebody's signed approval of a request", "提交对请求的已签名批准",
        errors=_SIGN_ERRORS,
    ),
    Operation(
        "approval.cancel", "POST", _REQUEST + ":cancel", frozenset({OFFICER}),
        "Cancel a request", "取消请求", errors=(*READ_ERRORS, "state_not_allowed"),
    ),
    Operation(
        "approval.execute", "POST", _REQUEST + ":execute", frozenset({OFFICER}),
        "Carry out a request that enough people approved, once", "执行已获足够批准的请求（仅一次）",
        errors=(*_EFFECT_ERRORS, "quorum_not_met"),
    ),
)  # fmt: skip
