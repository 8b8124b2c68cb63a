"""A fake of the key API on a Unix socket, for the examples' own test: the issuer mints, nothing is
stored, nobody is checked.
"""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from kms.domain.models import RotationReason
from kms.statements.roster import RosterStatement, peek_roster
from kms.wire.base import rfc3339
from tests.practice.issuer import Issued, Issuer

AHEAD = 1


class FakeMeeting:
    """One meeting in memory."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer, self.epochs = issuer, list[Issued]()
        self.events: list[dict[str, Any]] = []
        self.readers: list[rsa.RSAPublicKey] = []
        self.statement = ""
        self.roster: RosterStatement | None = None
        self.state = "open"

    def change(self, statement: str, kind: str) -> dict[str, Any]:
        self.roster, self.statement = peek_roster(statement), statement
        self.readers = []
        for device in self.roster.devices:
            key = x509.load_der_x509_certificate(base64.b64decode(device)).public_key()
            assert isinstance(key, rsa.RSAPublicKey)
            self.readers.append(key)
        return self.mint(kind, 0)

    def mint(self, kind: str, ahead: int) -> dict[str, Any]:
        assert self.roster is not None
        nbf, number, meeting = int(time.time()) + ahead, len(self.epochs), self.roster.meeting
        issued = self.issuer.mint(self.readers, number, nbf=nbf, exp=nbf + 600, meeting=meeting)
        self.epochs.append(issued)
        self.events.append({"seq": len(self.events) + 1, "kind": kind, "at": rfc3339(nbf),
                            "space": self.issuer.space, "meeting": meeting,
                            "epoch": number})  # fmt: skip
        return self.view()

    def view(self) -> dict[str, Any]:
        assert self.roster is not None
        number = len(self.epochs) - 1
        manifest = self.epochs[-1].manifest
        epoch = {"epoch": number, "state": "active", "reason": RotationReason.OPEN,
                 "activates": rfc3339(manifest.nbf), "retires": rfc3339(manifest.exp),
                 "roster_version": 1, "manifest": self.epochs[-1].token}  # fmt: skip
        return {"space": self.issuer.space, "meeting": self.roster.meeting, "state": self.state,
                "current_epoch": number, "next_epoch": None, "last_epoch": number,
                "roster_version": self.roster.version, "created": rfc3339(0), "current": epoch,
                "roster": {"version": 1, "recipients": []}}  # fmt: skip

    def envelope(self, wanted: dict[str, Any]) -> dict[str, Any]:
        issued = self.epochs[wanted["epoch"]]
        for entry, blob in zip(issued.manifest.recipients, issued.blobs, strict=True):
            if entry.id == wanted["recipient"]:
                served = {"manifest": issued.token, "blob": base64.b64encode(blob).decode()}
                return {"envelope": wanted | served}
        return {"error": {"code": "not_found", "detail": "x"}}


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    stopping = False
    meeting: FakeMeeting


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""

    def address_string(self) -> str:
        return "peer"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        meeting, told = self.server.meeting, len(self.server.meeting.events)
        while not self.server.stopping:
            for event in meeting.events[told:]:
                self.wfile.write(f"id: {event['seq']}\ndata: {json.dumps(event)}\n\n".encode())
                told += 1
            time.sleep(0.02)

    def do_POST(self) -> None:
        meeting, body = self.server.meeting, self._body()
        if self.path.endswith("/meetings"):
            self._answer(meeting.change(body["statement"], "meeting.open"), 201)
        elif self.path.endswith(":batch"):
            self._answer({"items": [meeting.envelope(one) for one in body["envelopes"]]})
        elif self.path.endswith(":rotate"):
            self._answer(meeting.mint("epoch.rotate", AHEAD), 201)
        else:
            meeting.state = "closed"
            self._answer(meeting.view())

    def do_PUT(self) -> None:
        self._answer(self.server.meeting.change(self._body()["statement"], "roster.change"))

    def _body(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length", 0))
        body: dict[str, Any] = json.loads(self.rfile.read(length) or b"{}")
        return body

    def _answer(self, document: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def fake_api(path: Path, issuer: Issuer) -> Iterator[FakeMeeting]:
    """Serve until the end of the block."""
    with _Server(str(path), _Handler) as server:
        server.meeting = FakeMeeting(issuer)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.meeting
        finally:
            server.stopping = True
            server.shutdown()
            thread.join()
