"""Stopping keys and keeping what must be kept: one officer, at once. What starts again or destroys
is approved by several people.
"""

from kms.operations.table import (
    CHANGE_ERRORS,
    CREATE_ERRORS,
    EPOCHS,
    KEPT,
    MEETING,
    OFFICER,
    OPEN,
    READ_ERRORS,
    WATCHERS,
    Operation,
)

_EPOCH = EPOCHS + "/{epoch}"
_HOLDS = "/v1/spaces/{space}/holds"

TABLE = (
    Operation(
        "epoch.suspend", "POST", _EPOCH + ":suspend", frozenset({OFFICER}),
        "Suspend a meeting's present key: it is no longer served",
        "暂停会议当前密钥：不再提供", states=OPEN, errors=(*READ_ERRORS, "state_not_allowed"),
    ),
    Operation(
        "epoch.compromise", "POST", _EPOCH + ":compromise", frozenset({OFFICER}),
        "Mark a key compromised and replace it if it is in use",
        "标记密钥已泄露，如在使用则立即更换", states=KEPT, errors=CHANGE_ERRORS,
    ),
    Operation(
        "meeting.compromise", "POST", MEETING + ":compromise", frozenset({OFFICER}),
        "Mark every key of a meeting compromised", "标记会议的全部密钥已泄露",
        states=KEPT, errors=CHANGE_ERRORS, action="epoch.compromise",
    ),
    Operation(
        "hold.place", "POST", _HOLDS, frozenset({OFFICER}),
        "Place a legal hold on a meeting or on the whole space",
        "对会议或整个空间设立法律保全", creates=True, errors=CREATE_ERRORS,
    ),
    Operation(
        "hold.list", "GET", _HOLDS, WATCHERS,
        "List a space's legal holds", "列出空间的法律保全", errors=READ_ERRORS,
    ),
    Operation(
        "certificate.read", "GET", "/v1/certificates/{request}", WATCHERS,
        "Read the certificate of what an approved request destroyed",
        "读取经批准的销毁或擦除的证书", errors=READ_ERRORS,
    ),
)  # fmt: skip
