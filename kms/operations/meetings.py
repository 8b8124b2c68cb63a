"""Meetings, their rosters, epochs and envelopes."""

from kms.operations.table import (
    CHANGE_ERRORS,
    CREATE_ERRORS,
    ENVELOPE,
    EPOCHS,
    KEPT,
    MEETING,
    MEETINGS,
    OFFICER,
    OPEN,
    READ_ERRORS,
    READERS,
    ROSTER,
    ROSTER_ERRORS,
    SERVER,
    Operation,
)

TABLE = (
    Operation(
        "meeting.open", "POST", MEETINGS, frozenset({SERVER}),
        "Open a meeting and mint its first epoch", "开启会议并生成首个密钥周期",
        creates=True, errors=(*CREATE_ERRORS, "already_exists", "precondition_failed"),
    ),
    Operation(
        "meeting.list", "GET", MEETINGS, READERS,
        "List a space's meetings", "列出空间内的会议", errors=READ_ERRORS,
    ),
    Operation(
        "meeting.read", "GET", MEETING, READERS,
        "Show a meeting with its roster and epochs", "查看会议及其名册与密钥周期",
        errors=READ_ERRORS,
    ),
    Operation(
        "meeting.close", "POST", MEETING + ":close", frozenset({SERVER, OFFICER}),
        "End a meeting", "结束会议", states=OPEN, errors=CHANGE_ERRORS,
    ),
    Operation(
        "roster.read", "GET", ROSTER, READERS,
        "Show a meeting's roster", "查看会议名册", errors=READ_ERRORS,
    ),
    Operation(
        "roster.change", "PUT", ROSTER, frozenset({SERVER}),
        "Replace a meeting's roster; joins and leaves rotate the key",
        "更换会议名册；有人加入或离开即轮换密钥",
        states=OPEN, errors=ROSTER_ERRORS,
    ),
    Operation(
        "roster.amend", "PATCH", ROSTER, frozenset({SERVER}),
        "Add recipients to a trusted meeting's roster or remove them",
        "在受信空间的会议名册中增减接收方",
        states=OPEN, errors=ROSTER_ERRORS, action="roster.change",
    ),
    Operation(
        "epoch.list", "GET", EPOCHS, READERS,
        "List a meeting's epochs", "列出会议的密钥周期", errors=READ_ERRORS,
    ),
    Operation(
        "epoch.rotate", "POST", EPOCHS + ":rotate", frozenset({SERVER, OFFICER}),
        "Rotate a meeting's key by hand", "手动轮换会议密钥",
        states=OPEN, creates=True, errors=CREATE_ERRORS,
    ),
    Operation(
        "epoch.read", "GET", EPOCHS + "/{epoch}", READERS,
        "Show an epoch with its signed manifest", "查看密钥周期及其签名清单", errors=READ_ERRORS,
    ),
    Operation(
        "envelope.fetch", "GET", ENVELOPE, frozenset({SERVER}),
        "Fetch the caller's own envelope (trusted spaces)", "取回本方信封（受信空间）",
        states=KEPT, errors=(*CHANGE_ERRORS, "assertion_required"),
    ),
    Operation(
        "envelope.relay", "GET", ENVELOPE, frozenset({SERVER}),
        "Relay a device's envelope that the caller cannot open (roster spaces)",
        "转交设备的信封，转交方无法打开（名册空间）",
        states=KEPT, errors=(*CHANGE_ERRORS, "assertion_required"),
    ),
    Operation(
        "envelope.batch", "POST", "/v1/envelopes:batch", frozenset({SERVER}),
        "Fetch or relay many envelopes at once", "批量取回或转交信封",
        errors=("audit_unavailable",),
    ),
    Operation(
        "event.follow", "GET", "/v1/events", READERS,
        "Follow changes of meetings as server-sent events", "以事件流跟踪会议变化",
    ),
)  # fmt: skip
