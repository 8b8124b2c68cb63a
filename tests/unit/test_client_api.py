"""The API client against a scripted service (a fake) on a real Unix socket."""

import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest

from kms.client import transport
from kms.client.api import Client
from kms.client.transport import Transport, problem_of
from kms.domain.disks import DiskState
from kms.errors import (
    ConclaveError,
    Forbidden,
    HsmUnavailable,
    InvalidInput,
    NotFound,
    Unavailable,
)
from kms.operations import OPERATIONS
from kms.wire.disks import DeviceIn
from kms.wire.requests import RosterWish, WantedEnvelope

MEETING = "0193a5b0-7c3e-7000-8000-0123456789ab"
RECIPIENT = "A" * 43
JWS = "e30.e30.e30"
DROP = b""
"""An answer that is none: the connection ends."""


class Service:
    """Gives the scripted answers in order, one a connection, and keeps the requests."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers, self.requests = answers, list[str]()

    def handle(self, connection: socket.socket) -> None:
        request = connection.recv(65536).decode()
        if "\r\n\r\n" in request and "content-length" in request.lower():
            length = int(field(request, "content-length"))
            while len(request.partition("\r\n\r\n")[2]) < length:
                request += connection.recv(65536).decode()
        self.requests.append(request)
        connection.sendall(self.answers.pop(0))


def field(request: str, name: str) -> str:
    """Return a header field of a request."""
    lines = request.partition("\r\n\r\n")[0].split("\r\n")[1:]
    return {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}[name]


def answer(body: Any, status: int = 200, kind: str = "application/json") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}"
    return head.encode() + b"\r\nConnection: close\r\n\r\n" + data


def problem(code: str, status: int) -> bytes:
    return answer({"type": "urn:x", "title": "X", "status": status, "code": code,
                   "detail": "why", "hint": "do"}, status, "application/problem+json")  # fmt: skip


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_PAUSES", (0.0, 0.0, 0.0))


@contextmanager
def serving(*answers: bytes) -> Iterator[tuple[Client, Service]]:
    service = Service(list(answers))

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            service.handle(self.request)

    with TemporaryDirectory() as folder:
        path = Path(folder) / "api.sock"
        with socketserver.UnixStreamServer(str(path), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                with Client.over_socket(path, timeout=5) as client:
                    yield client, service
            finally:
                server.shutdown()
                thread.join()


def meeting_out(**changes: Any) -> dict[str, Any]:
    return {
        "space": "treasury", "meeting": MEETING, "state": "open", "current_epoch": 0,
        "next_epoch": None, "last_epoch": 0, "roster_version": 1,
        "created": "2026-11-22T03:00:00Z",
        "roster": {"version": 1, "recipients": [RECIPIENT], "statement": None},
        "current": None, "next": None,
    } | changes  # fmt: skip


def envelope_out() -> dict[str, Any]:
    return {"space": "treasury", "meeting": MEETING, "epoch": 3, "recipient": RECIPIENT,
            "manifest": JWS, "blob": "AAAA"}  # fmt: skip


def test_a_create_carries_a_key_of_its_own_and_a_body_without_nulls() -> None:
    with serving(answer(meeting_out(), 201), answer(meeting_out(), 201)) as (client, service):
        wish = RosterWish(recipients=(RECIPIENT,))
        assert client.open_meeting("treasury", wish).meeting == MEETING
        client.open_meeting("treasury", wish)
    first, second = service.requests
    assert first.startswith("POST /v1/spaces/treasury/meetings HTTP/1.1\r\n")
    assert field(first, "host") == "conclave"
    assert json.loads(first.partition("\r\n\r\n")[2]) == {"recipients": [RECIPIENT]}
    assert field(first, "idempotency-key") != field(second, "idempotency-key")


def test_a_create_whose_answer_is_lost_is_repeated_under_the_same_key() -> None:
    with serving(DROP, DROP, answer(meeting_out(), 201)) as (client, service):
        client.rotate("treasury", MEETING, "suspicion")
    assert len(service.requests) == 3
    assert len({field(request, "idempotency-key") for request in service.requests}) == 1


def test_a_caller_may_choose_the_key_to_repeat_a_create_after_its_own_crash() -> None:
    with serving(answer(meeting_out(), 201)) as (client, service):
        client.rotate("treasury", MEETING, idempotency_key="mine")
    assert field(service.requests[0], "idempotency-key") == "mine"


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.set_roster("treasury", MEETING, RosterWish(statement=JWS)),
        lambda c: c.amend_roster("treasury", MEETING, remove=[RECIPIENT]),
        lambda c: c.close_meeting("treasury", MEETING),
        lambda c: c.suspend("treasury", MEETING, "a doubt"),
    ],
)
def test_a_change_that_is_no_create_is_never_repeated(change: Callable[[Client], Any]) -> None:
    with serving(DROP, answer(meeting_out())) as (client, service):
        with pytest.raises(Unavailable, match="does not answer") as refused:
            change(client)
        assert "unknown: look first" in refused.value.hint
        assert len(service.requests) == 1


def test_a_read_is_repeated_and_then_given_up() -> None:
    with serving(DROP, DROP, DROP, DROP) as (client, service):
        with pytest.raises(Unavailable, match="does not answer"):
            client.meeting("treasury", MEETING)
        assert len(service.requests) == 4


def test_a_roster_can_be_changed_only_from_the_version_seen() -> None:
    with serving(answer(meeting_out())) as (client, service):
        client.set_roster("treasury", MEETING, RosterWish(statement=JWS), if_version=7)
    assert field(service.requests[0], "if-match") == '"7"'


def test_names_cannot_climb_out_of_their_place_in_the_path() -> None:
    with serving(problem("not_found", 404)) as (client, service):
        with pytest.raises(NotFound):
            client.meeting("../x?y", MEETING)
        assert service.requests[0].startswith("GET /v1/spaces/..%2Fx%3Fy/meetings/")


def test_envelopes_are_fetched_for_an_epoch_or_the_current_one() -> None:
    missing = {"code": "not_found", "detail": "x"}
    batch = {"items": [{"envelope": envelope_out(), "error": None}, {"error": missing}]}
    with serving(*[answer(envelope_out())] * 2, answer(batch)) as (client, service):
        assert client.envelope("treasury", MEETING, RECIPIENT).epoch == 3
        client.envelope("treasury", MEETING, RECIPIENT, epoch=3)
        wanted = WantedEnvelope(space="treasury", meeting=MEETING, recipient=RECIPIENT)
        items = client.envelopes([wanted, wanted]).items
    assert f"/epochs/current/envelopes/{RECIPIENT} " in service.requests[0]
    assert f"/epochs/3/envelopes/{RECIPIENT} " in service.requests[1]
    assert items[0].envelope is not None
    assert items[1].error is not None
    assert items[1].error.code == "not_found"


def test_listings_are_followed_page_by_page() -> None:
    summary = {k: v for k, v in meeting_out().items() if k not in {"roster", "current", "next"}}
    pages = [{"items": [summary] * 2, "next": MEETING}, {"items": [summary], "next": None}]
    with serving(*map(answer, pages)) as (client, service):
        assert len(list(client.meetings("treasury"))) == 3
    assert f"?after={MEETING} " in service.requests[1]


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [("forbidden", 403, Forbidden), ("hsm_unavailable", 503, HsmUnavailable),
     ("of_the_future", 400, InvalidInput), ("of_the_future", 500, Unavailable)],
)  # fmt: skip
def test_a_problem_comes_back_as_the_error_of_its_code(
    code: str, status: int, kind: type[ConclaveError]
) -> None:
    with serving(problem(code, status)) as (client, _), pytest.raises(ConclaveError) as caught:
        client.spaces()
    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.hint) == ("why", "do")


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"\xff"])
def test_an_error_without_a_problem_document_is_unavailable(body: bytes) -> None:
    assert isinstance(problem_of(502, body), Unavailable)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"status":"live","extra":1}', b'{"status":1}'])
def test_an_answer_of_another_shape_is_unavailable(body: bytes) -> None:
    refused = pytest.raises(Unavailable, match="not one of this API")
    with serving(answer(body)) as (client, _), refused:
        client.live()


def event(seq: int) -> bytes:
    body = {"seq": seq, "kind": "epoch.rotate", "at": "2026-11-22T03:00:00Z",
            "space": "treasury", "meeting": MEETING, "epoch": 1}  # fmt: skip
    return f"id: {seq}\nevent: epoch.rotate\ndata: {json.dumps(body)}\n\n".encode()


def test_events_resume_behind_the_last_one_when_the_connection_breaks() -> None:
    kind = "text/event-stream"
    streams = (answer(b": hello\n\n" + event(4) + event(6), kind=kind), DROP,
               answer(event(9), kind=kind))  # fmt: skip
    with serving(*streams) as (client, service):
        events = client.events(after=3)
        assert [next(events).seq for _ in range(3)] == [4, 6, 9]
        events.close()
    assert [field(r, "last-event-id") for r in service.requests] == ["3", "6", "6"]


def test_following_events_ends_with_the_services_refusal() -> None:
    with serving(problem("forbidden", 403)) as (client, _), pytest.raises(Forbidden):
        next(client.events())


def test_a_question_for_orders_has_patience_as_long_as_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float | None] = []
    longer = transport._longer

    def taken_down(timeout: httpx2.Timeout, patience: int) -> httpx2.Timeout:
        found = longer(timeout, patience)
        waited.append(found.read)
        return found

    monkeypatch.setattr(transport, "_longer", taken_down)
    orders = {"version": 7, "orders": [], "sealed": ["treasury"]}
    with serving(answer(orders), answer({"disks": [], "devices": []})) as (client, service):
        assert client.take_orders(6, 60).sealed == ("treasury",)
        client.disks()
    assert service.requests[0].startswith("GET /v1/appliance/orders?version=6&wait=60 ")
    assert waited == [65, 5]


def test_a_device_is_reported_under_its_own_name_and_orders_are_followed_page_by_page() -> None:
    device = DeviceIn(node="/dev/vdb", size=1, model="", content="", state=DiskState.SEEN)
    told = {**device.model_dump(mode="json"), "serial": "A+B:1", "changed": "2026-11-22T03:00:00Z"}
    order = {"order": MEETING, "kind": "lock", "serial": "A", "disk": None, "space": None,
             "principal": "x", "created": "2026-11-22T03:00:00Z", "state": "done", "dry_run": False,
             "progress": 0, "code": "", "message": "", "ended": None}  # fmt: skip
    pages = [{"items": [order], "next": MEETING}, {"items": [order], "next": None}]
    with serving(answer(told), *map(answer, pages)) as (client, service):
        assert client.report_device("A+B:1", device).serial == "A+B:1"
        assert [len(page.items) for page in client.order_pages(MEETING)] == [1, 1]
    assert service.requests[0].startswith("PUT /v1/appliance/devices/A%2BB%3A1 ")
    assert f"?disk={MEETING}&before={MEETING} " in service.requests[2]


def test_nothing_but_tls_and_the_socket_is_spoken() -> None:
    context = ssl.create_default_context()
    with pytest.raises(InvalidInput):
        Transport.over_tls("http://10.0.0.1", context, 1)


def test_every_operation_has_its_method() -> None:
    parts = Path(transport.__file__).parent.glob("*.py")
    source = "".join(part.read_text() for part in parts)
    named = {name for name in OPERATIONS if f'"{name}"' in source}
    assert set(OPERATIONS) - named == {"envelope.relay"}, "a relay is the same request as a fetch"
