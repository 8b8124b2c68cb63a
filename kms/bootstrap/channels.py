"""Makes the notification channels that the configuration names; reads their secrets once."""

import ssl
from pathlib import Path
from urllib.parse import urlsplit

from kms import settings
from kms.errors import ConfigurationError
from kms.notify.mail import Mail
from kms.notify.syslog import Syslog
from kms.notify.webhook import Webhook
from kms.settings import Settings
from kms.usecases.watch.channel import Channel, Wishes

_LEAST_SECRET = 32
_OTHERS = 0o077


def make_channels(chosen: Settings) -> tuple[Channel, ...]:
    """Return the channels; raise ConfigurationError for a file or URL that cannot be used."""
    site, notify = chosen.site.id, chosen.notify
    return (
        *(_webhook(one, site) for one in notify.webhook),
        *(_syslog(one, site) for one in notify.syslog),
        *(_mail(one, site) for one in notify.mail),
    )


def _webhook(one: settings.Webhook, site: str) -> Webhook:
    parts = urlsplit(one.url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise ConfigurationError(f"{one.name}: a webhook's url is http: or https: without a user")
    if parts.scheme == "https" and one.ca is None:
        raise ConfigurationError(f"{one.name}: https: needs ca, the authority to trust")
    secret = _secret(one.secret) if one.secret else None
    return Webhook(_wishes(one), site, one.url, _context(one.ca), secret, one.timeout_seconds)


def _syslog(one: settings.Syslog, site: str) -> Syslog:
    where = (one.transport, one.path, one.host, one.port)
    return Syslog(_wishes(one, audit=one.audit), site, *where, one.timeout_seconds)


def _mail(one: settings.Mail, site: str) -> Mail:
    if not one.recipients:
        raise ConfigurationError(f"{one.name}: mail needs recipients")
    who = (one.sender, one.recipients)
    return Mail(_wishes(one), site, one.host, one.port, *who, one.timeout_seconds)


def _wishes(
    one: settings.Webhook | settings.Syslog | settings.Mail, *, audit: bool = False
) -> Wishes:
    return Wishes(one.name, one.severity, one.language, one.approvals, audit)


def _context(path: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if path is None:
        return context
    try:
        context.load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"{path} cannot be read as certificates") from error
    return context


def _secret(path: Path) -> bytes:
    try:
        mode, secret = path.stat().st_mode, path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    if mode & _OTHERS:
        raise ConfigurationError(f"{path} can be read by others", hint="chmod 600")
    if len(secret) < _LEAST_SECRET:
        raise ConfigurationError(f"{path} holds fewer than {_LEAST_SECRET} bytes")
    return secret
