"""The closed table of what the log may speak of. The verifier refuses every other action."""

from dataclasses import dataclass

from kms.audit.leaf import Phase


@dataclass(frozen=True, slots=True)
class Action:
    """What an action means to a reader, and in which phases its leaves stand."""

    zh: str
    en: str
    phases: frozenset[Phase]


_EVENT = frozenset({Phase.EVENT})
_OPERATION = frozenset({Phase.INTENT, Phase.RESULT})

ACTIONS: dict[str, Action] = {
    "meeting.open": Action(
        "开启会议并生成首个密钥周期", "Meeting opened with its first key", _OPERATION
    ),
    "roster.change": Action("变更会议名册并轮换密钥", "Roster changed, key rotated", _OPERATION),
    "epoch.rotate": Action("轮换会议密钥", "Meeting key rotated", _OPERATION),
    "epoch.activate": Action("预先发布的密钥周期激活", "Key published ahead became active", _EVENT),
    "meeting.close": Action("结束会议", "Meeting closed", _EVENT),
    "meeting.destroy": Action("销毁会议密钥", "Meeting keys destroyed", _EVENT),
    "envelope.fetch": Action("会议服务器取回信封", "Key envelope fetched by a server", _EVENT),
    "envelope.relay": Action("向参会设备转交信封", "Key envelope relayed to a device", _EVENT),
    "space.create": Action("建立空间", "Space created", _EVENT),
    "recipient.register": Action("登记接收方", "Recipient registered", _EVENT),
    "space.retire": Action("停用空间", "Space retired", _EVENT),
    "space.destroy": Action("销毁空间", "Space destroyed", _EVENT),
    "recipient.revoke": Action("撤销接收方", "Recipient revoked", _EVENT),
    "ceremony.run": Action("举行密钥仪式", "Key ceremony held", _OPERATION),
    "ceremony.refused": Action("拒绝仪式批准", "Approval of a ceremony refused", _EVENT),
    "register.change": Action("签发人员登记册", "Register of people issued", _EVENT),
    "key-list.issue": Action("签发密钥清单", "Key list issued", _EVENT),
    "escrow.generate": Action("生成新一代密钥托管", "Escrow generation made", _EVENT),
    "escrow.rewrap": Action(
        "将密钥重新包装给新一代密钥托管", "Keys wrapped to an escrow generation", _EVENT
    ),
    "escrow.destroy": Action("销毁旧一代密钥托管", "Escrow generation destroyed", _EVENT),
    "escrow.drill": Action("分片演习", "Recovery drilled", _EVENT),
    "escrow.recover": Action("从托管恢复密钥", "Keys recovered from escrow", _EVENT),
    "escrow.recover-disk": Action(
        "从托管恢复磁盘的恢复密钥", "Recovery key of a disk recovered from escrow", _EVENT
    ),
    "vault.rewrap": Action("将密钥交予新保管库", "Keys wrapped to a new vault", _EVENT),
    "site.restore": Action("在新 HSM 上恢复站点", "Site restored onto a new HSM", _EVENT),
    "epoch.suspend": Action("暂停密钥周期", "Key suspended", _EVENT),
    "epoch.resume": Action("恢复使用密钥周期", "Key taken into use again", _EVENT),
    "epoch.compromise": Action("标记密钥已泄露", "Key marked compromised", _EVENT),
    "epoch.destroy": Action("销毁密钥周期的密钥", "Key of an epoch destroyed", _EVENT),
    "destruction.certify": Action("签发销毁证书", "Destruction certificate issued", _EVENT),
    "hold.place": Action("设立法律保全", "Legal hold placed", _EVENT),
    "hold.lift": Action("解除法律保全", "Legal hold lifted", _EVENT),
    "policy.change": Action("变更空间策略", "Space's policy changed", _EVENT),
    "site-policy.change": Action("变更站点访问策略", "Site's access policies changed", _EVENT),
    "grant.create": Action("授予限时角色", "Role granted for a time", _EVENT),
    "grant.revoke": Action("撤回限时角色", "Granted role revoked", _EVENT),
    "meeting.share": Action("与另一空间共享会议密钥", "Meeting shared with a space", _EVENT),
    "media.report": Action("报告媒体加密方式", "Media cipher reported", _EVENT),
    "approval.request": Action("提出审批请求", "Approval requested", _EVENT),
    "approval.sign": Action("批准请求", "Request approved by a person", _EVENT),
    "approval.cancel": Action("取消审批请求", "Request cancelled", _EVENT),
    "approval.refused": Action("拒绝审批", "Approval or request refused", _EVENT),
    "space.seal": Action("紧急封存空间", "Space sealed", _EVENT),
    "space.unseal": Action("解除空间封存", "Space unsealed", _EVENT),
    "site.seal": Action("紧急封存设备", "Whole box sealed", _EVENT),
    "site.unseal": Action("解除设备封存", "Whole box unsealed", _EVENT),
    "vault.retire": Action("销毁旧版保管库密钥", "Older vault key destroyed", _EVENT),
    "reseal.pause": Action("暂停重新封装", "Resealing paused", _EVENT),
    "reseal.resume": Action("继续重新封装", "Resealing resumed", _EVENT),
    "clock.jump": Action("时钟跳变", "Wall clock jumped", _EVENT),
    "alert.raise": Action("发出告警", "Alert raised", _EVENT),
    "alert.clear": Action("告警解除", "Alert cleared", _EVENT),
    "disk.enroll": Action("登记加密磁盘", "Encrypted disk enrolled", _EVENT),
    "disk.change": Action("变更磁盘标签或挂载策略", "Disk's label or mount policy changed", _EVENT),
    "disk.keys": Action(
        "向磁盘设备释放磁盘密钥", "Disk keys released to the appliance", _OPERATION
    ),
    "disk.begin": Action("开始更换磁盘密钥", "Work on a disk's keys begun", _OPERATION),
    "disk.commit": Action("启用新的磁盘密钥", "New disk keys taken into use", _EVENT),
    "disk.finish": Action("完成更换磁盘密钥", "Work on a disk's keys finished", _EVENT),
    "disk.rotate-kek": Action("更换磁盘 KEK", "Disk's KEK rotated", _OPERATION),
    "disk.order": Action("向磁盘设备下达指令", "Order given to the appliance", _EVENT),
    "disk-order.report": Action("磁盘设备报告指令结果", "Order's end reported", _EVENT),
    "device.report": Action("报告存储设备状态", "State of a device reported", _EVENT),
    "disk.erase": Action("销毁密钥以擦除磁盘", "Disk erased by destroying its keys", _EVENT),
    "erasure.certify": Action("签发擦除证书", "Certificate of erasure issued", _EVENT),
    "passkey.invite": Action("邀请登记通行密钥", "Invitation to enrol a passkey", _EVENT),
    "passkey.enroll": Action("登记通行密钥", "Passkey enrolled", _EVENT),
    "passkey.admit": Action("准许通行密钥用于批准", "Passkey admitted for approvals", _EVENT),
    "passkey.revoke": Action("撤销通行密钥", "Passkey revoked", _EVENT),
    "session.start": Action("登录看板", "Signed in to the board", _EVENT),
    "session.confirm": Action("再次验证身份", "Identity confirmed again", _EVENT),
    "session.end": Action("结束看板会话", "Session of the board ended", _EVENT),
    "session.refused": Action("拒绝登录看板", "Sign-in to the board refused", _EVENT),
    "report.make": Action("生成密码应用合规报告", "Compliance report made", _EVENT),
    "report.unmask": Action("准许导出完整姓名", "Full names in a report approved", _EVENT),
    "report.evidence": Action("取走报告的证据包", "Evidence bundle of a report taken", _EVENT),
    "audit.evidence": Action("取走整个日志的证据包", "Evidence bundle of the log taken", _EVENT),
    "report.export": Action("导出密码应用合规报告", "Compliance report exported", _EVENT),
    "service.start": Action("服务启动", "Service started", _EVENT),
    "service.recover": Action("服务恢复", "Service recovered", _EVENT),
    "access.refused": Action("拒绝访问", "Access refused", _EVENT),
    "integrity.failure": Action("发现数据被篡改", "Stored data found altered", _EVENT),
}

MINTING = frozenset({"meeting.open", "roster.change", "epoch.rotate"})
REWRAPPING = frozenset({"escrow.rewrap", "vault.rewrap"})
SITE_SEALS = {"site.seal": True, "site.unseal": False}
"""Whether the whole box is sealed after such a leaf."""
UNSEALS = frozenset({"space.unseal", "site.unseal"})
SERVING = frozenset({"envelope.fetch", "envelope.relay"})
