"""The benchmark's own parts: its load generator against a real server, and its arithmetic."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.bench.load import UNIQUE, BenchError, HttpRequest, run_load, write_requests
from tests.bench.report import Line, Result, results
from tests.faults import build

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GONE = b"HTTP/1.1 503 Gone\r\ncontent-length: 0\r\n\r\n"


class Server:
    """Answers every request with the same bytes and remembers what it was sent."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.seen: list[bytes] = []
        self._answer = answer
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection, suppress(OSError):  # the generator leaves in the middle of an answer
            while request := connection.recv(65536):
                self.seen.append(request)
                connection.sendall(self._answer)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[bytes], Server]]:
    build.shim("slow_fsync")  # skips where nothing can be compiled
    servers: list[Server] = []

    def start(answer: bytes) -> Server:
        servers.append(Server(tmp_path / "s", answer))
        return servers[-1]

    yield start
    for server in servers:
        server.thread.join(10)
        server.listener.close()


def load(tmp_path: Path, *requests: HttpRequest) -> int:
    file = write_requests(tmp_path / "requests", requests)
    return run_load(f"unix:{tmp_path / 's'}", file, 1, 0.2).requests


def test_requests_are_sent_in_turn_and_counted(
    serve: Callable[[bytes], Server], tmp_path: Path
) -> None:
    server = serve(OK)
    count = load(tmp_path, HttpRequest("GET", "/a"), HttpRequest("POST", "/b", {}, b"{}"))
    assert 0 < count <= len(server.seen)
    assert server.seen[0] == b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert server.seen[1].startswith(b"POST /b HTTP/1.1\r\n")
    assert server.seen[1].endswith(b"Content-Length: 2\r\n\r\n{}")


def test_each_request_has_a_number_of_its_own(
    serve: Callable[[bytes], Server], tmp_path: Path
) -> None:
    server = serve(OK)
    load(tmp_path, HttpRequest("GET", "/", {"Idempotency-Key": UNIQUE}))
    assert len(server.seen) > 1
    assert len(set(server.seen)) == len(server.seen)


def test_figures_of_failures_are_void(serve: Callable[[bytes], Server], tmp_path: Path) -> None:
    serve(GONE)
    with pytest.raises(BenchError, match="503"):
        load(tmp_path, HttpRequest("GET", "/"))


def result(line: Line, figure: float) -> Result:
    return results([line], [{"a": figure, "b": 100.0}])[0]


@pytest.mark.parametrize(("figure", "met"), [(60, "goal"), (40, "required"), (20, "MISSED")])
def test_a_ratio_is_held_against_what_is_asked(figure: float, met: str) -> None:
    assert result(Line("x", "a", "/s", "b", required=0.35, goal=0.5), figure).verdict == met


@pytest.mark.parametrize(("figure", "met"), [(90, "goal"), (110, "MISSED")])
def test_a_latency_is_held_from_above(figure: float, met: str) -> None:
    assert result(Line("x", "a", "ms", "b", goal=1, lower=True), figure).verdict == met


def test_ratios_are_taken_within_a_round() -> None:
    rounds = [{"a": 5.0, "b": 10.0}, {"a": 50.0, "b": 100.0}, {"a": 1.0, "b": 100.0}]
    assert results([Line("x", "a", "/s", "b", goal=0.5)], rounds)[0].ratio == 0.5


def test_a_line_that_was_not_measured_is_left_out() -> None:
    assert results([Line("x", "c", "/s")], [{"a": 1.0}]) == []
