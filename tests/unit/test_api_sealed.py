"""The API of a sealed box: health and status say so, to callers alone; the rest is 503."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest

from kms.api.sealed import SealedApi
from kms.api.server import make_listener
from kms.domain.models import Role
from kms.settings import Caller
from tests.fixtures.api import make_caller, make_settings

Work = Callable[[httpx2.AsyncClient], Awaitable[None]]


def run_sealed(work: Work, caller: Caller | None = None) -> None:
    with TemporaryDirectory(prefix="cv-") as name:
        asyncio.run(_run(Path(name), work, caller))


async def _run(folder: Path, work: Work, caller: Caller | None) -> None:
    settings = make_settings(folder, caller=caller)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listening.bind(str(folder / "api.sock"))
    listener = make_listener(SealedApi.of(settings).asgi, settings.api, listening, None)
    task = asyncio.create_task(listener.serve())
    await listener.listening.wait()
    wire = httpx2.AsyncHTTPTransport(uds=str(folder / "api.sock"))
    try:
        async with httpx2.AsyncClient(transport=wire, base_url="http://conclave") as client:
            await work(client)
    finally:
        listener.should_exit = True
        await task
        listening.close()


def test_it_lives_is_not_ready_and_says_why():
    async def work(client: httpx2.AsyncClient) -> None:
        live = await client.get("/v1/health/live")
        assert (live.status_code, live.json()["status"]) == (200, "live")
        ready = await client.get("/v1/health/ready")
        assert (ready.status_code, ready.json()["code"]) == (503, "sealed")
        assert "unseal" in ready.json()["hint"]
        status = (await client.get("/v1/status")).json()
        assert status["key_operations"] == "sealed"
        assert set(status["workers"].values()) == {"sealed"}

    run_sealed(work)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/spaces"),
        ("GET", "/v1/spaces/treasury/meetings"),
        ("POST", "/v1/spaces/treasury/meetings"),
        ("POST", "/v1/site:seal"),
        ("GET", "/v1/nothing"),
        ("POST", "/v1/health/live"),
    ],
)
def test_everything_else_is_sealed(method: str, path: str):
    async def work(client: httpx2.AsyncClient) -> None:
        answer = await client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (503, "sealed")

    run_sealed(work)


def test_a_stranger_learns_nothing():
    async def work(client: httpx2.AsyncClient) -> None:
        for path in ("/v1/health/live", "/v1/status", "/v1/spaces"):
            assert (await client.get(path)).status_code == 401

    run_sealed(work, make_caller(uid=os.getuid() + 1))


def test_status_is_for_those_who_watch():
    async def work(client: httpx2.AsyncClient) -> None:
        assert (await client.get("/v1/status")).status_code == 403
        assert (await client.get("/v1/health/live")).status_code == 200

    run_sealed(work, make_caller((Role.MEETING_SERVER,)))


def test_another_host_is_refused():
    async def work(client: httpx2.AsyncClient) -> None:
        answer = await client.get("/v1/health/live", headers={"host": "elsewhere.example"})
        assert answer.status_code == 421

    run_sealed(work)
