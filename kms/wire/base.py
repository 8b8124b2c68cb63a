"""The kinds of values that cross the wire: bounded, strict, without NUL or broken Unicode."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from kms.domain.ids import MAX_EPOCH

MAX_SAFE = 2**53 - 1
MAX_RECIPIENTS = 1000
MAX_PAGE = 500
MAX_BATCH = 200


class Wire(BaseModel):
    """A message: frozen, no coercion, unknown fields refused."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("NUL is not text")
    return text


Text = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_without_nul)]
Count = Annotated[int, Field(ge=0, le=MAX_SAFE)]
EpochNumber = Annotated[int, Field(ge=0, le=MAX_EPOCH)]
Space = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}$")]
Meeting = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
    ),
]
Recipient = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
Recipients = Annotated[tuple[Recipient, ...], Field(max_length=MAX_RECIPIENTS)]
Jws = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$", max_length=4 << 20
    ),
]
Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=1 << 16)]
Time = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")]


def rfc3339(seconds: int) -> str:
    """Return whole seconds since 1970 as an RFC 3339 time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
