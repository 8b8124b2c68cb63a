"""What a request is to be about: from --set and --parameters to the exact form of its operation."""

import re
import time
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kms.cli.inputs import read_text
from kms.domain.approvals import RULES
from kms.errors import InvalidInput

_SPAN = re.compile(r"([1-9][0-9]{0,8})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
_TRUTHS = {"true": True, "false": False}
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)


def parameters_of(operation: str, settings: list[str], file: Path | None) -> dict[str, Any]:
    """Return the parameters in their exact form, defaults spelled out; raise InvalidInput."""
    import msgspec  # noqa: PLC0415 -- heavy

    from kms.wire.parsing import load  # noqa: PLC0415 -- heavy

    rule = RULES.get(operation)
    if rule is None:
        raise InvalidInput(
            f"{operation} is nothing that is approved", hint=f"one of: {', '.join(RULES)}"
        )
    given = load(read_text(file).encode()) if file else {}
    if not isinstance(given, dict):
        raise InvalidInput(f"{file} is not a JSON object")
    kinds = {one.name: one.type for one in fields(rule.parameters)}
    for item in settings:
        name, _equals, text = item.partition("=")
        if name not in kinds or not _equals:
            raise InvalidInput(f"--set takes NAME=VALUE with one of: {', '.join(kinds)}")
        given[name] = _value(name, text, kinds[name])
    _refuse_others(given, kinds)
    try:
        exact: dict[str, Any] = msgspec.to_builtins(msgspec.convert(given, rule.parameters))
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the parameters of {operation}: {error}") from error
    return exact


def seconds_of(text: str) -> int:
    """Return a span such as 90s, 30m, 8h or 2d in seconds; raise InvalidInput."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise InvalidInput("a span is a number and s, m, h or d, such as 8h or 2d")
    return int(found[1]) * _UNITS[found[2]]


def _refuse_others(given: dict[str, Any], kinds: dict[str, Any]) -> None:
    others = [name for name in given if name not in kinds]
    if others:
        raise InvalidInput(f"no such parameter: {others[0]}", hint=f"one of: {', '.join(kinds)}")


def _value(name: str, text: str, kind: Any) -> str | int | bool:
    if kind is bool:
        return _truth(name, text)
    if kind is not int:
        return text
    if _NUMBER.fullmatch(text):
        return int(text)
    if text == "now":
        return int(time.time())
    if text.startswith("+"):
        return int(time.time()) + seconds_of(text[1:])
    try:
        return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise InvalidInput(
            f"{name} is a whole number, or of a time: now, +8h or 2026-11-22T09:00:00Z"
        ) from None


def _truth(name: str, text: str) -> bool:
    if text not in _TRUTHS:
        raise InvalidInput(f"{name} is true or false")
    return _TRUTHS[text]
