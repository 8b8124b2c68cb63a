"""What somebody is about to ask for at the board: from a form's fields to exact parameters."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from msgspec import ValidationError, convert, to_builtins

from kms.domain.approvals import RULES, GrantWish
from kms.domain.ids import parse_space
from kms.domain.text import check_reason
from kms.errors import InvalidInput
from kms.site_time import zone
from kms.statements.request import OperationRequest

FIELDS = (
    "operation", "space", "reason", "open", "principal", "role", "starts", "lasts", "hold",
    "meeting", "epoch", "report",
)  # fmt: skip
"""The form's, whatever is asked for."""
OPERATIONS = ("grant.create", "hold.lift", "epoch.resume", "report.unmask")
"""What is asked for here; all else has its own terms and is asked for with the command."""
_HOUR, _DAY = 3600, 24 * 3600
OPEN = (8 * _HOUR, _DAY, 2 * _DAY, 7 * _DAY)
"""For how long a request can be open."""
LASTS = (8 * _HOUR, _DAY, 7 * _DAY, 30 * _DAY, 90 * _DAY)
"""For how long a grant can be asked for."""
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody is about to ask for, and the form's fields as they were ``typed``. ``lasts``:
    of a grant, how many seconds; its ``starts`` is 0 for as soon as it is asked for.
    """

    typed: Mapping[str, str]
    operation: str
    space: str
    parameters: dict[str, Any]
    reason: str
    open_seconds: int
    lasts: int = 0
    wanted: OperationRequest | None = None


def draft_of(typed: Mapping[str, str]) -> Draft:
    """Return what the form's FIELDS ask for; raise InvalidInput."""
    operation, reason = typed["operation"], typed["reason"].replace("\r\n", "\n").strip()
    if operation not in OPERATIONS:
        raise InvalidInput("this is not asked for at the board")
    space = "" if RULES[operation].site else parse_space(typed["space"])
    check_reason(reason)
    lasts = _choice(typed["lasts"], LASTS) if RULES[operation].parameters is GrantWish else 0
    open_seconds = _choice(typed["open"], OPEN)
    return Draft(typed, operation, space, _parameters(typed), reason, open_seconds, lasts)


def _parameters(typed: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters as the form gives them; those of a grant's time are settled later."""
    kind = RULES[typed["operation"]].parameters
    if kind is GrantWish:
        starts = _moment(typed["starts"])
        return {"principal": typed["principal"].strip(), "role": typed["role"],
                "starts": starts, "expires": 0}  # fmt: skip
    found: dict[str, Any] = {}
    for one in fields(kind):
        text = typed[one.name].strip()
        found[one.name] = _whole(text) if one.type is int else text
    return found


def _whole(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise InvalidInput("this is a number from 0")
    return int(text)


def _choice(text: str, choices: tuple[int, ...]) -> int:
    if text not in map(str, choices):
        raise InvalidInput("choose one of the lengths of time that are offered")
    return int(text)


def _moment(text: str) -> int:
    """Return a time of a form, which is the site's, in seconds, 0 for none."""
    if not text:
        return 0
    try:
        return int(datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=zone()).timestamp())
    except ValueError as error:
        raise InvalidInput("a time reads like 2026-11-22T09:00") from error


def exact(draft: Draft, now: int) -> dict[str, Any]:
    """Return the parameters in their exact form; raise InvalidInput."""
    given = dict(draft.parameters)
    if draft.lasts:
        given["starts"] = given["starts"] or now
        given["expires"] = given["starts"] + draft.lasts
    try:
        kind = RULES[draft.operation].parameters
        exact: dict[str, Any] = to_builtins(convert(given, kind))
    except ValidationError as error:
        raise InvalidInput("the form is not filled in as it must be") from error
    return exact
