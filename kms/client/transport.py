"""Carries requests to the service and problems back: the only file that knows of HTTP.

A problem comes back as the error class of its code. Only a request that is safe to repeat is
repeated, and only when the connection failed: reads, and creates under the same Idempotency-Key.
"""

import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx2
from pydantic import BaseModel

from kms.errors import ConclaveError, InvalidInput, Unavailable
from kms.operations import OPERATIONS
from kms.wire.parsing import parse
from kms.wire.replies import Problem

_PAUSES = (0.1, 0.5, 2.0)
"""Seconds to wait before each repetition."""

_NO_CONNECTION = (httpx2.ConnectError, httpx2.ConnectTimeout)
_HOST = "http://conclave"
_JSON = {"Content-Type": "application/json"}
_M = TypeVar("_M", bound=BaseModel)


def mutual_tls(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Return a TLS 1.3 context with the caller's certificate that trusts one authority alone.

    The three are PEM files; the key has no passphrase.
    """
    context = ssl.create_default_context(cafile=str(authority))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(str(certificate), str(key))
    return context


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply's body and its ETag (empty if none)."""

    body: bytes
    tag: str

    def read(self, kind: type[_M]) -> _M:
        """Return the message; raise Unavailable if it is none of this API's."""
        try:
            return parse(self.body, kind)
        except InvalidInput as error:
            raise Unavailable("the answer is not one of this API's") from error


class Transport:
    """A connection to the key API over its Unix socket or mutual TLS."""

    def __init__(self, http: httpx2.Client) -> None:
        self._http = http

    @classmethod
    def over_socket(cls, path: Path, timeout: float) -> Self:
        """Return a transport over the API's Unix socket; ``timeout`` in seconds."""
        wire = httpx2.HTTPTransport(uds=str(path))
        return cls(httpx2.Client(transport=wire, base_url=_HOST, timeout=timeout, trust_env=False))

    @classmethod
    def over_tls(cls, url: str, context: ssl.SSLContext, timeout: float) -> Self:
        """Return a transport over mutual TLS; see ``mutual_tls``. Raise InvalidInput."""
        if not url.startswith("https://"):
            raise InvalidInput("the key API is reached by https:// or its Unix socket")
        return cls(httpx2.Client(verify=context, base_url=url, timeout=timeout, trust_env=False))

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def ask(
        self,
        operation: str,
        body: BaseModel | None = None,
        *,
        query: Mapping[str, str | int | None] | None = None,
        key: str | None = None,
        if_match: int | None = None,
        extra: Mapping[str, str] | None = None,
        patience: int = 0,
        **names: str | int,
    ) -> Answer:
        """Perform one operation of the table; ``names`` fill its path, ``key`` is a create's,
        ``extra`` are further headers, ``patience`` the seconds that the service may hold back
        its answer (long poll).

        Raise the error that the service names, or Unavailable when it cannot be reached.
        """
        known = OPERATIONS[operation]
        headers = {**(_JSON if body is not None else {}), **(extra or {})}
        if known.creates:
            headers["Idempotency-Key"] = key or str(uuid4())
        if if_match is not None:
            headers["If-Match"] = f'"{if_match}"'
        request = self._http.build_request(
            known.method,
            _path(known.path, names),
            params={name: value for name, value in (query or {}).items() if value is not None},
            headers=headers,
            content=None if body is None else body.model_dump_json(exclude_none=True).encode(),
            timeout=_longer(self._http.timeout, patience),
        )
        response = self._send(request, repeat=known.creates or known.method == "GET")
        if not response.is_success:
            raise problem_of(response.status_code, response.content)
        return Answer(response.content, response.headers.get("ETag", ""))

    def stream(self, operation: str, after: int | None) -> Iterator[str]:
        """Yield the data of server-sent events behind one; raise httpx2.TransportError."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        with self._http.sse(OPERATIONS[operation].path, headers=headers) as source:
            if not source.response.is_success:
                raise problem_of(source.response.status_code, source.response.read())
            for event in source:
                if event.data:
                    yield event.data

    def _send(self, request: httpx2.Request, *, repeat: bool) -> httpx2.Response:
        pauses = iter(_PAUSES if repeat else ())
        arrived = False
        while True:
            try:
                return self._http.send(request)
            except httpx2.TransportError as error:
                arrived |= request.method != "GET" and not isinstance(error, _NO_CONNECTION)
                if (pause := next(pauses, None)) is None:
                    raise unreachable(arrived=arrived) from error
            time.sleep(pause)


def _longer(timeout: httpx2.Timeout, patience: int) -> httpx2.Timeout:
    read = None if timeout.read is None else timeout.read + patience
    return httpx2.Timeout(timeout.connect, read=read, write=timeout.write, pool=timeout.pool)


def unreachable(*, arrived: bool) -> Unavailable:
    """Return the error for a service that does not answer; a change may have ``arrived`` or not."""
    if arrived:
        return Unavailable(
            "the service does not answer",
            hint="whether a change took effect is unknown: look first",
        )
    return Unavailable(
        "the service does not answer",
        hint="nothing was changed; is it running, do --config, --socket or --url lead to it, "
        "and may you open its socket?",
    )


def problem_of(status: int, body: bytes) -> ConclaveError:
    """Return the error that a problem document (RFC 9457) names by its code."""
    try:
        problem = parse(body, Problem)
    except InvalidInput:
        return Unavailable(f"the service answered {status} without saying why")
    for kind in _subclasses(ConclaveError):
        if kind.code == problem.code:
            return kind(problem.detail, hint=problem.hint or "")
    kind = Unavailable if status >= HTTPStatus.INTERNAL_SERVER_ERROR else InvalidInput
    return kind(problem.detail, hint=problem.hint or "")


def _subclasses(kind: type[ConclaveError]) -> Iterator[type[ConclaveError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)


def _path(template: str, names: Mapping[str, Any]) -> str:
    return template.format(**{name: quote(str(value), safe="") for name, value in names.items()})
