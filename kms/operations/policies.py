"""Policies and grants: what is in force, why somebody may do something, ending a grant. Their
change is approved (kms/domain/approvals.py).
"""

from kms.operations.table import (
    AUDITOR,
    CHANGE_ERRORS,
    OFFICER,
    READ_ERRORS,
    Operation,
)

_SEERS = frozenset({OFFICER, AUDITOR})

TABLE = (
    Operation(
        "policy.read", "GET", "/v1/spaces/{space}/policy", _SEERS,
        "Show the policy in force in a space", "查看空间的现行策略", errors=READ_ERRORS,
    ),
    Operation(
        "site-policy.read", "GET", "/v1/site-policy", _SEERS,
        "Show the site's own access policies, and all that are in force",
        "查看站点自有的访问策略及全部现行策略",
    ),
    Operation(
        "policy.explain", "POST", "/v1/policy:explain", _SEERS,
        "Tell why somebody may do something, or may not", "说明某人为何可以或不可以执行某操作",
        errors=READ_ERRORS,
    ),
    Operation(
        "grant.list", "GET", "/v1/grants", _SEERS,
        "List time-bound grants, their last use and those that were forgotten",
        "列出限时授权、最近使用时间及被遗忘的授权",
    ),
    Operation(
        "grant.revoke", "POST", "/v1/grants/{grant}:revoke", frozenset({OFFICER}),
        "End a time-bound grant at once", "立即撤回限时授权", errors=CHANGE_ERRORS,
    ),
)  # fmt: skip
