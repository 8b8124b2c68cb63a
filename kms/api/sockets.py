"""The listening sockets: a Unix socket that is 0660 from its first instant, and mutual TLS 1.3."""

import grp
import os
import socket
import ssl
import stat
from pathlib import Path

from kms.errors import ConfigurationError
from kms.settings import Tls, check_address

_UMASK = 0o117  # leaves 0660
_PATH_LIMIT = 107  # sockaddr_un, less the NUL


def bind_unix(path: Path, group: str) -> socket.socket:
    """Return a bound Unix socket that nobody can connect to before it listens.

    A socket that nobody serves any more is replaced; raise ConfigurationError if somebody does,
    if something else lies there or the path cannot be used.
    """
    if len(os.fsencode(path)) > _PATH_LIMIT:
        raise ConfigurationError(f"{path} is too long for a socket", hint="set a shorter paths.run")
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(_UMASK)
    try:
        listener.bind(os.fspath(path))
        if group:
            os.chown(path, -1, _gid(group))
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot make the socket {path}: {error.strerror}") from error
    except ConfigurationError:
        listener.close()
        path.unlink()
        raise
    finally:
        os.umask(before)
    return listener


def _clear(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(f"{path} is there and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be taken over: {error.strerror}") from error
    raise ConfigurationError(f"another service listens on {path}")


def _gid(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ConfigurationError(
            f"there is no group {group}", hint="see api.socket_group"
        ) from error


def bind_tls(settings: Tls) -> socket.socket:
    """Return a bound TCP socket; raise ConfigurationError for an address that is not local."""
    check_address(settings.address)
    family = socket.AF_INET6 if ":" in settings.address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.address, settings.port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {settings.address}:{settings.port}: {error.strerror}"
        ) from error
    return listener


def tls_context(settings: Tls) -> ssl.SSLContext:
    """Return a context for TLS 1.3 with client certificates of the configured CA alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        context.load_verify_locations(settings.client_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the TLS files cannot be used: {error}") from error
    return context
