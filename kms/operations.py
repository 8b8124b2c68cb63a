"""The one table of operations: method, path, who, in which states. It decides nothing itself.

API, policy test, CLI and documentation read it. An operation's id is also its name in the policy
and in the audit log.
"""

from dataclasses import dataclass

from kms.domain.models import Role
from kms.domain.states import MeetingState


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a caller can ask for.

    ``states``: the meeting states in which it is allowed (empty: any, or no meeting involved).
    ``creates``: it makes something new, so it wants an Idempotency-Key. ``errors``: stable codes
    beyond those that every operation can answer with (COMMON_ERRORS). ``action``: the name under
    which policy and log know it, where that is another operation's.
    """

    id: str
    method: str
    path: str
    roles: frozenset[Role]
    summary_en: str
    summary_zh: str
    states: frozenset[MeetingState] = frozenset()
    creates: bool = False
    errors: tuple[str, ...] = ()
    action: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Method and path: fetch and relay share one."""
        return self.method, self.path


COMMON_ERRORS = (
    "invalid_input",
    "unauthenticated",
    "forbidden",
    "too_large",
    "request_timeout",
    "integrity_failure",
    "unavailable",
    "hsm_unavailable",
    "store_unavailable",
    "internal_error",
)
"""``hsm_unavailable`` because a server's registration is a row that a worker checks."""

_SERVER = Role.MEETING_SERVER
_OFFICER = Role.OFFICER
_AUDITOR = Role.AUDITOR
_OPERATOR = Role.OPERATOR
_EVERYONE = frozenset(Role)
_READERS = frozenset({_SERVER, _OFFICER, _AUDITOR})
_WATCHERS = frozenset({_OFFICER, _AUDITOR, _OPERATOR})
_OPEN = frozenset({MeetingState.OPEN})
_KEPT = frozenset({MeetingState.OPEN, MeetingState.CLOSED})

_MEETINGS = "/v1/spaces/{space}/meetings"
_MEETING = _MEETINGS + "/{meeting}"
_ROSTER = _MEETING + "/roster"
_EPOCHS = _MEETING + "/epochs"
_ENVELOPE = _EPOCHS + "/{epoch}/envelopes/{recipient}"

_READ_ERRORS = ("not_found",)
_CHANGE_ERRORS = (*_READ_ERRORS, "state_not_allowed", "audit_unavailable")
_MINT_ERRORS = (*_CHANGE_ERRORS, "verification_failed")
_CREATE_ERRORS = (*_MINT_ERRORS, "idempotency_key_reused")
_ROSTER_ERRORS = (*_MINT_ERRORS, "precondition_failed")

_TABLE = (
    Operation(
        "meeting.open", "POST", _MEETINGS, frozenset({_SERVER}),
        "Open a meeting and mint its first epoch", "开启会议并生成首个密钥周期",
        creates=True, errors=(*_CREATE_ERRORS, "already_exists", "precondition_failed"),
    ),
    Operation(
        "meeting.list", "GET", _MEETINGS, _READERS,
        "List a space's meetings", "列出空间内的会议", errors=_READ_ERRORS,
    ),
    Operation(
        "meeting.read", "GET", _MEETING, _READERS,
        "Show a meeting with its roster and epochs", "查看会议及其名册与密钥周期",
        errors=_READ_ERRORS,
    ),
    Operation(
        "meeting.close", "POST", _MEETING + ":close", frozenset({_SERVER, _OFFICER}),
        "End a meeting", "结束会议", states=_OPEN, errors=_CHANGE_ERRORS,
    ),
    Operation(
        "meeting.destroy", "POST", _MEETING + ":destroy", frozenset({_OFFICER}),
        "Destroy every envelope of a closed meeting", "销毁已结束会议的全部信封",
        states=frozenset({MeetingState.CLOSED}), errors=_CHANGE_ERRORS,
    ),
    Operation(
        "roster.read", "GET", _ROSTER, _READERS,
        "Show a meeting's roster", "查看会议名册", errors=_READ_ERRORS,
    ),
    Operation(
        "roster.change", "PUT", _ROSTER, frozenset({_SERVER}),
        "Replace a meeting's roster; joins and leaves rotate the key",
        "更换会议名册；有人加入或离开即轮换密钥",
        states=_OPEN, errors=_ROSTER_ERRORS,
    ),
    Operation(
        "roster.amend", "PATCH", _ROSTER, frozenset({_SERVER}),
        "Add recipients to a trusted meeting's roster or remove them",
        "在受信空间的会议名册中增减接收方",
        states=_OPEN, errors=_ROSTER_ERRORS, action="roster.change",
    ),
    Operation(
        "epoch.list", "GET", _EPOCHS, _READERS,
        "List a meeting's epochs", "列出会议的密钥周期", errors=_READ_ERRORS,
    ),
    Operation(
        "epoch.rotate", "POST", _EPOCHS + ":rotate", frozenset({_SERVER, _OFFICER}),
        "Rotate a meeting's key by hand", "手动轮换会议密钥",
        states=_OPEN, creates=True, errors=_CREATE_ERRORS,
    ),
    Operation(
        "epoch.read", "GET", _EPOCHS + "/{epoch}", _READERS,
        "Show an epoch with its signed manifest", "查看密钥周期及其签名清单", errors=_READ_ERRORS,
    ),
    Operation(
        "envelope.fetch", "GET", _ENVELOPE, frozenset({_SERVER}),
        "Fetch the caller's own envelope (trusted spaces)", "取回本方信封（受信空间）",
        states=_KEPT, errors=_CHANGE_ERRORS,
    ),
    Operation(
        "envelope.relay", "GET", _ENVELOPE, frozenset({_SERVER}),
        "Relay a device's envelope that the caller cannot open (roster spaces)",
        "转交设备的信封，转交方无法打开（名册空间）",
        states=_KEPT, errors=_CHANGE_ERRORS,
    ),
    Operation(
        "envelope.batch", "POST", "/v1/envelopes:batch", frozenset({_SERVER}),
        "Fetch or relay many envelopes at once", "批量取回或转交信封",
        errors=("audit_unavailable",),
    ),
    Operation(
        "event.follow", "GET", "/v1/events", _READERS,
        "Follow changes of meetings as server-sent events", "以事件流跟踪会议变化",
    ),
    Operation(
        "status.read", "GET", "/v1/status", _WATCHERS,
        "Show the state of log, workers and key operations", "查看日志、工作进程与密钥操作状态",
    ),
    Operation(
        "rotation.read", "GET", "/v1/rotation", _WATCHERS,
        "Show the rotation of every open meeting", "查看各进行中会议的密钥轮换情况",
    ),
    Operation(
        "escrow.read", "GET", "/v1/escrow", _WATCHERS,
        "Show escrow: generations, whether every key is covered, drills, what is owed",
        "查看密钥托管：各代、覆盖情况、演练与待办",
    ),
    Operation(
        "metrics.read", "GET", "/v1/metrics", frozenset({_OPERATOR, _AUDITOR}),
        "Metrics in Prometheus text format", "Prometheus 格式的运行指标",
    ),
    Operation(
        "health.live", "GET", "/v1/health/live", _EVERYONE,
        "Whether the process answers", "进程是否响应",
    ),
    Operation(
        "health.ready", "GET", "/v1/health/ready", _EVERYONE,
        "Whether key operations are possible", "是否可以进行密钥操作",
        errors=("audit_unavailable",),
    ),
    Operation(
        "space.list", "GET", "/v1/spaces", _EVERYONE,
        "List the spaces that the caller may know of", "列出调用方可见的空间",
    ),
    Operation(
        "recipient.list", "GET", "/v1/recipients", _EVERYONE,
        "List registered recipients", "列出已登记的接收方",
    ),
    Operation(
        "key-list.read", "GET", "/v1/key-list", _EVERYONE,
        "The site's signed list of signing keys", "站点签名密钥清单",
    ),
    Operation(
        "hsm.read", "GET", "/v1/hsm", _WATCHERS,
        "What each HSM token says of itself", "查看各 HSM 令牌信息",
    ),
    Operation(
        "audit.checkpoint", "GET", "/v1/audit/checkpoint", frozenset({_AUDITOR}),
        "The newest signed checkpoint", "最新的签名检查点", errors=("not_found",),
    ),
    Operation(
        "audit.checkpoints", "GET", "/v1/audit/checkpoints", frozenset({_AUDITOR}),
        "List signed checkpoints", "列出签名检查点",
    ),
    Operation(
        "audit.leaves", "GET", "/v1/audit/leaves", frozenset({_AUDITOR}),
        "Read the log's leaves", "读取日志条目",
    ),
    Operation(
        "audit.proof", "GET", "/v1/audit/proofs/{leaf}", frozenset({_AUDITOR}),
        "Prove that a leaf is in the log", "证明日志条目在日志之中", errors=("not_found",),
    ),
    Operation(
        "audit.consistency", "GET", "/v1/audit/consistency", frozenset({_AUDITOR}),
        "Prove that the log was only appended to", "证明日志只增不改", errors=("not_found",),
    ),
    Operation(
        "audit.manifests", "GET", "/v1/audit/manifests", frozenset({_AUDITOR}),
        "List the manifests of a space's epochs for evidence", "列出取证所需的密钥周期清单",
        errors=_READ_ERRORS,
    ),
)  # fmt: skip

OPERATIONS: dict[str, Operation] = {operation.id: operation for operation in _TABLE}
"""Every operation by its id."""
