"""Passkeys for the board: each person vouches for their own, any officer revokes."""

from kms.operations.table import OFFICER, OPERATOR, READ_ERRORS, WATCHERS, Operation

_PASSKEYS = "/v1/passkeys"
_PASSKEY = _PASSKEYS + "/{credential}"

TABLE = (
    Operation(
        "passkey.list", "GET", _PASSKEYS, WATCHERS,
        "List passkeys for the board", "列出看板的通行密钥", errors=("configuration_error",),
    ),
    Operation(
        "passkey.read", "GET", _PASSKEY, WATCHERS,
        "Show a passkey", "查看通行密钥", errors=READ_ERRORS,
    ),
    Operation(
        "passkey.invite", "POST", _PASSKEYS + ":invite", WATCHERS,
        "Hand in a person's signed invitation to enrol a passkey",
        "提交本人签名的通行密钥登记邀请",
        errors=("already_exists", "verification_failed", "configuration_error"),
    ),
    Operation(
        "passkey.admit", "POST", _PASSKEY + ":admit", frozenset({OFFICER, OPERATOR}),
        "Hand in a person's signed admission of an approval passkey",
        "提交本人签名的通行密钥准许书，使其可用于批准",
        errors=(*READ_ERRORS, "state_not_allowed", "verification_failed", "configuration_error"),
    ),
    Operation(
        "passkey.revoke", "POST", _PASSKEY + ":revoke", WATCHERS,
        "Revoke a passkey at once: any officer may, and its own person",
        "立即撤销通行密钥：任一安全官或本人均可", errors=READ_ERRORS,
    ),
)  # fmt: skip
