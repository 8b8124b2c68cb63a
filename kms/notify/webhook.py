"""Notices as JSON over HTTP(S), signed, to a server on the local network.

The certificate must come from the configured authority; redirects and proxies are not followed.
"""

import asyncio
import hashlib
import hmac
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import SplitResult, urlsplit

import httpx2
import msgspec

from kms.notify.addresses import Place, resolve
from kms.notify.thread import OneThread
from kms.usecases.watch.channel import DeliveryError, Notice, Wishes

SIGNATURE = "Conclave-Signature"
_PORTS = {"http": 80, "https": 443}
_TAKEN = 300


@dataclass(frozen=True, slots=True)
class Webhook:
    """A ``Channel``. ``context`` trusts the pinned authority alone: nobody, for plain HTTP."""

    wishes: Wishes
    site: str
    url: str
    context: ssl.SSLContext
    secret: bytes | None = field(repr=False)
    timeout: float = 10.0
    clock: Callable[[], float] = time.time
    _thread: OneThread = field(default_factory=OneThread, repr=False, compare=False)

    async def send(self, notices: Sequence[Notice]) -> None:
        """Post each notice; a status of 2xx says that it was taken."""
        for notice in notices:
            try:
                async with asyncio.timeout(self.timeout):
                    await self._post(self._body(notice))
            except TimeoutError as error:
                raise DeliveryError("no answer in time") from error

    def _body(self, notice: Notice) -> bytes:
        document = {"v": 1, "site": self.site, **msgspec.to_builtins(notice)}
        return msgspec.json.encode(document, order="sorted")

    async def _post(self, body: bytes) -> None:
        parts = urlsplit(self.url)
        port = parts.port or _PORTS[parts.scheme]
        place = await self._thread.run(partial(resolve, parts.hostname or "", port))
        if parts.scheme == "http" and not place.loopback:
            raise DeliveryError("http: is for loopback alone")
        try:
            async with (
                httpx2.AsyncClient(verify=self.context, trust_env=False) as client,
                client.stream(
                    "POST",
                    _pinned(parts, place, port),
                    content=body,
                    headers=self._headers(parts, body),
                    extensions={"sni_hostname": parts.hostname},
                    timeout=self.timeout,
                ) as answer,
            ):
                status = answer.status_code  # and nothing of the body is read
        except (httpx2.HTTPError, OSError) as error:
            raise DeliveryError(f"{type(error).__name__} at {parts.hostname}") from error
        if status >= _TAKEN:
            raise DeliveryError(f"{parts.hostname} answered {status}")

    def _headers(self, parts: SplitResult, body: bytes) -> dict[str, str]:
        headers = {"host": parts.netloc.rpartition("@")[2], "content-type": "application/json"}
        if self.secret is not None:
            headers[SIGNATURE] = sign(self.secret, int(self.clock()), body)
        return headers


def _pinned(parts: SplitResult, place: Place, port: int) -> str:
    """Return the URL with the address that was checked in its host's place."""
    return parts._replace(netloc=f"{place.host}:{port}").geturl()


def sign(secret: bytes, when: int, body: bytes) -> str:
    """Return the header's value: HMAC-SHA256 over time, a point, and the body."""
    mac = hmac.new(secret, b"%d.%b" % (when, body), hashlib.sha256)
    return f"t={when},v1={mac.hexdigest()}"
