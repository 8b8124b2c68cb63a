"""The emergency seal: any officer, alone and at once."""

from kms.operations.table import OFFICER, Operation

TABLE = (
    Operation(
        "space.seal", "POST", "/v1/spaces/{space}:seal", frozenset({OFFICER}),
        "Seal a space at once: no key operation, its worker and PIN gone",
        "立即封存空间：停止密钥操作，清除工作进程与 PIN",
        errors=("not_found",),
    ),
    Operation(
        "site.seal", "POST", "/v1/site:seal", frozenset({OFFICER}),
        "Seal the whole box at once", "立即封存整台设备",
    ),
)  # fmt: skip
