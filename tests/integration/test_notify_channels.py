"""The channels over real sockets: a mail relay, web servers with and without TLS, syslog receivers.

Public addresses are refused, also when a name points elsewhere from one moment to the next.
"""

import asyncio
import hashlib
import hmac
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.header import decode_header, make_header
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import pytest
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kms.bootstrap.channels import make_channels
from kms.domain.alerts import Severity
from kms.errors import ConfigurationError
from kms.i18n import Language
from kms.notify.mail import Mail
from kms.notify.syslog import Syslog
from kms.notify.webhook import Webhook
from kms.settings import load
from kms.usecases.watch.channel import Channel, DeliveryError, Notice, Wishes

SITE = "bank.example"
SECRET = b"s" * 32
NOTICE = Notice(
    42, "alert.raise", "2027-01-15T08:00:00.000000Z", Severity.CRITICAL, "treasury",
    "发出告警: 密钥", "See the disk.",
    {"alert": "escrow-gap", "subject": 'a"b]c\\d', "number": "3"},
)  # fmt: skip


def wishes(name: str = "soc") -> Wishes:
    return Wishes(name, Severity.NOTICE, Language.ZH, approvals=True)


def deliver(channel: Channel, *notices: Notice) -> None:
    asyncio.run(channel.send(notices or [NOTICE]))


# --- webhook --------------------------------------------------------------------------------------


class Hook(BaseHTTPRequestHandler):
    """Keeps what is posted; answers as told."""

    status = 204
    location = ""

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        self.server.posted.append((dict(self.headers), self.rfile.read(length)))
        self.send_response(self.status)
        if self.location:
            self.send_header("location", self.location)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def web_server(context: ssl.SSLContext | None = None) -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), type("OwnHook", (Hook,), {}))
    server.posted = []
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def nobody_trusted() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def webhook(url: str, context: ssl.SSLContext | None = None, timeout: float = 5.0) -> Webhook:
    return Webhook(wishes(), SITE, url, context or nobody_trusted(), SECRET, timeout)


def test_a_webhook_gets_signed_json() -> None:
    with web_server() as server:
        deliver(webhook(f"http://127.0.0.1:{server.server_port}/hook?x=1"))
        ((headers, body),) = server.posted
    document = json.loads(body)
    assert (document["site"], document["seq"], document["kind"]) == (SITE, 42, "alert.raise")
    assert document["severity"] == "critical"
    found = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", headers["Conclave-Signature"])
    assert found
    mac = hmac.new(SECRET, f"{found[1]}.".encode() + body, hashlib.sha256).hexdigest()
    assert found[2] == mac
    assert headers["host"] == f"127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("status", [302, 400, 500])
def test_only_success_counts_and_redirects_are_not_followed(status: int) -> None:
    with web_server() as server, web_server() as other:
        server.RequestHandlerClass.status = status
        elsewhere = f"http://127.0.0.1:{other.server_port}/"
        server.RequestHandlerClass.location = elsewhere
        with pytest.raises(DeliveryError, match=f"answered {status}"):
            deliver(webhook(f"http://127.0.0.1:{server.server_port}/"))
        assert other.posted == []


@contextmanager
def talking(word: bytes, then: bytes, pause: float = 0.0) -> Iterator[tuple[int, list[int]]]:
    """A server that says a word and then the same for ever; how many times, at the end."""
    said: list[int] = []
    ended = threading.Event()

    def answer(connection: socket.socket) -> None:
        count = 0
        with connection, suppress(OSError):
            connection.sendall(word)
            while not ended.wait(pause) if pause else not ended.is_set():
                connection.sendall(then)
                count += 1
        said.append(count)

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], said
        ended.set()
        server.shutdown(socket.SHUT_RDWR)


def test_of_an_endless_answer_nothing_but_the_status_is_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"
    with talking(head, bytes(1 << 16)) as (port, said):
        deliver(webhook(f"http://127.0.0.1:{port}/"))
        wait = threading.Event()
        while not said:
            wait.wait(0.01)
    assert said[0] < 1000, "some 64 MiB are more than any socket's buffers"


def test_a_server_that_is_gone_or_silent_is_an_error_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(DeliveryError):
            deliver(webhook(f"http://127.0.0.1:{port}/", timeout=0.2))
    with pytest.raises(DeliveryError):
        deliver(webhook(f"http://127.0.0.1:{port}/"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of itself for hook.bank.example, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hook")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("hook.bank.example")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "ca.pem", folder / "key.pem"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a name have the addresses that a test gives, one list a look-up."""
    real = socket.getaddrinfo

    def give(name: str, *answers: list[str]) -> None:
        left = list(answers)

        def look_up(host: Any, port: Any, *rest: Any, **named: Any) -> Any:
            if host != name:
                assert ip_address(host), "only the address that was checked is used"
                return real(host, port, *rest, **named)
            addresses = left.pop(0) if len(left) > 1 else left[0]
            return [found for one in addresses for found in real(one, port, type=1)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return give


def trusting(path: Path) -> ssl.SSLContext:
    context = nobody_trusted()
    context.load_verify_locations(path)
    return context


def test_https_wants_the_pinned_authority_and_the_name(
    pair: tuple[Path, Path], names: Callable[..., None]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    with web_server(context) as server:
        for name in ("hook.bank.example", "other.bank.example"):
            names(name, ["127.0.0.1"])
            url = f"https://{name}:{server.server_port}/"
            with pytest.raises(DeliveryError):
                deliver(webhook(url))
            if name.startswith("hook"):
                deliver(webhook(url, trusting(pair[0])))
            else:
                with pytest.raises(DeliveryError):
                    deliver(webhook(url, trusting(pair[0])))
        assert len(server.posted) == 1


# --- where nothing is sent ------------------------------------------------------------------------


def channels_to(host: str, port: int) -> list[Channel]:
    url = f"[{host}]" if ":" in host else host
    nowhere = Path("/nowhere")
    return [
        webhook(f"https://{url}:{port}/"),
        Syslog(wishes(), SITE, "udp", nowhere, host, port, 2.0),
        Syslog(wishes(), SITE, "tcp", nowhere, host, port, 2.0),
        Mail(wishes(), SITE, host, port, "a@bank.example", ("b@bank.example",), 2.0),
    ]


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "0.0.0.0", "224.0.0.1",
        "169.254.169.254", "fe80::1", "100.64.0.1", "2001::1", "240.0.0.1", "255.255.255.255",
    ],
)  # fmt: skip
def test_nothing_is_sent_beyond_the_local_network(address: str) -> None:
    for channel in channels_to(address, 9):
        with pytest.raises(DeliveryError, match="local network"):
            deliver(channel)


def test_a_name_with_one_public_address_is_refused(names: Callable[..., None]) -> None:
    names("relay.bank.example", ["127.0.0.1", "8.8.8.8"])
    for channel in channels_to("relay.bank.example", 9):
        with pytest.raises(DeliveryError, match="local network"):
            deliver(channel)


def test_a_name_that_points_elsewhere_later_is_refused_then(names: Callable[..., None]) -> None:
    with web_server() as server:
        names("hook.bank.example", ["127.0.0.1"], ["8.8.8.8"])
        channel = webhook(f"http://hook.bank.example:{server.server_port}/")
        deliver(channel)
        with pytest.raises(DeliveryError, match="local network"):
            deliver(channel)
        assert len(server.posted) == 1


def test_plain_http_is_for_loopback_alone() -> None:
    with pytest.raises(DeliveryError, match="loopback alone"):
        deliver(webhook("http://10.11.12.13:9/"))


# --- mail -----------------------------------------------------------------------------------------


class Mailbox:
    """What aiosmtpd hands over; refuses whom it is told to."""

    def __init__(self) -> None:
        self.letters: list[tuple[list[str], bytes]] = []

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address.startswith("nobody"):
            return "550 there is no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 -- aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        self.letters.append((envelope.rcpt_tos, envelope.content))
        return "250 OK"


@pytest.fixture
def relay() -> Iterator[tuple[Mailbox, int]]:
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield mailbox, port
    controller.stop()


def mail(port: int, *recipients: str) -> Mail:
    return Mail(wishes(), SITE, "127.0.0.1", port, "conclave@bank.example", recipients, 5.0)


def test_a_relay_gets_a_message_that_people_can_read(relay: tuple[Mailbox, int]) -> None:
    mailbox, port = relay
    deliver(mail(port, "duty@bank.example", "security@bank.example"))
    ((recipients, content),) = mailbox.letters
    assert recipients == ["duty@bank.example", "security@bank.example"]
    message = message_from_bytes(content)
    subject = str(make_header(decode_header(message["subject"])))
    assert subject == "[Conclave 严重] 发出告警: 密钥 treasury"
    assert message["message-id"] == "<leaf-42@bank.example>"
    assert message["auto-submitted"] == "auto-generated"
    text = message.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert "alert: escrow-gap" in text.decode()


def test_one_recipient_whom_the_relay_refuses_keeps_nobody_else_from_it(
    relay: tuple[Mailbox, int], caplog: pytest.LogCaptureFixture
) -> None:
    mailbox, port = relay
    deliver(mail(port, "nobody@bank.example", "duty@bank.example"))
    assert [recipients for recipients, _ in mailbox.letters] == [["duty@bank.example"]]
    assert "refuses the recipient" in caplog.text
    with pytest.raises(DeliveryError):
        deliver(mail(port, "nobody@bank.example"))


def test_a_relay_that_drips_holds_one_thread_and_every_try_is_an_error() -> None:
    async def work(channel: Mail) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await channel.send([NOTICE])
        threads = threading.active_count()
        for _ in range(3):
            with pytest.raises(DeliveryError, match="still hangs"):
                await channel.send([NOTICE])
        assert threading.active_count() == threads

    with talking(b"220-wait\r\n", b"220-wait\r\n", pause=0.05) as (port, _):
        asyncio.run(work(mail(port, "officer@bank.example")))


def test_a_relay_that_is_gone_is_an_error() -> None:
    with pytest.raises(DeliveryError):
        deliver(mail(1, "duty@bank.example"))


# --- syslog ---------------------------------------------------------------------------------------

RFC5424 = re.compile(
    rb"<(\d+)>1 (\S+) (\S+) (\S+) (\S+) (\S+) "
    rb'(\[[^ ]+(?: [^= ]+="(?:[^"\\\]]|\\["\\\]])*")*\]) \xef\xbb\xbf(.*)',
    re.DOTALL,
)


def syslog(
    transport: Literal["unix", "udp", "tcp"], path: Path = Path("/nowhere"), port: int = 514
) -> Syslog:
    return Syslog(wishes(), SITE, transport, path, "127.0.0.1", port, 5.0)


def check_message(data: bytes) -> None:
    found = RFC5424.fullmatch(data)
    assert found, data
    assert found[1] == b"82"  # authpriv, critical
    assert found[2] == b"2027-01-15T08:00:00.000000Z"
    assert (found[4], found[6]) == (b"conclave", b"alert.raise")
    assert b'subject="a\\"b\\]c\\\\d"' in found[7]
    assert b'site="bank.example" seq="42"' in found[7]
    assert found[8].decode() == "发出告警: 密钥 See the disk."


def test_a_local_socket_gets_datagrams(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(5)
        deliver(syslog("unix", path))
        check_message(receiver.recv(70_000))
    with pytest.raises(DeliveryError):
        deliver(syslog("unix", path))


def test_udp_gets_datagrams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        deliver(syslog("udp", port=receiver.getsockname()[1]))
        check_message(receiver.recv(70_000))


def test_what_is_too_long_for_a_datagram_is_cut_and_says_so() -> None:
    long = Notice(
        1, "meeting.destroy", NOTICE.time, Severity.NOTICE, "treasury", "x", "",
        {"actor": "officer", "rows": "r" * 100_000}, audit=True,
    )  # fmt: skip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        deliver(syslog("udp", port=receiver.getsockname()[1]), long)
        data = receiver.recv(70_000)
    assert data.startswith(b"<110>1 ")  # audit, informational
    assert b'actor="officer" cut="true"' in data


def frame(stream: Any) -> bytes:
    length = b""
    while (one := stream.read(1)) != b" ":
        length += one
    return bytes(stream.read(int(length)))


def test_tcp_counts_octets_and_connects_again_after_the_receiver_was_restarted() -> None:
    channel = syslog("tcp")
    with socket.create_server(("127.0.0.1", 0)) as first:
        channel.port = first.getsockname()[1]
        deliver(channel, NOTICE, NOTICE)
        connection, _ = first.accept()
        with connection, connection.makefile("rb") as stream:
            check_message(frame(stream))
            check_message(frame(stream))
    with pytest.raises(DeliveryError):
        deliver(channel)
    address = ("127.0.0.1", channel.port)
    with socket.create_server(address, reuse_port=False) as second:
        deliver(channel)
        connection, _ = second.accept()
        with connection, connection.makefile("rb") as stream:
            check_message(frame(stream))
    channel._hang_up()


def test_control_characters_cannot_forge_a_line(tmp_path: Path) -> None:
    forged = Notice(
        1, "alert.raise", NOTICE.time, Severity.NOTICE, "", "t", "", {"subject": "a\n<1>1 b"}
    )
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        deliver(syslog("unix", path), forged)
        data = receiver.recv(70_000)
    assert b"\n" not in data


# --- configuration --------------------------------------------------------------------------------

BASE = """
[site]
id = "bank.example"
[hsm]
profile = "none"
tokens = [{ label = "site" }]
"""


def channels_of(folder: Path, text: str) -> tuple[Channel, ...]:
    path = folder / "conclave.toml"
    path.write_text(BASE + text, "utf-8")
    return make_channels(load(path))


def test_channels_come_from_the_configuration(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o600)
    channels = channels_of(
        tmp_path,
        f"""
[[notify.webhook]]
name = "soc"
url = "https://10.0.0.5/hook"
ca = "{pair[0]}"
secret = "{secret}"
severity = "warning"
[[notify.syslog]]
name = "siem"
transport = "tcp"
host = "10.0.0.6"
audit = true
[[notify.mail]]
name = "duty"
sender = "conclave@bank.example"
recipients = ["duty@bank.example"]
language = "en"
""",
    )
    assert [one.wishes.name for one in channels] == ["soc", "siem", "duty"]
    assert [one.wishes.audit for one in channels] == [False, True, False]
    assert "ssss" not in repr(channels)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[[notify.webhook]]\nname="a"\nurl="https://10.0.0.5/"', "needs ca"),
        ('[[notify.webhook]]\nname="a"\nurl="ftp://10.0.0.5/"', "http: or https:"),
        ('[[notify.webhook]]\nname="a"\nurl="http://u:p@127.0.0.1/"', "without a user"),
        ('[[notify.webhook]]\nname="a"\nurl="http://h/"\nsecret="/nowhere"', "cannot read"),
        ('[[notify.webhook]]\nname="a"\nurl="https://h/"\nca="/nowhere"', "certificates"),
        ('[[notify.mail]]\nname="a"\nsender="x"\nrecipients=[]', "needs recipients"),
        ('[[notify.syslog]]\nname="A b"', "name"),
        ('[[notify.syslog]]\nname="a"\ntransport="relp"', "transport"),
        ('[[notify.syslog]]\nname="a"\n[[notify.syslog]]\nname="a"', "named once"),
    ],
)
def test_a_channel_that_cannot_work_is_refused_at_the_start(
    tmp_path: Path, text: str, why: str
) -> None:
    with pytest.raises(ConfigurationError, match=why):
        channels_of(tmp_path, text)


@pytest.mark.parametrize(("content", "mode"), [(b"short", 0o600), (SECRET, 0o644)])
def test_a_secret_is_long_and_for_one_reader(tmp_path: Path, content: bytes, mode: int) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(content)
    secret.chmod(mode)
    with pytest.raises(ConfigurationError):
        channels_of(
            tmp_path,
            f'[[notify.webhook]]\nname="a"\nurl="http://127.0.0.1/"\nsecret="{secret}"',
        )
