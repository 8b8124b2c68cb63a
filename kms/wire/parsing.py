"""Strict JSON (RFC 8259, I-JSON of RFC 7493): what two readers could read differently is refused.

Refused: invalid UTF-8, NaN and infinities, fractions and exponents, integers beyond 2**53, a key
named twice, NUL, lone surrogates, nesting without end.
"""

import json
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from kms.errors import InvalidInput
from kms.wire.base import MAX_SAFE

_M = TypeVar("_M", bound=BaseModel)
_MAX_DIGITS = 17
_SHOWN, _MOST_SHOWN = 3, 64
_OURS = "Value error, "
"""What Pydantic puts before the words of a rule of ours."""


def parse(data: bytes, kind: type[_M]) -> _M:
    """Return the message; raise InvalidInput that names the field, never its value."""
    load(data)
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise InvalidInput(explain(error)) from None


def load(data: bytes) -> Any:
    """Return the builtins of one strict JSON text; raise InvalidInput."""
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidInput("the body is not UTF-8") from None
    except RecursionError:
        raise InvalidInput("the body is nested too deeply") from None
    except json.JSONDecodeError:
        raise InvalidInput("the body is not JSON") from None
    if b"\\u" in data:  # only an escape can smuggle in a NUL or a lone surrogate
        _check_text(value)
    return value


def explain(error: ValidationError) -> str:
    """Return where a message is wrong, and how, without repeating any value."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    parts = [
        f"{'.'.join(map(_name, fault['loc'])) or 'body'}: {fault['msg'].removeprefix(_OURS)}"
        for fault in faults[:_SHOWN]
    ]
    return "; ".join(parts)


def _name(step: int | str) -> str:
    text = str(step)
    short = text.isascii() and text.isprintable() and len(text) <= _MOST_SHOWN
    return text if short else "(unknown)"


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS or abs(int(digits)) > MAX_SAFE:
        raise InvalidInput("an integer is beyond 2**53")
    return int(digits)


def _refuse(_number: str) -> NoReturn:
    raise InvalidInput("numbers are integers here")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidInput("a key is named twice")
    return found


def _check_text(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise InvalidInput("text holds a NUL or half a character")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check_text(item)
    elif isinstance(value, list):
        for item in value:
            _check_text(item)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_refuse, parse_constant=_refuse
)
