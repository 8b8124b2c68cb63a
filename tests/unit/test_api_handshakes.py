"""TLS handshakes: silent connections use up nothing, honest callers come through."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
import uvloop
from cryptography.hazmat.primitives import serialization

from kms.api import handshakes
from kms.api.sockets import tls_context
from kms.practice.certificates import KeyAndCertificate, issue_client, issue_server, make_authority
from kms.settings import Tls
from tests.practice.devices import write_key


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:
        transport.write(b"hello\n")
        transport.close()


def saved(folder: Path, name: str, made: KeyAndCertificate) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(made.certificate.public_bytes(serialization.Encoding.PEM))
    write_key(key, made.key)
    return certificate, key


async def _besieged(folder: Path) -> None:
    authority = make_authority("CA")
    ca, _ = saved(folder, "ca", authority)
    certificate, key = saved(folder, "server", issue_server(authority, "server", ("127.0.0.1",)))
    client = ssl.create_default_context(cafile=str(ca))
    client.load_cert_chain(*saved(folder, "client", issue_client(authority, "client")))
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        place = sock.getsockname()
        chosen = Tls(address=place[0], port=0, certificate=certificate, key=key, client_ca=ca)
        server = handshakes.TlsServer(sock, tls_context(chosen), Greeter)
        silent = [await asyncio.open_connection(*place) for _ in range(20)]
        async with asyncio.timeout(5):
            for reader, _ in silent[:16]:
                assert await reader.read() == b""
            reader, writer = await asyncio.open_connection(*place, ssl=client)
            assert await reader.read() == b"hello\n"
        for _, each in (*silent, (reader, writer)):
            each.close()
        await asyncio.gather(
            *(each.wait_closed() for _, each in (*silent, (reader, writer))),
            return_exceptions=True,
        )
        server.close()
        await server.wait_closed()


def test_silent_connections_give_way_and_an_honest_caller_comes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "MOST", 4)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_besieged(tmp_path))
