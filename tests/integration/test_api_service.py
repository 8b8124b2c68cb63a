"""The key API of a real service (workers, SoftHSM, SQLite) over socket and mutual TLS."""

import json
import os
import select
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kms.client.api import Client
from kms.client.transport import mutual_tls
from kms.errors import Forbidden, NotFound, Unauthenticated
from kms.practice import PracticeSite
from kms.practice.certificates import KeyAndCertificate, issue_client
from kms.practice.files import write_certificate, write_key
from kms.wire.requests import RosterWish, WantedEnvelope
from tests.fixtures.bad_input import bad_requests
from tests.fixtures.softhsm import clone_site
from tests.practice.service import Service, serving


@pytest.fixture(scope="module")
def service(practice_master: PracticeSite) -> Iterator[Service]:
    with TemporaryDirectory(prefix="cv-") as folder:
        site = clone_site(practice_master, Path(folder, "s"))
        with serving(site) as running:
            yield running


def ids(service: Service) -> dict[str, str]:
    with service.console() as console:
        return {entry.name: entry.recipient for entry in console.recipients().items}


def tls_answer(service: Service, context: ssl.SSLContext, data: bytes) -> bytes:
    """Return all that one TLS connection answers to bytes."""
    host, port = service.url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), 10) as raw,
        context.wrap_socket(raw, server_hostname=host) as wrapped,
    ):
        wrapped.sendall(data)
        answer = b""
        while part := wrapped.recv(1 << 16):
            answer += part
        return answer


def identity(service: Service, name: str) -> ssl.SSLContext:
    server = service.site.server(name)
    return mutual_tls(server.certificate, server.tls_key, service.site.tls_ca)


def test_a_meeting_server_fetches_its_own_envelope_and_no_others(service: Service) -> None:
    known = ids(service)
    with service.server("ms-a") as alpha, service.server("ms-b") as beta:
        both = RosterWish(recipients=(known["ms-a"], known["ms-b"]))
        meeting = alpha.open_meeting("treasury", both).meeting
        assert alpha.envelope("treasury", meeting, known["ms-a"]).epoch == 0
        assert beta.envelope("treasury", meeting, known["ms-b"]).epoch == 0
        with pytest.raises(Forbidden):
            alpha.envelope("treasury", meeting, known["ms-b"])
        changed = alpha.amend_roster("treasury", meeting, remove=[known["ms-b"]])
        assert changed.current_epoch == 1
        with pytest.raises(Forbidden):
            beta.envelope("treasury", meeting, known["ms-b"], epoch=0)
        wanted = [
            WantedEnvelope(space="treasury", meeting=meeting, recipient=known[name], epoch=1)
            for name in ("ms-a", "ms-b")
        ]
        items = alpha.envelopes(wanted).items
        assert items[0].envelope is not None
        assert items[1].error is not None
        assert items[1].error.code == "forbidden"


def test_another_spaces_meeting_reads_like_a_missing_one(service: Service) -> None:
    known = ids(service)
    with service.server("ms-a") as alpha, service.server("ms-1") as other:
        meeting = alpha.open_meeting("treasury", RosterWish(recipients=(known["ms-a"],))).meeting
        said = []
        for space in ("treasury", "no-such-space"):
            with pytest.raises(NotFound) as caught:
                other.meeting(space, meeting)
            said.append((caught.value.message, caught.value.hint))
        assert said[0] == said[1]
        assert {entry.space for entry in other.spaces().items} == {"investment-banking"}
        assert {entry.space for entry in other.recipients().items} == {"investment-banking"}


def test_people_get_no_envelope(service: Service) -> None:
    known = ids(service)
    with service.server("ms-a") as alpha, service.console() as console:
        meeting = alpha.open_meeting("treasury", RosterWish(recipients=(known["ms-a"],))).meeting
        for recipient in (known["ms-a"], known["vault"], known["escrow"]):
            with pytest.raises(Forbidden):
                console.envelope("treasury", meeting, recipient)


def test_a_server_hears_of_its_own_spaces_changes_over_tls(service: Service) -> None:
    known = ids(service)
    with service.server("ms-a") as alpha, service.server("ms-b") as beta:
        opened = alpha.open_meeting("treasury", RosterWish(recipients=(known["ms-a"],)))
        heard = beta.events(0)
        kinds = set()
        for event in heard:
            kinds.add((event.meeting, event.kind))
            if event.meeting == opened.meeting:
                break
        heard.close()
        assert (opened.meeting, "meeting.open") in kinds


def test_a_certificate_of_the_right_ca_but_unregistered_is_nobody(
    service: Service, tmp_path: Path
) -> None:
    pem = service.site.tls_ca_key.read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    authority = x509.load_pem_x509_certificate(service.site.tls_ca.read_bytes())
    issued = issue_client(KeyAndCertificate(key, authority), "ms-a")
    write_key(tmp_path / "key.pem", issued.key)
    write_certificate(tmp_path / "cert.pem", issued.certificate)
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    context = mutual_tls(*paths, service.site.tls_ca)
    with Client.over_tls(service.url, context) as stranger, pytest.raises(Unauthenticated):
        stranger.live()


def test_without_a_client_certificate_no_request_is_heard(service: Service) -> None:
    context = ssl.create_default_context(cafile=str(service.site.tls_ca))
    request = b"GET /v1/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    try:
        assert tls_answer(service, context, request) == b""
    except (ssl.SSLError, ConnectionResetError):
        return


def test_tls_below_1_3_is_refused(service: Service) -> None:
    context = identity(service, "ms-a")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        tls_answer(service, context, b"")


def test_a_foreign_host_name_is_refused_over_tls(service: Service) -> None:
    request = b"GET /v1/health/live HTTP/1.1\r\nHost: conclave\r\nConnection: close\r\n\r\n"
    assert tls_answer(service, identity(service, "ms-a"), request).startswith(b"HTTP/1.1 421")


def test_bad_input_changes_nothing_and_kills_no_worker(service: Service) -> None:
    known = ids(service)
    with service.server("ms-a") as alpha, service.console() as console:
        meeting = alpha.open_meeting("treasury", RosterWish(recipients=(known["ms-a"],))).meeting
        workers = service.pids()
        size = console.status().tree_size
        context = identity(service, "ms-a")
        every = list(bad_requests("treasury", meeting, known["ms-a"]))
        for request in every[::20]:  # each costs a handshake; a unit test sends them all
            data = request.encode("127.0.0.1\r\nConnection: close")
            answer = tls_answer(service, context, data)
            status = int(answer.split()[1])
            assert 400 <= status < 500, (request.name, answer[:500])
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == status
        actions = {json.loads(leaf)["action"] for leaf in console.leaves(size)}
        assert actions <= {"access.refused"}
        assert service.pids() == workers
        assert alpha.meeting("treasury", meeting).last_epoch == 0


def test_the_socket_is_for_the_group_alone(service: Service) -> None:
    path = service.settings.paths.api_socket
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    for worker in service.settings.hsm.tokens:
        mode = service.settings.paths.worker_socket(worker.label).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600


def test_the_web_process_has_no_hsm_module_and_no_pin(service: Service) -> None:
    web = Path(f"/proc/{service.pids()['web']}")
    maps = web.joinpath("maps").read_text()
    assert "softhsm" not in maps
    assert "pkcs11" not in maps
    pins = json.loads(service.site.pins.read_text()).values()
    for place in ("cmdline", "environ"):
        text = web.joinpath(place).read_text()
        assert not any(pin in text for pin in pins)


def test_a_second_web_process_does_not_take_over_the_socket(service: Service) -> None:
    command = [sys.executable, "-m", "kms.api", "--config", str(service.site.config)]
    second = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert second.returncode == 78
    line = json.loads(second.stderr.splitlines()[-1])
    assert "another service listens" in line["message"]
    with service.console() as console:
        assert console.ready().status == "ready"


# httpcore2 leaves the socket of a connect that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_web_process_that_ends_comes_back_on_the_same_socket(
    service: Service, number: signal.Signals
) -> None:
    victim = service.pids()["web"]
    with os.fdopen(os.pidfd_open(victim)) as death:
        os.kill(victim, number)
        assert select.select([death], [], [], 10)[0]
    begun = time.monotonic()
    service.await_ready()
    assert time.monotonic() - begun < 10
    assert service.pids()["web"] != victim
    with service.server("ms-a") as alpha:
        assert alpha.live().status == "live"


def test_a_stop_lets_a_request_in_progress_end_and_closes_streams(
    practice_site: PracticeSite,
) -> None:
    with serving(practice_site) as running:
        known = ids(running)
        with running.server("ms-a") as alpha:
            alpha.open_meeting("treasury", RosterWish(recipients=(known["ms-a"],)))
        with running.console() as console:
            stream = console.events(0)
            next(stream)
            assert running.stop() == 0
            stream.close()
        assert not running.settings.paths.api_socket.exists()
    assert '"exception"' not in running.log.read_text()
