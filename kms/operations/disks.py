"""Encrypted disks: what people see and ask, and what the appliance daemon reports and fetches."""

from kms.operations.table import (
    APPLIANCE,
    CHANGE_ERRORS,
    OFFICER,
    OPERATOR,
    READ_ERRORS,
    WATCHERS,
    Operation,
)

_READERS = WATCHERS | {APPLIANCE}
_HANDS = frozenset({OFFICER, OPERATOR})
_DAEMON = frozenset({APPLIANCE})
_DISK = "/v1/disks/{disk}"
_KEY_ERRORS = (*CHANGE_ERRORS, "verification_failed")

TABLE = (
    Operation(
        "disk.list", "GET", "/v1/disks", _READERS,
        "List enrolled disks and every device that was seen", "列出加密磁盘与所有见过的设备",
    ),
    Operation(
        "disk.read", "GET", _DISK, _READERS, "Show one disk", "显示一块磁盘", errors=READ_ERRORS,
    ),
    Operation(
        "disk.change", "PATCH", _DISK, _HANDS, "Change a disk's label or mount policy",
        "变更磁盘标签或挂载策略", errors=CHANGE_ERRORS,
    ),
    Operation(
        "disk.rotate-kek", "POST", _DISK + "/kek:rotate", _HANDS,
        "Make a disk's next KEK", "轮换磁盘的密钥加密密钥（KEK）", errors=CHANGE_ERRORS,
    ),
    Operation(
        "disk.order", "POST", "/v1/disk-orders", _HANDS,
        "Ask the appliance to do something with a disk", "向设备守护进程下达磁盘指令",
        creates=True, errors=(*CHANGE_ERRORS, "idempotency_key_reused"),
    ),
    Operation(
        "disk.orders", "GET", "/v1/disk-orders", WATCHERS,
        "List orders to the appliance", "列出磁盘指令",
    ),
    Operation(
        "disk.follow", "GET", "/v1/disk-orders/{order}", WATCHERS,
        "Show one order and how far it is", "显示一条磁盘指令及其进度", errors=READ_ERRORS,
    ),
    Operation(
        "disk-order.take", "GET", "/v1/appliance/orders", _DAEMON,
        "Wait for orders and for seals (long poll)", "等待指令与封存通知（长轮询）",
    ),
    Operation(
        "disk-order.report", "POST", "/v1/appliance/orders/{order}:report", _DAEMON,
        "Report how far an order is, or its end", "报告指令进度或结果", errors=CHANGE_ERRORS,
    ),
    Operation(
        "device.report", "PUT", "/v1/appliance/devices/{serial}", _DAEMON,
        "Report how a device stands", "报告设备状态", errors=("audit_unavailable",),
    ),
    Operation(
        "disk.keys", "POST", "/v1/appliance/disks/{disk}/keys", _DAEMON,
        "Fetch a disk's keys, sealed to the appliance", "获取封装给本设备的磁盘密钥",
        errors=_KEY_ERRORS,
    ),
    Operation(
        "disk.begin", "POST", "/v1/appliance/disks/{disk}/work:begin", _DAEMON,
        "Begin a work on a disk's keys", "开始磁盘密钥作业", errors=_KEY_ERRORS,
    ),
    Operation(
        "disk.commit", "POST", "/v1/appliance/disks/{disk}/work:commit", _DAEMON,
        "Say that the work's keys open the disk", "确认新密钥已能打开磁盘", errors=_KEY_ERRORS,
    ),
    Operation(
        "disk.finish", "POST", "/v1/appliance/disks/{disk}/work:finish", _DAEMON,
        "End a work and register the disk's header", "结束作业并登记磁盘头部", errors=_KEY_ERRORS,
    ),
)  # fmt: skip
