"""Meeting servers that mint and fetch without a pause, and every answer that they got."""

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from kms.client.transport import mutual_tls
from tests.practice.service import Service
from tests.scenarios.rooms import Room, rooms

PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Answer:
    """One answer: to what it was, when it was asked and answered, as which code, with a key or not.

    ``epoch`` is the one that was served or minted.
    """

    stream: str
    meeting: str
    begun: float
    ended: float
    code: str
    key: bool
    epoch: int

    @property
    def mint(self) -> bool:
        return self.stream.startswith("mint")


class Traffic:
    """Two streams for each of two meetings: one mints, the other fetches or relays."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.rooms = [_opened(room) for room in rooms(service)]
        self.answers: list[Answer] = []
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask_on, args=(room, kind), name=f"{kind} {room.space}")
            for room in self.rooms
            for kind in ("mint", "fetch")
        ]

    @contextmanager
    def running(self) -> Iterator["Traffic"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()

    def await_served(self, since: float) -> float:
        """Wait until every stream has asked and been served; return the seconds it took."""
        self._await(since, lambda one: one.code == "", 1)
        return time.monotonic() - since

    def await_refused(self, since: float, count: int) -> None:
        """Wait until every stream has asked and been refused that often."""
        self._await(since, lambda one: one.code != "", count)

    def between(self, begun: float, ended: float) -> list[Answer]:
        """The answers to what was asked and answered within a time."""
        with self._changed:
            return [one for one in self.answers if one.begun > begun and one.ended < ended]

    def _await(self, since: float, wanted: Callable[[Answer], bool], count: int) -> None:
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._each_has(filter(wanted, self.answers), since, count), PATIENCE_SECONDS
            )
        assert done, f"not seen within {PATIENCE_SECONDS} s: {self.answers[-8:]}"

    def _each_has(self, answers: Iterable[Answer], since: float, count: int) -> bool:
        streams = [one.stream for one in answers if one.begun > since]
        return all(streams.count(thread.name) >= count for thread in self._threads)

    def _ask_on(self, room: Room, kind: str) -> None:
        server = self.service.site.server(room.server)
        context = mutual_tls(server.certificate, server.tls_key, self.service.site.tls_ca)
        ask = _mint if kind == "mint" else _fetch
        with httpx2.Client(
            verify=context, base_url=self.service.url, trust_env=False, timeout=60
        ) as http:
            while not self._over.wait(_PAUSE_SECONDS):
                begun = time.monotonic()
                response = ask(http, room)
                answer = _answer(threading.current_thread().name, room, begun, response)
                with self._changed:
                    self.answers.append(answer)
                    self._changed.notify_all()


def _opened(room: Room) -> Room:
    wish = room.wishes()[0]
    room.adopt(wish, wish.send())
    return room


def _mint(http: httpx2.Client, room: Room) -> httpx2.Response:
    return http.post(
        f"/v1/spaces/{room.space}/meetings/{room.meeting}/epochs:rotate",
        json={"reason": "suspicion"},
        headers={"Idempotency-Key": str(uuid.uuid4())},
    )


def _fetch(http: httpx2.Client, room: Room) -> httpx2.Response:
    reader = next(one for one in room.members if one.server == room.server)
    place = f"/v1/spaces/{room.space}/meetings/{room.meeting}/epochs/current"
    return http.get(f"{place}/envelopes/{reader.id}")


def _answer(stream: str, room: Room, begun: float, response: httpx2.Response) -> Answer:
    body: dict[str, Any] = response.json()
    code = "" if response.is_success else str(body["code"])
    key = any(word in response.text for word in ('"blob"', '"manifest"'))
    epoch = int(body["current_epoch" if stream.startswith("mint") else "epoch"]) if not code else -1
    return Answer(stream, room.meeting, begun, time.monotonic(), code, key, epoch)
