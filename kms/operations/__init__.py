"""The one table of operations: method, path, who, in which states. It decides nothing itself.

API, policy test, CLI and documentation read it. An operation's id is also its name in the policy
and in the audit log. What needs several people's approval stands in kms/domain/approvals.py.
"""

from kms.operations import (
    alerts,
    approvals,
    audit,
    confidential,
    disks,
    lifecycle,
    meetings,
    passkeys,
    policies,
    reports,
    seals,
    status,
    vaults,
)
from kms.operations.table import COMMON_ERRORS, Operation

__all__ = ["COMMON_ERRORS", "OPERATIONS", "Operation"]

OPERATIONS: dict[str, Operation] = {
    operation.id: operation
    for subject in (
        alerts,
        meetings,
        status,
        audit,
        approvals,
        confidential,
        disks,
        lifecycle,
        passkeys,
        policies,
        reports,
        seals,
        vaults,
    )
    for operation in subject.TABLE
}
"""Every operation by its id."""
