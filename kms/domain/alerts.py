"""The catalogue of alerts: what people are told of, how grave it is, from which number on.

An alert is raised once per space and subject, and cleared once its cause has been gone for a while.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How grave an alert is."""

    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Its place, the gravest last."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of the catalogue. ``threshold``: from which number of what it ``counts`` on it is
    raised, where a space's policy says nothing else. ``calm``: for how many seconds its cause must
    be gone before it is cleared. ``subject`` says what its subject names. ``each``: every further
    event is told while it is active, as of grave ones; of others a higher number alone.
    """

    severity: Severity
    threshold: int
    counts: str
    subject: str
    calm: int
    en: str
    zh: str
    todo_en: str
    todo_zh: str
    each: bool = False


_MINUTE, _HOUR, _DAY = 60, 3600, 24 * 3600
_N, _W, _C = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL

ALERTS: dict[str, Alert] = {
    "rotation-overdue": Alert(
        _W, 1, "open meetings whose key is older than its maximum age", "the space", 0,
        "Meeting keys are older than their maximum age", "会议密钥已超过最长使用期限",
        "See conclave rotation status and whether the space's token answers.",
        "请查看 conclave rotation status，并确认该空间的令牌有响应。",
    ),
    "vault-overdue": Alert(
        _W, 1, "days by which the vault key is beyond its cryptoperiod", "the space", 0,
        "A vault key is beyond its cryptoperiod", "保管库密钥已超过使用期限",
        "Hold a rotate-vault ceremony.", "请举行 rotate-vault 仪式。",
    ),
    "vault-retirable": Alert(
        _N, 1, "older vault keys that nothing depends on", "the space", 0,
        "An older vault key can be destroyed", "有旧版保管库密钥可以销毁",
        "See conclave vault status; ask for vault.retire: older backups open by it until then.",
        "请查看 conclave vault status，并申请 vault.retire：在此之前旧备份仍可用它打开。",
    ),
    "reseal-stuck": Alert(
        _W, 30, "minutes without progress while keys wait for the newest vault key", "the space",
        0,
        "Resealing to the new vault key makes no progress", "重新封装到新保管库密钥没有进展",
        "See GET /v1/vaults, and the log of the space's worker.",
        "请查看 GET /v1/vaults 与该空间工作进程的日志。",
    ),
    "bulk-fetch": Alert(
        _W, 3000, "envelopes released to one caller in a minute of the clock", "the caller",
        10 * _MINUTE,
        "A caller fetches envelopes in bulk", "调用方批量取回信封",
        "Ask who runs the caller; if nobody can say why, revoke it and rotate on suspicion.",
        "请询问该调用方的负责人；若无法说明原因，请撤销该接收方并以可疑为由轮换密钥。",
    ),
    "unusual-fetch": Alert(
        _N, 200,
        "envelopes released to one caller in an hour of the clock, if four times what it ever "
        "fetched around that hour of the day in the 14 days before",
        "the caller", _HOUR,
        "A caller fetches far more than it used to at this hour", "调用方取回量远超该时段以往水平",
        "Compare with the meetings of that hour; ask who runs the caller.",
        "请与该时段的会议核对，并询问该调用方的负责人。",
    ),
    "repeated-refusals": Alert(
        _W, 10, "requests and approvals of one caller refused within ten minutes of the clock",
        "the caller", 30 * _MINUTE,
        "A caller is refused again and again", "调用方屡遭拒绝",
        "Read its refusals in the log: a wrong role, or somebody trying.",
        "请在日志中查看其被拒记录：可能是角色配置有误，也可能是有人在试探。",
    ),
    "integrity-failure": Alert(
        _C, 1, "things found altered within an hour of the clock", "the space, or site", _DAY,
        "Stored data was found altered", "发现存储数据被篡改",
        "Stop, keep the disk as evidence, verify the log, restore the newest sound state.",
        "请停止服务，保留磁盘作为证据，核验日志，并恢复最近的完好状态。",
    ),
    "key-compromised": Alert(
        _C, 1, "keys marked compromised within an hour of the clock", "the space", _DAY,
        "Keys were marked compromised", "有密钥被标记为已泄露",
        "Read in the log whose keys they were; tell those who took part.",
        "请在日志中查明涉及的会议，并通知参会者。",
    ),
    "passkey-new": Alert(
        _W, 1, "approval passkeys enrolled or admitted in somebody's name within an hour of the "
        "clock", "the person", _DAY,
        "A new passkey for approvals", "新的批准专用通行密钥",
        "The person says whether it is theirs; if not, revoke it at once: conclave passkey revoke.",
        "请本人核对；若非本人登记或准许，请立即撤销：conclave passkey revoke。",
        each=True,
    ),
    "clock-jump": Alert(
        _W, 5, "seconds that the wall clock jumped, forwards or back", "the clock", _DAY,
        "The wall clock jumped", "系统时钟发生跳变",
        "Look at the time service, then at what was due meanwhile.",
        "请检查时间服务，并核对期间到期的事项。",
    ),
    "escrow-gap": Alert(
        _C, 1, "keys that could not be recovered", "the site", 0,
        "Keys could not be recovered from escrow", "有密钥无法从托管中恢复",
        "See conclave escrow status; hold a new-generation ceremony.",
        "请查看 conclave escrow status，并举行 new-generation 仪式。",
    ),
    "escrow-drill-overdue": Alert(
        _W, 1, "officers whose drill is overdue", "the site", 0,
        "Officers have not drilled recovery in time", "有人员未按时进行分片演习",
        "Hold a drill ceremony with those whom conclave escrow status names.",
        "请与 conclave escrow status 列出的人员举行 drill 仪式。",
    ),
    "escrow-owed": Alert(
        _W, 1, "escrow generations that a recovery left to be replaced", "the site", 0,
        "An escrow generation must be replaced", "须更换密钥托管的代",
        "Hold a new-generation ceremony.", "请举行 new-generation 仪式。",
    ),
    "hsm-trouble": Alert(
        _C, 2, "looks in a row at which a token's worker did not answer", "the token", 0,
        "An HSM token does not answer", "HSM 令牌没有响应",
        "Read the worker's log; see the HSM's own health.", "请查看工作进程日志与 HSM 自身状态。",
    ),
    "grant-forgotten": Alert(
        _N, 1, "grants that are not used, old, or of somebody unknown", "the space", 0,
        "Granted roles are forgotten", "有限时角色被遗忘",
        "See conclave grant list; revoke what nobody needs.",
        "请查看 conclave grant list，并撤回无人需要的授权。",
    ),
    "log-trouble": Alert(
        _C, 30, "seconds that the log could not be written, or its tail was not signed",
        "log or checkpoint", 0,
        "The audit log cannot be written or signed", "审计日志无法写入或签名",
        "See the disk and the site's token: no key is released meanwhile.",
        "请检查磁盘与站点令牌：期间不释放任何密钥。",
    ),
    "approval-waiting": Alert(
        _N, 4, "hours that a request waits (or three quarters of its life)", "the request", 0,
        "A request waits for approval", "有请求等待批准",
        "See conclave approval list.", "请查看 conclave approval list。",
    ),
    "disk-unknown": Alert(
        _N, 1, "device on which nothing of ours lies", "the device's serial number", 0,
        "A device is plugged in that is no enrolled disk", "插入了未登记的存储设备",
        "See conclave disk list; enrol it, or pull it out.",
        "请查看 conclave disk list，登记该设备或将其拔出。",
    ),
    "disk-quarantined": Alert(
        _C, 1, "disk that failed a check", "the device's serial number", 0,
        "A disk is quarantined", "磁盘已被隔离",
        "See conclave disk show; release it once you know who changed it, or keep it as evidence.",
        "请查看 conclave disk show；查明变动来源后再解除隔离，否则保留作为证据。",
    ),
    "disk-gone-open": Alert(
        _C, 1, "times within an hour of the clock that an open disk was gone",
        "the device's serial number", _DAY,
        "A disk was pulled out while it was open", "磁盘在打开状态下被拔出",
        "Find the disk; what was being written may be lost.",
        "请找回该磁盘；正在写入的数据可能已丢失。",
    ),
    "disk-recovery-overdue": Alert(
        _W, 1, "disks whose recovery key should have been tested a week ago", "the space", 0,
        "Recovery keys of disks were not tested in time", "磁盘恢复密钥未按时验证",
        "Plug the disks in, or order verify-recovery: conclave disk list.",
        "请插入磁盘，或下达 verify-recovery 指令：conclave disk list。",
    ),
    "disk-order-failed": Alert(
        _W, 1, "orders about a disk that failed within an hour of the clock",
        "the device's serial number", _DAY,
        "The appliance could not do what was ordered with a disk", "设备未能执行磁盘指令",
        "See conclave disk orders for the cause, then order it again.",
        "请查看 conclave disk orders 了解原因，然后重新下达指令。",
    ),
    "seal": Alert(
        _C, 1, "seal", "the space, or site", 0,
        "An officer has sealed it: no key operation", "已紧急封存：不进行任何密钥操作",
        "Unsealing is a ceremony of kind unseal.", "解除封存须举行 unseal 仪式。",
    ),
    "delivery-failed": Alert(
        _W, 3, "minutes that a notification channel has failed", "the channel", 0,
        "A notification channel does not deliver", "通知渠道无法投递",
        "See conclave status and the service's log: what waits is delivered later, in order.",
        "请查看 conclave status 与服务日志：未投递的内容稍后按序补发。",
    ),
}  # fmt: skip


def severity_of(alert: str) -> Severity:
    """Return how grave an alert is; a warning if only a newer version knows it."""
    known = ALERTS.get(alert)
    return known.severity if known else Severity.WARNING


@dataclass(frozen=True, slots=True)
class Condition:
    """A cause that was seen: ``number`` as the alert counts it, ``text`` a short word in English,
    without secrets. ``space`` is empty for the site's own.
    """

    alert: str
    space: str
    subject: str
    number: int
    text: str = ""

    @property
    def key(self) -> "AlertKey":
        """What it is one of."""
        return (self.alert, self.space, self.subject)


AlertKey = tuple[str, str, str]
"""Alert, space and subject: at most one is active at a time."""


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """An alert that was raised and not cleared. ``since`` is RFC 3339, ``seq`` its leaf's sequence
    number: -1 while the log cannot be written. ``again``: when it was told last, empty for once.
    """

    alert: str
    space: str
    subject: str
    number: int
    text: str
    since: str
    seq: int
    again: str = ""

    @property
    def key(self) -> AlertKey:
        """What it is one of."""
        return (self.alert, self.space, self.subject)

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return severity_of(self.alert)
