"""The requests of docs/api.md, sent to a practice site; the replies are as the page shows them."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kms.client.rosters import signed_roster
from kms.client.transport import mutual_tls
from kms.domain.models import ReleaseClass
from kms.statements.manifest import commitment_context, media_of
from kms.wire.parsing import parse
from kms.wire.replies import EventOut
from tests.docs.pages import DOCS, Block, blocks
from tests.practice.devices import load_authority, make_device
from tests.practice.service import Service

PAGE = blocks(DOCS / "api.md")
CUT = "…"
ROSTER_SPACE = "investment-banking"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_NUMBER_OF_REQUESTS = 7


class Reader:
    """Sends the page's requests, with this site's recipients in the place of the page's."""

    def __init__(self, service: Service) -> None:
        self._service = service
        with service.console() as console:
            here = {(one.space, one.name): one.recipient for one in console.recipients().items}
        listed = json.loads(next(b.text for b in PAGE if '"items"' in b.text))["items"]
        self.names = {one["recipient"]: here[one["space"], one["name"]] for one in listed}

    def send(self, block: Block) -> httpx2.Response:
        head, _, body = block.text.partition("\n\n")
        line, *fields = head.strip().splitlines()
        method, path = line.split(" ")
        headers = dict(field.split(": ", 1) for field in fields)
        content = self._body(body)
        if content:
            headers["Content-Type"] = "application/json"
        server = self._service.site.server(block.who)
        context = mutual_tls(server.certificate, server.tls_key, self._service.site.tls_ca)
        with httpx2.Client(verify=context, base_url=self._service.url, trust_env=False) as client:
            return client.request(method, self.here(path), headers=headers, content=content)

    def here(self, text: str) -> str:
        for page, real in self.names.items():
            text = text.replace(page, real)
        return text

    def _body(self, text: str) -> bytes:
        if not text.strip():
            return b""
        body = json.loads(self.here(text))
        if "statement" in body:
            assert body["statement"].endswith(CUT)
            body["statement"] = self._roster(body["meeting"])
        return json.dumps(body).encode()

    def _roster(self, meeting: str) -> str:
        site = self._service.site
        key = load_pem_private_key(site.server("ms-1").own_key.read_bytes(), None)
        device = make_device("alice", load_authority(site.device_ca_key, site.device_ca))
        return signed_roster(
            key, [device.certificate], space=ROSTER_SPACE, meeting=meeting, version=1,
            issued=int(time.time()),
        )  # fmt: skip


def requests() -> Iterator[tuple[Block, Block | None]]:
    """The page's requests, each with the reply that stands right behind it, if one does."""
    for block, following in zip(PAGE, [*PAGE[1:], None], strict=True):
        if block.language == "http":
            yield block, following if following and following.language == "json" else None


def same(shown: Any, real: Any, where: str = "reply") -> None:
    """Hold a reply to what the page shows: cut values by their beginning, times by their form."""
    assert type(shown) is type(real), where
    if isinstance(shown, dict):
        assert shown.keys() == real.keys(), where
        for name, value in shown.items():
            same(value, real[name], f"{where}.{name}")
    elif isinstance(shown, list):
        assert len(shown) == len(real), where
        for number, (one, other) in enumerate(zip(_sorted(shown), _sorted(real), strict=True)):
            same(one, other, f"{where}[{number}]")
    elif isinstance(shown, str) and CUT in shown:
        assert len(real) > 100, where
        assert real.startswith(shown.partition(CUT)[0]), where
    elif isinstance(shown, str) and _TIME.fullmatch(shown):
        assert _TIME.fullmatch(real), where
    else:
        assert shown == real, where


def _sorted(items: list[Any]) -> list[Any]:
    if items and isinstance(items[0], dict) and "name" in items[0]:
        return sorted(items, key=lambda item: str(item["name"]))
    return items


def test_the_requests_are_answered_as_the_page_shows(service: Service) -> None:
    reader, sent = Reader(service), 0
    for request, reply in requests():
        answer = reader.send(request)
        sent += 1
        if reply is None:
            assert answer.status_code == 201, f"{request.text}{answer.text}"
            continue
        shown = json.loads(reader.here(reply.text))
        assert answer.status_code == shown.get("status", answer.status_code)
        assert answer.is_success or "status" in shown, answer.text
        same(shown, answer.json(), request.text.splitlines()[0])
    assert sent == _NUMBER_OF_REQUESTS


def test_the_first_steps_open_a_meeting(
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / ".practice").symlink_to(service.site.directory)
    monkeypatch.chdir(tmp_path)
    (text,) = [block.text for block in PAGE if block.language == "python"]
    exec(text, {})
    assert " epoch 0 for " in capsys.readouterr().out


def test_the_event_is_one_of_this_api() -> None:
    (text,) = [block.text for block in PAGE if block.text.startswith("id: ")]
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    event = parse(fields["data"].encode(), EventOut)
    assert (str(event.seq), event.kind) == (fields["id"], fields["event"])


def test_the_context_is_the_canonical_one() -> None:
    (text,) = [block.text.strip() for block in PAGE if block.who == "context"]
    said = json.loads(text)
    made = commitment_context(said["iss"], said["sub"], ReleaseClass.TRUSTED, media_of(0))
    assert made.decode() == text


@pytest.mark.parametrize("language", ["http", "json"])
def test_no_request_or_reply_of_the_page_stands_aside(language: str) -> None:
    paired = [block for pair in requests() for block in pair]
    alone = [b for b in PAGE if b.language == language and b not in paired and not b.who]
    assert not alone
