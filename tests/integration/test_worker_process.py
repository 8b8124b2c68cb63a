"""The worker as a process: who may talk to it, what kills it, what does not, what it leaves."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kms.domain.ids import SpaceName
from kms.errors import HsmUnavailable, InvalidInput, NotFound
from kms.hsm.channel import Frames, encode
from kms.hsm.client import Workers
from kms.hsm.messages import Describe, Described, LastCheckpoint, Request, Response
from kms.ports import Minted
from tests.faults import build
from tests.faults.plan import Fault, FaultPlan, Hang, Return, When
from tests.fixtures.hsm import (
    PIN,
    PROFILE,
    TREASURY,
    HsmSite,
    hsm_site,
    trusted_order,
)

LABEL = "space-t"
CKR_DEVICE_ERROR, CKR_GENERAL_ERROR = 0x30, 0x05


@pytest.fixture
def site() -> Iterator[HsmSite]:
    yield from hsm_site()


@pytest.fixture
def faulty(site: HsmSite) -> FaultPlan:
    """Put the fault module between the site's workers and SoftHSM."""
    plan = FaultPlan(site.home)
    plan.write()
    site.environment |= plan.environment()
    profile = site.home / "faulty.toml"
    modules = re.sub(
        r"modules = \[.*?\]",
        f'modules = ["{build.shim("faulthsm")}"]',
        PROFILE.read_text(),
        count=1,
        flags=re.DOTALL,
    )
    profile.write_text(modules)
    site.configure(deadline=1.0, profile=profile)
    return plan


def socket_path(site: HsmSite) -> Path:
    return site.settings.paths.worker_socket(LABEL)


def connect(site: HsmSite) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(5)
    peer.connect(str(socket_path(site)))
    return peer


def read(peer: socket.socket, count: int) -> list[Response]:
    frames, responses = Frames(Response), []
    while len(responses) < count:
        data = peer.recv(1 << 16)
        assert data, "the worker closed the connection"
        responses += frames.feed(data)
    return responses


def test_only_its_owner_reaches_the_socket(site):
    site.start(LABEL)
    mode = socket_path(site).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_peer_of_another_uid_is_not_heard(site):
    site.start(LABEL)
    site.home.chmod(0o755)
    socket_path(site).chmod(0o666)
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(5)
    os.seteuid(65534)  # the kernel tells the worker who connected, not who writes later
    try:
        peer.connect(str(socket_path(site)))
    finally:
        os.seteuid(0)
    with peer, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        peer.sendall(encode(Request(1, Describe())))
        assert peer.recv(1) == b""


def test_pipelined_requests_are_answered_in_order(site):
    site.start(LABEL)
    with connect(site) as peer:
        peer.sendall(b"".join(encode(Request(i, Describe())) for i in range(20)))
        responses = read(peer, 20)
    assert [response.id for response in responses] == list(range(20))
    assert all(isinstance(response.answer, Described) for response in responses)


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff\xff\xff\xff",
        struct.pack(">I", 0),
        struct.pack(">I", 3) + b"abc",
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 100_000) + b"\x91" * 100_000,
        encode(Request(1, Describe()))[:-1] + b"\x00",
    ],
)
def test_a_malformed_frame_ends_its_connection_and_nothing_else(site, junk):
    worker = site.start(LABEL)
    with connect(site) as other, connect(site) as peer:
        peer.sendall(junk)
        assert peer.recv(1) == b""
        other.sendall(encode(Request(7, Describe())))
        (response,) = read(other, 1)
    assert isinstance(response.answer, Described)
    assert response.answer.info.worker_pid == worker.pid


def test_a_command_for_another_token_is_refused_by_its_code(site):
    site.start(LABEL)
    with connect(site) as peer:
        peer.sendall(encode(Request(1, LastCheckpoint())))
        (response,) = read(peer, 1)
    assert response.answer.code == InvalidInput.code


def test_a_half_sent_request_is_harmless(site):
    worker = site.start(LABEL)
    with connect(site) as peer:
        peer.sendall(encode(Request(1, Describe()))[:9])
    assert minted(site)
    assert worker.poll() is None


async def mint(workers: Workers) -> Minted:
    return await workers.space(SpaceName(TREASURY)).mint(trusted_order())


def minted(site: HsmSite) -> Minted:
    async def run() -> Minted:
        workers = Workers(site.settings)
        try:
            return await mint(workers)
        finally:
            await workers.close()

    return asyncio.run(run())


def test_no_worker_is_hsm_unavailable(site):
    with pytest.raises(HsmUnavailable):
        minted(site)


def test_an_unknown_space_is_not_found(site):
    async def run() -> None:
        Workers(site.settings).space(SpaceName("elsewhere"))

    with pytest.raises(NotFound):
        asyncio.run(run())


def test_the_client_recovers_when_a_killed_worker_is_started_again(site):
    async def run() -> None:
        workers = Workers(site.settings)
        assert await mint(workers)
        waiting = [asyncio.create_task(mint(workers)) for _ in range(50)]
        await asyncio.sleep(0)
        site.workers[LABEL].kill()
        site.workers[LABEL].wait()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert any(isinstance(result, HsmUnavailable) for result in results)
        assert all(isinstance(result, HsmUnavailable | Minted) for result in results)
        with pytest.raises(HsmUnavailable):
            await mint(workers)
        site.start(LABEL)
        assert await mint(workers)
        await workers.close()

    site.start(LABEL)
    asyncio.run(run())


def test_a_stopped_worker_is_given_up_after_the_deadline(site):
    site.configure(deadline=0.5)

    async def run() -> None:
        workers = Workers(site.settings)
        assert await mint(workers)
        site.workers[LABEL].send_signal(signal.SIGSTOP)
        started = time.monotonic()
        results = await asyncio.gather(mint(workers), mint(workers), return_exceptions=True)
        assert all(isinstance(result, HsmUnavailable) for result in results)
        assert time.monotonic() - started < 3
        site.workers[LABEL].send_signal(signal.SIGCONT)
        assert await mint(workers)
        await workers.close()

    site.start(LABEL)
    asyncio.run(run())


def test_a_call_that_hangs_in_the_module_is_killed_by_the_kernel(site, faulty):
    worker = site.start(LABEL)
    assert minted(site)
    faulty.write(Fault("C_WrapKey", Hang()))
    with pytest.raises(HsmUnavailable):
        minted(site)
    assert worker.wait(5) == -signal.SIGALRM


def test_an_error_of_the_token_fails_one_request_and_the_worker_goes_on(site, faulty):
    worker = site.start(LABEL)
    for function in ("C_GenerateKey", "C_WrapKey", "C_Sign", "C_SignInit", "C_DestroyObject"):
        faulty.write(Fault(function, Return(CKR_GENERAL_ERROR), nth=1))
        with pytest.raises(HsmUnavailable) as failure:
            minted(site)
        assert failure.value.message == "the token refused the operation"
        faulty.write()
        assert minted(site)
    assert worker.poll() is None


def test_a_create_is_never_tried_again(site, faulty):
    site.start(LABEL)
    faulty.write(Fault("C_GenerateKey", Return(CKR_GENERAL_ERROR), When.AFTER))
    before = sum(call.function == "C_GenerateKey" for call in faulty.calls())
    with pytest.raises(HsmUnavailable):
        minted(site)
    assert sum(call.function == "C_GenerateKey" for call in faulty.calls()) == before + 1


def test_a_lost_token_ends_the_worker_to_be_replaced(site, faulty):
    worker = site.start(LABEL)
    faulty.write(Fault("C_WrapKey", Return(CKR_DEVICE_ERROR)))
    with pytest.raises(HsmUnavailable):
        minted(site)
    assert worker.wait(5) == 69


def test_a_wrong_pin_ends_the_worker_after_one_attempt(site, faulty):
    worker = site.start(LABEL, pin="not-the-pin")
    assert worker.wait(5) == 78
    assert sum(call.function == "C_Login" for call in faulty.calls()) == 1


def test_an_empty_pin_is_refused(site):
    assert site.start(LABEL, pin="").wait(5) == 78


def test_the_pin_is_in_no_output_argument_or_environment(site, faulty):
    worker = site.start(LABEL)
    proc = Path("/proc") / str(worker.pid)
    assert PIN.encode() not in (proc / "cmdline").read_bytes()
    assert PIN.encode() not in (proc / "environ").read_bytes()
    faulty.write(Fault("C_Login", Return(CKR_GENERAL_ERROR)), Fault("C_Sign", Return(5)))
    for _ in range(2):
        with pytest.raises(HsmUnavailable):
            minted(site)
    worker.terminate()
    worker.wait()
    assert PIN not in site.log(LABEL)


def test_a_worker_leaves_no_core_and_cannot_be_traced(site):
    worker = site.start(LABEL)
    proc = Path("/proc") / str(worker.pid)
    limits = (proc / "limits").read_text()
    assert re.search(r"Max core file size +0 +0", limits)
    assert (proc / "maps").stat().st_uid == 0


def test_sigterm_ends_it_cleanly(site):
    worker = site.start(LABEL)
    worker.terminate()
    assert worker.wait(5) == 0
    assert not socket_path(site).exists()


def test_a_second_worker_of_a_token_is_refused_and_the_first_goes_on(site):
    first = site.start(LABEL)
    second = site.start(LABEL)
    assert second.wait(5) == 78
    assert minted(site)
    assert first.poll() is None
    first.kill()
    first.wait()


def test_a_socket_that_a_killed_worker_left_is_taken_over(site):
    worker = site.start(LABEL)
    worker.kill()
    worker.wait()
    assert socket_path(site).exists()
    site.start(LABEL)
    assert minted(site)


def test_an_unknown_token_is_refused(site):
    assert site.start("nobody").wait(5) == 78
