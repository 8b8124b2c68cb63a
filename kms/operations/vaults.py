"""Vault keys and the move of a space's keys to the newest."""

from kms.operations.table import CHANGE_ERRORS, OFFICER, WATCHERS, Operation

TABLE = (
    Operation(
        "vault.read", "GET", "/v1/vaults", WATCHERS,
        "Show vault keys: versions, what depends on each, progress, when the next is due",
        "查看保管库密钥：版本、依赖数量、重新封装进度与到期时间",
    ),
    Operation(
        "reseal.pause", "POST", "/v1/spaces/{space}/reseal:pause", frozenset({OFFICER}),
        "Pause the move of a space's keys to the newest vault key",
        "暂停将空间密钥重新封装到最新保管库密钥",
        errors=CHANGE_ERRORS,
    ),
    Operation(
        "reseal.resume", "POST", "/v1/spaces/{space}/reseal:resume", frozenset({OFFICER}),
        "Go on moving a space's keys, also those that failed",
        "继续重新封装空间密钥，失败的也重试",
        errors=CHANGE_ERRORS,
    ),
)  # fmt: skip
