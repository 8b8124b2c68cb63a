"""One request, parsed at the edge: path, query, body, conditions. Doubt is refused."""

import re
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel
from starlette.requests import Request

from kms.api.identity import PRINCIPAL
from kms.domain.ids import (
    DiskId,
    MeetingId,
    RecipientId,
    SpaceName,
    parse_disk,
    parse_epoch,
    parse_meeting,
    parse_order,
    parse_recipient,
    parse_request_id,
    parse_serial,
    parse_space,
)
from kms.domain.models import Principal
from kms.domain.passkeys import parse_credential
from kms.domain.reports import parse_report
from kms.errors import InvalidInput, UnsupportedMediaType
from kms.operations import Operation
from kms.statements.canonical import digest
from kms.usecases.services import Call, Services
from kms.wire.base import MAX_PAGE
from kms.wire.parsing import parse

CURRENT = "current"
_M = TypeVar("_M", bound=BaseModel)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}", re.ASCII)
_TAG = re.compile(r'"([1-9][0-9]{0,14})"', re.ASCII)
_MAX_FIELDS = 8
_PAGE = 100


@dataclass(frozen=True, slots=True)
class Context:
    """A request to one operation. ``digest`` covers method, path, query and body."""

    services: Services
    request: Request
    operation: Operation
    principal: Principal
    body: bytes
    digest: str

    @classmethod
    async def read(cls, services: Services, request: Request, operation: Operation) -> "Context":
        """Return the context once the body has arrived; raise TooLarge, UnsupportedMediaType."""
        scope = request.scope
        body = b"" if operation.method == "GET" else await request.body()
        if body and request.headers.get("content-type", "").lower().replace(" ", "") not in _JSON:
            raise UnsupportedMediaType("send JSON: content-type application/json")
        line = b"%b %b?%b\n" % (
            operation.method.encode(), scope["raw_path"], scope["query_string"],
        )  # fmt: skip
        principal: Principal = scope[PRINCIPAL]
        return cls(services, request, operation, principal, body, digest(line + body))

    @property
    def call(self) -> Call:
        """Who asks for what, as the use cases want to know it."""
        return Call(self.principal, self.operation.id, self.digest)

    @property
    def space(self) -> SpaceName:
        """The path's space; raise InvalidInput."""
        return parse_space(self._path("space"))

    @property
    def meeting(self) -> MeetingId:
        """The path's meeting; raise InvalidInput."""
        return parse_meeting(self._path("meeting"))

    @property
    def epoch(self) -> int | None:
        """The path's epoch, None for ``current``; raise InvalidInput."""
        text = self._path("epoch")
        return None if text == CURRENT else parse_epoch(_number(text, "epoch"))

    @property
    def recipient(self) -> RecipientId:
        """The path's recipient; raise InvalidInput."""
        return parse_recipient(self._path("recipient"))

    @property
    def approval_request(self) -> str:
        """The path's request for approval; raise InvalidInput."""
        return parse_request_id(self._path("request"))

    @property
    def report(self) -> str:
        """The path's compliance report; raise InvalidInput."""
        return parse_report(self._path("report"))

    @property
    def disk(self) -> DiskId:
        """The path's disk; raise InvalidInput."""
        return parse_disk(self._path("disk"))

    @property
    def serial(self) -> str:
        """The path's device, by its serial number; raise InvalidInput."""
        return parse_serial(self._path("serial"))

    @property
    def order(self) -> str:
        """The path's order to the appliance; raise InvalidInput."""
        return parse_order(self._path("order"))

    @property
    def credential(self) -> str:
        """The path's passkey, by its credential id; raise InvalidInput."""
        return parse_credential(self._path("credential"))

    @property
    def leaf(self) -> int:
        """The path's leaf; raise InvalidInput."""
        return _number(self._path("leaf"), "leaf")

    def _path(self, name: str) -> str:
        value: str = self.request.path_params[name]
        return value

    def message(self, kind: type[_M]) -> _M:
        """Return the body as a message (nothing is an empty object); raise InvalidInput."""
        return parse(self.body or b"{}", kind)

    def query(self, *names: str) -> "Query":
        """Return the query; raise InvalidInput for a field that is not named or comes twice."""
        return Query.read(self.request.scope["query_string"], names)

    def header(self, name: str) -> str | None:
        """Return a header; raise InvalidInput if it comes twice."""
        values = self.request.headers.getlist(name)
        if len(values) > 1:
            raise InvalidInput(f"{name} is given twice")
        return values[0] if values else None

    def if_match(self) -> int | None:
        """Return the version that If-Match names (RFC 9110, section 13.1.1); None: any."""
        value = self.header("if-match")
        if value is None or value.strip() == "*":
            return None
        found = _TAG.fullmatch(value.strip())
        if found is None:
            raise InvalidInput("if-match: give one ETag as it was read")
        return int(found[1])

    def not_modified(self, tag: str) -> bool:
        """Whether If-None-Match names this ETag (RFC 9110, section 13.1.2)."""
        value = self.header("if-none-match")
        return value is not None and tag in {
            named.strip().removeprefix("W/") for named in value.split(",")
        }


@dataclass(frozen=True, slots=True)
class Query:
    """The fields of a query string."""

    fields: dict[str, str]

    @classmethod
    def read(cls, raw: bytes, names: tuple[str, ...]) -> "Query":
        """Return the fields; raise InvalidInput."""
        if not raw:
            return cls({})
        try:
            pairs = parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, strict_parsing=True,
                errors="strict", max_num_fields=_MAX_FIELDS,
            )  # fmt: skip
        except ValueError as error:
            raise InvalidInput("the query cannot be read") from error
        fields = dict(pairs)
        if len(fields) != len(pairs):
            raise InvalidInput("the query names a field twice")
        if not fields.keys() <= set(names):
            raise InvalidInput(f"the query may hold: {', '.join(names) or 'nothing'}")
        return cls(fields)

    def text(self, name: str, default: str = "") -> str:
        """Return a field."""
        return self.fields.get(name, default)

    def number(self, name: str, default: int) -> int:
        """Return a field that is a number from 0; raise InvalidInput."""
        return _number(self.fields[name], name) if name in self.fields else default

    def limit(self) -> int:
        """Return the page size; raise InvalidInput."""
        limit = self.number("limit", _PAGE)
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is 1 to {MAX_PAGE}")
        return limit


_JSON = frozenset({"application/json", "application/json;charset=utf-8"})


def etag(version: int) -> str:
    """Return the strong ETag of a row's version."""
    return f'"{version}"'


def _number(text: str, name: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise InvalidInput(f"{name} is a number from 0")
    return int(text)
