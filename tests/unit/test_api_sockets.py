"""The listening sockets: modes from the first instant, takeover of the dead."""

import grp
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from kms.api.sockets import bind_tcp, bind_unix, tls_context
from kms.errors import ConfigurationError
from kms.settings import Tls


@pytest.fixture
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="cv-") as name:
        yield Path(name)


def test_the_socket_is_group_only_and_refuses_until_it_listens(folder: Path) -> None:
    path = folder / "api.sock"
    before = os.umask(0)
    try:
        with bind_unix(path, grp.getgrgid(os.getgid()).gr_name), socket.socket(socket.AF_UNIX) as c:
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert path.stat().st_gid == os.getgid()
            with pytest.raises(ConnectionRefusedError):
                c.connect(str(path))
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_a_socket_that_nobody_serves_is_replaced(folder: Path) -> None:
    path = folder / "api.sock"
    bind_unix(path, "").close()
    inode = path.stat().st_ino
    with bind_unix(path, "") as again:
        again.listen()
        assert path.exists()
        with pytest.raises(ConfigurationError, match="another service listens"):
            bind_unix(path, "")
    assert inode


def test_what_is_not_a_socket_is_left_alone(folder: Path) -> None:
    path = folder / "api.sock"
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="no socket"):
        bind_unix(path, "")
    assert path.read_text() == "precious"
    link = folder / "link.sock"
    link.symlink_to(path)
    with pytest.raises(ConfigurationError, match="no socket"):
        bind_unix(link, "")


def test_an_unknown_group_leaves_no_socket_behind(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="no group"):
        bind_unix(folder / "api.sock", "no-such-group-here")
    assert not (folder / "api.sock").exists()


def test_a_path_that_is_too_long_is_said_to_be(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="too long"):
        bind_unix(folder / ("a" * 108), "")


def tls(address: str, folder: Path) -> Tls:
    missing = folder / "missing.pem"
    return Tls(address=address, port=0, certificate=missing, key=missing, client_ca=missing)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "8.8.8.8", "localhost", "", "224.0.0.1"])
def test_no_public_or_wildcard_address_is_listened_on(folder: Path, address: str) -> None:
    with pytest.raises(ConfigurationError):
        bind_tcp(address, 0)


def test_loopback_is_listened_on_at_a_free_port(folder: Path) -> None:
    with bind_tcp("127.0.0.1", 0) as listener:
        address, port = listener.getsockname()
        assert (address, port > 0) == ("127.0.0.1", True)


def test_missing_tls_files_stop_the_start(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="TLS files"):
        tls_context(tls("127.0.0.1", folder))
