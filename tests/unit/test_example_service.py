"""The examples' way to the key API ends quietly with its program, over a FAKE client."""

import argparse
import asyncio
import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from tests.practice.examples import EXAMPLES


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module("service")


def test_an_event_after_the_end_of_the_program_is_nobodys_trouble(
    service: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, closed, uncaught = threading.Event(), threading.Event(), list[BaseException | None]()
    monkeypatch.setattr(threading, "excepthook", lambda told: uncaught.append(told.exc_value))

    @contextmanager
    def connect(_options: argparse.Namespace) -> Iterator["Fake"]:
        yield Fake()
        closed.set()

    class Fake:
        def events(self) -> Iterator[str]:
            yield "before"
            assert ended.wait(10)
            yield "after"

    monkeypatch.setattr(service, "connect", connect)

    async def program() -> None:
        async for event in service.Service(argparse.Namespace()).events():
            assert event == "before"
            return

    asyncio.run(program())
    ended.set()
    assert closed.wait(10)
    assert not uncaught
