"""The listening sockets: a Unix socket that is 0660 from its first instant, and mutual TLS 1.3."""

import grp
import os
import socket
import ssl
import stat
from pathlib import Path

from kms.errors import ConfigurationError
from kms.settings import Board, Tls, check_address

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


def bind_tcp(address: str, port: int) -> socket.socket:
    """Return a bound TCP socket; raise ConfigurationError for an address that is not local."""
    check_address(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {address}:{port}: {error.strerror}") from error
    return listener


def tls_context(settings: Tls) -> ssl.SSLContext:
    """Return a context for TLS 1.3 with client certificates of the configured CA alone."""
    context = _context(settings.certificate, settings.key, settings.client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def board_context(board: Board) -> ssl.SSLContext | None:
    """Return the board's context for TLS 1.3, None for a board on loopback without TLS. A client
    certificate is looked at if the browser shows one; without one people have passkeys.
    """
    if not board.certificate or not board.key:
        return None
    context = _context(board.certificate, board.key, board.client_ca)
    if board.client_ca:
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    try:
        context.load_cert_chain(certificate, key)
        if client_ca:
            context.load_verify_locations(client_ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the TLS files cannot be used: {error}") from error
    return context
