"""The tables of what the service looks for by itself, and of whom it tells."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from kms.domain.alerts import Severity
from kms.i18n import Language
from kms.settings.values import HOUR, Seconds
from kms.strict import Section


class Watch(Section, frozen=True):
    """How often the service looks for what people must be told."""

    interval_seconds: Seconds = 10.0
    """How often it looks at the log's new entries and asks every token's worker."""
    survey_seconds: Seconds = 60.0
    """How often it counts keys in use, requests, grants and vault keys."""
    escrow_seconds: Seconds = float(HOUR)
    """How often it sees whether every key could be recovered; that looks at every epoch."""
    sample_seconds: Seconds = 60.0
    """How often it notes for plots how fast envelopes are fetched and how busy each token is."""
    score_seconds: Seconds = 600.0
    """How often it notes the scores of open meetings; that looks at every one of them."""


class _Channel(Section, frozen=True, kw_only=True):
    name: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9-]{0,31}$")]
    """Names the channel in status, log and metrics; how far it came is kept under this name."""
    severity: Severity = Severity.NOTICE
    """Alerts that are less grave are not told."""
    language: Language = Language.ZH
    """The language of what is told."""
    approvals: bool = True
    """Whether requests for approval are told too."""
    timeout_seconds: Seconds = 10.0
    """How long one delivery may take; then it is tried again."""


class Webhook(_Channel, frozen=True, kw_only=True):
    """A web server on the local network that gets each notice as a JSON POST."""

    url: str
    """https:, or http: on loopback; its host must have loopback or private addresses alone."""
    ca: Path | None = None
    """The authority of its certificate (PEM), and no other; needed for https:."""
    secret: Path | None = None
    """A file with the secret of the signature (HMAC-SHA256), 32 bytes at least, mode 0600."""


class Syslog(_Channel, frozen=True, kw_only=True):
    """A syslog receiver that gets each notice in the format of RFC 5424."""

    transport: Literal["unix", "udp", "tcp"] = "unix"
    """A local datagram socket, UDP, or TCP with octet counting (RFC 6587)."""
    path: Path = Path("/dev/log")
    """The local socket."""
    host: str = "127.0.0.1"
    """The receiver of udp and tcp; loopback or private addresses alone."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 514
    """Its port."""
    audit: bool = False
    """Whether every entry of the audit log is exported too, as structured data."""


class Mail(_Channel, frozen=True, kw_only=True):
    """A mail relay on the local network that gets each notice as a message."""

    host: str = "127.0.0.1"
    """The relay; loopback or private addresses alone."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 25
    """Its port."""
    sender: str
    """Whose name stands in From."""
    recipients: tuple[str, ...]
    """To whom it goes."""


class Notify(Section, frozen=True):
    """Where alerts and waiting requests are told: no channel, nobody is told by itself."""

    webhook: tuple[Webhook, ...] = ()
    syslog: tuple[Syslog, ...] = ()
    mail: tuple[Mail, ...] = ()

    @property
    def channels(self) -> tuple[Webhook | Syslog | Mail, ...]:
        """Every channel."""
        return (*self.webhook, *self.syslog, *self.mail)
