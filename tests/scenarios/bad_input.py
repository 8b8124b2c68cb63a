"""The whole list of bad input against a served site, over its Unix socket and over mutual TLS."""

import json
import socket
import sqlite3
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from kms.api.problem import MEDIA_TYPE
from kms.audit.leaf import decode_leaf
from kms.client.transport import mutual_tls
from kms.wire.requests import RosterWish
from kms.wire.statuses import STATUS
from tests.fixtures.bad_input import BadRequest, bad_requests
from tests.practice.service import Service
from tests.scenarios.store_faults import back_up

SPACE, SERVER = "treasury", "ms-a"
_SECONDS = 30.0
_MEMBERS = {"type", "title", "status", "code", "detail"}
_MAY_GROW = {"leaf", "checkpoint"}

Connect = Callable[[], socket.socket]


@dataclass
class Report:
    """How many requests were sent and answered, by code; what was wrong; what has changed."""

    socket: int = 0
    tls: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    actions: Counter[str] = field(default_factory=Counter)
    same_processes: bool = False


def run(service: Service, directory: Path, *, every: int, tls_every: int) -> Report:
    """Send every ``every``-th request of the list over the socket, others sampled over TLS."""
    report = Report()
    meeting, recipient = _meeting(service)
    requests = list(bad_requests(SPACE, meeting, recipient))
    pids, before = service.pids(), _contents(service, directory / "before.db")
    for request in islice(requests, 0, None, every):
        report.socket += 1
        _judge(report, request, _ask(lambda: _over_socket(service), request, "conclave"))
    context = _identity(service)
    for request in islice(requests, 0, None, tls_every):
        report.tls += 1
        _judge(report, request, _ask(lambda: _over_tls(service, context), request, "localhost"))
    after = _contents(service, directory / "after.db")
    report.changed = [name for name in after if not _is_kept(name, before, after)]
    report.actions = _new_actions(service, len(before["leaf"]))
    report.same_processes = service.pids() == pids
    _control(service, context, meeting, recipient)
    return report


def _meeting(service: Service) -> tuple[str, str]:
    with service.server(SERVER) as server:
        ids = {one.name: one.recipient for one in server.recipients().items}
        opened = server.open_meeting(SPACE, RosterWish(recipients=(ids[SERVER],)))
    return opened.meeting, ids[SERVER]


def _control(service: Service, context: ssl.SSLContext, meeting: str, recipient: str) -> None:
    """The same way of asking is served when nothing is wrong."""
    envelope = f"/v1/spaces/{SPACE}/meetings/{meeting}/epochs/0/envelopes/{recipient}"
    good = BadRequest("nothing wrong", "GET", envelope)
    assert _ask(lambda: _over_tls(service, context), good, "localhost")[0] == 200
    good = BadRequest("nothing wrong", "GET", f"/v1/spaces/{SPACE}/meetings/{meeting}")
    assert _ask(lambda: _over_socket(service), good, "conclave")[0] == 200


# --- asking --------------------------------------------------------------------------------------


def _identity(service: Service) -> ssl.SSLContext:
    server = service.site.server(SERVER)
    return mutual_tls(server.certificate, server.tls_key, service.site.tls_ca)


def _over_socket(service: Service) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_SECONDS)
    connection.connect(str(service.settings.paths.api_socket))
    return connection


def _over_tls(service: Service, context: ssl.SSLContext) -> socket.socket:
    host, port = service.url.removeprefix("https://").split(":")
    raw = socket.create_connection((host, int(port)), _SECONDS)
    return context.wrap_socket(raw, server_hostname=host)


def _ask(connect: Connect, request: BadRequest, host: str) -> tuple[int, str, bytes]:
    """Return status, head and body of the one answer."""
    headers = (*request.headers, ("connection", "close"))
    data = BadRequest(request.name, request.method, request.path, headers, request.body)
    answer = b""
    with connect() as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            # Whoever refuses a head need not read the body.
            connection.sendall(data.encode(host))
        while part := connection.recv(1 << 16):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode("latin-1").lower(), body


def _judge(report: Report, request: BadRequest, answer: tuple[int, str, bytes]) -> None:
    status, head, body = answer
    problem = json.loads(body) if MEDIA_TYPE in head else {}
    code = str(problem.get("code"))
    shaped = _MEMBERS <= set(problem) <= _MEMBERS | {"hint"}
    report.codes[code] += 1
    if not (shaped and 400 <= status < 500 and STATUS.get(code) == status == problem["status"]):
        report.wrong.append(f"{request.name}: {status} {body[:200]!r}")


# --- looking -------------------------------------------------------------------------------------


Contents = dict[str, list[tuple[object, ...]]]
"""Every row of every table."""


def _contents(service: Service, copy: Path) -> Contents:
    with closing(sqlite3.connect(back_up(service.settings.paths.database, copy))) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in names}


OWN_WORK = frozenset({"lease", "mark"})
"""Tables that the service's background work writes all the time, whoever asks."""


def _is_kept(table: str, before: Contents, after: Contents) -> bool:
    old, new = before[table], after[table]
    if table in OWN_WORK:
        return True
    return new[: len(old)] == old if table in _MAY_GROW else new == old


def _new_actions(service: Service, size: int) -> Counter[str]:
    with service.console() as console:
        return Counter(decode_leaf(leaf.encode()).action for leaf in console.leaves(size))
