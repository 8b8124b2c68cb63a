"""Notices and leaves in the format of RFC 5424: Unix datagrams, UDP, TCP with octet counting.

Syslog has no acknowledgement: what was handed over counts as delivered.
"""

import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from kms.domain.alerts import Severity
from kms.notify.addresses import resolve
from kms.notify.thread import OneThread
from kms.usecases.watch.channel import DeliveryError, Notice, Wishes

SD_ID = "conclave@32473"
"""Number 32473 is the one for documentation (RFC 5612): the project has none of its own."""
_AUTHPRIV, _AUDIT = 10, 13
_LEVELS = {Severity.CRITICAL: 2, Severity.WARNING: 4, Severity.NOTICE: 5}
_INFORMATIONAL = 6
_LARGEST = {"unix": 60_000, "udp": 60_000, "tcp": 1 << 20}
_LONG = ("rows", "details")
_NOT_PRINTABLE = re.compile(r"[^!-~]")


@dataclass(slots=True)
class Syslog:
    """A ``Channel``; keeps its TCP connection, which its one thread alone uses."""

    wishes: Wishes
    site: str
    transport: Literal["unix", "udp", "tcp"]
    path: Path
    host: str
    port: int
    timeout: float = 10.0
    _tcp: socket.socket | None = field(default=None, repr=False)
    _thread: OneThread = field(default_factory=OneThread, repr=False)

    async def send(self, notices: Sequence[Notice]) -> None:
        """Hand the messages over; raise DeliveryError."""
        messages = [self._message(notice) for notice in notices]
        try:
            await self._thread.run(partial(self._hand_over, messages))
        except OSError as error:
            raise DeliveryError(f"{self.transport}: {error.strerror or error}") from error

    def _message(self, notice: Notice) -> bytes:
        data = render(notice, self.site)
        if len(data) <= _LARGEST[self.transport]:
            return data
        short = {k: v for k, v in notice.fields.items() if k not in _LONG} | {"cut": "true"}
        return render(_with_fields(notice, short), self.site)

    def _hand_over(self, messages: list[bytes]) -> None:
        if self.transport == "tcp":
            framed = b"".join(b"%d %b" % (len(one), one) for one in messages)
            try:
                self._connected().sendall(framed)
            except OSError:
                self._hang_up()
                raise
            return
        with self._datagrams() as sock:
            for message in messages:
                sock.send(message)

    def _datagrams(self) -> socket.socket:
        if self.transport == "unix":
            sock, where = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), str(self.path)
        else:
            place = resolve(self.host, self.port)
            sock = socket.socket(place.family, socket.SOCK_DGRAM)
            where = (place.address, self.port)  # type: ignore[assignment] # each family has its own form
        sock.settimeout(self.timeout)
        try:
            sock.connect(where)
        except OSError:
            sock.close()
            raise
        return sock

    def _connected(self) -> socket.socket:
        """Return the connection, made anew if the receiver has closed it."""
        if self._tcp is not None and _ended(self._tcp):
            self._hang_up()
        if self._tcp is None:
            place = resolve(self.host, self.port)
            self._tcp = socket.create_connection((place.address, self.port), self.timeout)
        return self._tcp

    def _hang_up(self) -> None:
        if self._tcp is not None:
            self._tcp.close()
            self._tcp = None


def _ended(sock: socket.socket) -> bool:
    """Whether the other side has gone: a receiver of syslog never says anything."""
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def render(notice: Notice, site: str) -> bytes:
    """Return a notice as an RFC 5424 message with structured data."""
    facility = _AUDIT if notice.audit else _AUTHPRIV
    level = _INFORMATIONAL if notice.audit else _LEVELS[notice.severity]
    host = _token(socket.gethostname(), 255)
    head = f"<{facility * 8 + level}>1 {notice.time} {host} conclave {os.getpid()}"
    fields = {
        "site": site,
        "seq": str(notice.seq),
        "severity": notice.severity.value,
        "space": notice.space,
        **notice.fields,
    }
    said = " ".join(filter(None, (notice.title, notice.text)))
    data = f"{head} {_token(notice.kind, 32)} [{SD_ID} {_parameters(fields)}] "
    return data.encode() + b"\xef\xbb\xbf" + said.encode()


def _parameters(fields: dict[str, str]) -> str:
    return " ".join(f'{name}="{_escaped(value)}"' for name, value in fields.items() if value)


def _escaped(value: str) -> str:
    """Return a parameter's value (section 6.3.3); control characters would end a line."""
    visible = "".join(one if one.isprintable() else "?" for one in value)
    return visible.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _token(text: str, longest: int) -> str:
    return _NOT_PRINTABLE.sub("", text)[:longest] or "-"


def _with_fields(notice: Notice, fields: dict[str, str]) -> Notice:
    return Notice(
        notice.seq,
        notice.kind,
        notice.time,
        notice.severity,
        notice.space,
        notice.title,
        notice.text,
        fields,
        notice.audit,
    )
