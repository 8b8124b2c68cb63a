"""What stands before the API (over a fake HSM): who asks, under which name, how much, how long."""

import asyncio
import json
import os
import time

import pytest
from starlette.types import Message, Receive, Scope, Send

from kms.api.app import create_app
from kms.api.identity import Identities
from kms.api.limits import Limits
from kms.api.peer import Peer
from kms.domain.models import PrincipalKind, Role
from kms.errors import ConclaveError, Unauthenticated
from kms.settings import Api
from tests.fixtures.api import TREASURY, FakeSite, make_caller, run_with_site

GET = b"GET /v1/health/live HTTP/1.1\r\nHost: conclave\r\nConnection: close\r\n\r\n"
POST = b"POST /v1/spaces/treasury/meetings HTTP/1.1\r\nHost: conclave\r\n"


def code(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer[:400]
    assert b"server:" not in head.lower()
    return int(head.split()[1]), json.loads(body)["code"]


def send(data: bytes, api: Api | None = None) -> bytes:
    """Return what the service answers to bytes on one connection."""
    answers: list[bytes] = []

    async def work(site: FakeSite) -> None:
        async with site.serving():
            answers.append(await asyncio.wait_for(site.raw(data), 10))

    run_with_site(work, api)
    return answers[0]


def test_a_known_caller_is_answered() -> None:
    answer = send(GET)
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b'{"status":"live"}')


@pytest.mark.parametrize("path", [b"/v1/health/live", b"/v1/openapi.json", b"/nowhere", b"/"])
def test_a_user_that_the_configuration_does_not_name_learns_nothing(path: bytes) -> None:
    stranger = make_caller(uid=os.getuid() + 1)
    answers = []

    async def work(site: FakeSite) -> None:
        async with site.serving():
            answers.append(await site.raw(GET.replace(b"/v1/health/live", path)))

    run_with_site(work, caller=stranger)
    assert code(answers[0]) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"Host: conclave", 200),
        (b"Host: LOCALHOST:80", 200),
        (b"Host: conclave.example", 421),
        (b"Host: 127.0.0.1", 421),
        (b"Host: ", 421),
        (b"Host: conclave\r\nHost: conclave", 421),
        (b"X-Forwarded-Host: conclave", 421),
        (b"Host: evil\r\nX-Forwarded-Host: conclave", 421),
        (b"Host: conclave@evil", 421),
    ],
)
def test_only_the_services_own_names_are_answered(host: bytes, status: int) -> None:
    answer = send(GET.replace(b"Host: conclave", host))
    assert int(answer.split()[1]) == status
    if status != 200:
        assert code(answer) == (421, "host_not_allowed")


def test_forwarded_headers_change_nobody() -> None:
    forwarded = b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nForwarded: for=x\r\n\r\n"
    assert send(GET[:-2] + forwarded).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET /nowhere", (404, "not_found")),
        (b"GET /v1/meetings/", (404, "not_found")),
        (b"DELETE /v1/health/live", (405, "method_not_allowed")),
        (b"HEAD /v1/health/live", (405, "method_not_allowed")),
        (b"POST /v1/status", (405, "method_not_allowed")),
        (b"PURGE /v1/status", (405, "method_not_allowed")),
        (b"GET http://conclave:1/nowhere", (404, "not_found")),
    ],
)
def test_what_no_route_takes_has_the_same_error_shape(
    line: bytes, expected: tuple[int, str]
) -> None:
    answer = send(GET.replace(b"GET /v1/health/live", line))
    if line.startswith(b"HEAD"):
        assert int(answer.split()[1]) == expected[0]
    else:
        assert code(answer) == expected


def test_an_envelope_is_not_released_into_a_head_request() -> None:
    path = b"/v1/spaces/treasury/meetings/x/epochs/0/envelopes/y"
    answer = send(GET.replace(b"GET /v1/health/live", b"HEAD " + path))
    assert answer.startswith(b"HTTP/1.1 405")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: conclave\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: conclave\r\nBad Header: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        POST + b"Content-Length: -1\r\n\r\n{}",
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ],
)
def test_what_is_not_http_is_refused_in_the_same_shape(data: bytes) -> None:
    assert code(send(data))[0] == 400


def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    head = b"Content-Type: application/json\r\nContent-Length: 67108864\r\n\r\n"
    assert code(send(POST + head)) == (413, "too_large")


def test_a_chunked_body_is_bounded_too() -> None:
    head = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    answer = send(POST + head + chunk * 8, Api(max_body=4096))
    assert code(answer) == (413, "too_large")


def test_a_long_head_is_refused_before_it_ends() -> None:
    api = Api(max_header=4096)
    endless = GET[:-2] + b"X: " + b"a" * 100_000
    assert code(send(endless, api)) == (431, "header_too_large")
    many = GET[:-2] + b"X: y\r\n" * 900 + b"\r\n"
    assert code(send(many, api)) == (431, "header_too_large")


def test_a_connection_that_sends_nothing_or_half_a_head_is_closed() -> None:
    api = Api(request_seconds=0.2)
    for part in (b"", b"GET", GET[:-2]):
        began = time.monotonic()
        assert code(send(part, api)) == (408, "request_timeout")
        assert time.monotonic() - began < 5


def test_a_second_half_head_on_a_kept_connection_is_closed_too() -> None:
    answer = send(GET.replace(b"Connection: close\r\n", b"") + b"GET", Api(request_seconds=0.2))
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in answer


def test_half_a_body_is_not_waited_for() -> None:
    head = b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    answer = send(POST + head, Api(request_seconds=0.2))
    assert code(answer) == (408, "request_timeout")


def test_an_operation_that_takes_too_long_says_that_the_outcome_is_unknown() -> None:
    async def work(site: FakeSite) -> None:
        site.workers.spaces[TREASURY].slow = 1.0
        async with site.client() as client:
            url, body = f"/v1/spaces/{TREASURY}/meetings", {"recipients": ["a" * 43]}
            headers = {"idempotency-key": "k"}
            late = await client.post(url, json=body, headers=headers)
            assert (late.status_code, late.json()["code"]) == (503, "unavailable")
            again = await client.post(url, json=body, headers=headers)
            while again.status_code == 503:
                again = await client.post(url, json=body, headers=headers)
            assert again.headers["idempotency-replayed"] == "true"
        assert site.workers.spaces[TREASURY].mints == 1

    run_with_site(work, Api(request_seconds=0.3))


def test_more_connections_than_the_limit_are_turned_away() -> None:
    async def work(site: FakeSite) -> None:
        async with site.serving():
            held = [await asyncio.open_unix_connection(str(site.socket)) for _ in range(5)]
            await asyncio.sleep(0.05)
            assert code(await site.raw(GET)) == (503, "unavailable")
            held.pop()[1].close()
            await asyncio.sleep(0.05)
            assert (await site.raw(GET)).startswith(b"HTTP/1.1 200")
            for _, writer in held:
                writer.close()

    run_with_site(work, Api(max_connections=5))


def test_many_half_open_bodies_do_not_keep_others_out() -> None:
    head = POST + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"

    async def work(site: FakeSite) -> None:
        async with site.serving():
            waiting = [asyncio.create_task(site.raw(head)) for _ in range(100)]
            await asyncio.sleep(0.1)
            assert (await site.raw(GET)).startswith(b"HTTP/1.1 200")
            answers = await asyncio.gather(*waiting)
            assert {code(answer) for answer in answers} == {(408, "request_timeout")}

    run_with_site(work, Api(request_seconds=0.5))


def test_pipelined_requests_are_answered_in_order() -> None:
    first = GET.replace(b"Connection: close\r\n", b"")
    second = GET.replace(b"/v1/health/live", b"/nowhere")
    answer = send(first + second)
    assert answer.index(b"HTTP/1.1 200") < answer.index(b"HTTP/1.1 404")


def test_a_certificate_stands_for_its_registered_server_while_it_is_valid() -> None:
    async def work(site: FakeSite) -> None:
        identities = Identities(site.services)
        now = site.services.clock.now()
        known = await identities.principal(Peer(spki="a" * 43, expires=now + 1))
        assert (known.name, known.kind) == ("server:alpha", PrincipalKind.TLS)
        assert (known.roles, known.spaces) == ({Role.MEETING_SERVER}, {TREASURY})
        assert known.recipient == "a" * 43
        for peer in (
            Peer(spki="a" * 43, expires=now),
            Peer(spki="z" * 43, expires=now + 1),
            Peer(expires=now + 1),
            Peer(),
            Peer(uid=os.getuid() + 1),
        ):
            with pytest.raises(Unauthenticated):
                await identities.principal(peer)

    run_with_site(work)


def test_an_unexpected_error_is_logged_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def explode() -> None:
        raise RuntimeError("secret detail")

    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            answer = await client.get("/v1/health/ready")
            assert answer.status_code == 500
            assert answer.json()["code"] == "internal_error"
            assert "secret" not in answer.text

    run_with_site(work, gate=explode)
    assert "secret detail" in caplog.text


def test_a_code_that_the_table_does_not_know_is_an_internal_error() -> None:
    class NovelError(ConclaveError):
        code = "novel"

    def explode() -> None:
        raise NovelError("inner working")

    async def work(site: FakeSite) -> None:
        async with site.client() as client:
            answer = await client.get("/v1/health/ready")
            assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
            assert "inner" not in answer.text

    run_with_site(work, gate=explode)


def test_no_environment_variable_can_make_it_send_telemetry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")

    async def work(site: FakeSite) -> None:
        app = create_app(site.services)
        assert not app._native_telemetry.enabled()
        assert app._telemetry["auto_configure"] is False

    run_with_site(work)


@pytest.mark.parametrize(("pause", "whole"), [(0.06, True), (0.5, False)])
def test_a_large_answer_may_take_long_while_it_moves(pause: float, whole: bool) -> None:
    """Its pieces together take longer than a request may."""
    sent: list[bytes] = []

    async def pieces(_scope: Scope, _receive: Receive, reply: Send) -> None:
        await reply({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(6):
            await asyncio.sleep(pause)
            await reply({"type": "http.response.body", "body": b"x", "more_body": True})
        await reply({"type": "http.response.body", "body": b""})

    async def take(message: Message) -> None:
        sent.append(message.get("body", b""))

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: Scope = {
        "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
        "headers": [],
    }  # fmt: skip
    serve = Limits(pieces, Api(request_seconds=0.2), {})(scope, receive, take)
    if whole:
        asyncio.run(serve)
        assert b"".join(sent) == b"x" * 6
    else:
        with pytest.raises(TimeoutError):
            asyncio.run(serve)
