"""conclave rotation status, over a FAKE client: what is overdue, what changes meanwhile."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
import typer

from kms.cli import rotation
from kms.cli.exits import Exit
from kms.cli.output import Output
from kms.domain.models import RotationReason
from kms.domain.states import KeyState
from kms.errors import Forbidden
from kms.i18n import _
from kms.wire.replies import EventOut, RotationOut

if TYPE_CHECKING:
    from kms.cli.session import Session

MEETING = "01930000-0000-7000-8000-000000000001"
MOMENT = "2027-01-15T08:00:00Z"


def item(epoch: int = 0, *, overdue: bool = False, maximum_uses: int = 0) -> RotationOut:
    return RotationOut(
        space="treasury", meeting=MEETING, epoch=epoch, state=KeyState.ACTIVE,
        reason=RotationReason.TIME, activated=MOMENT, retires=MOMENT, overdue=overdue, uses=3,
        maximum_uses=maximum_uses,
    )  # fmt: skip


class FakeSession:
    """Answers each look with the next of its pages; the last one interrupts."""

    unlisted: tuple[str, ...] = ()

    def __init__(self, *pages: list[RotationOut], events: bool = True) -> None:
        self.output = Output(as_json=True)
        self._pages, self._events = iter(pages), events

    @contextmanager
    def client(self) -> Iterator["FakeSession"]:
        yield self

    def rotation(self) -> list[RotationOut]:
        try:
            return next(self._pages)
        except StopIteration:
            raise KeyboardInterrupt from None

    def unlisted_spaces(self) -> tuple[str, ...]:
        return self.unlisted

    def events(self) -> Iterator[EventOut]:
        if not self._events:
            raise Forbidden("operators hear no events")
        yield cast("EventOut", None)


def status(session: FakeSession, *, watch: bool = False) -> None:
    rotation.status(cast("Session", session), watch=watch)


def documents(text: str) -> list[Any]:
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text.rstrip()):
        document, at = decoder.raw_decode(text, at)
        found.append(document)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(rotation, "_MOST_SECONDS", 0.01)


def test_all_in_time_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    status(FakeSession([item()]))
    (document,) = documents(capsys.readouterr().out)
    assert document["items"][0]["epoch"] == 0


def test_what_is_overdue_asks_for_attention() -> None:
    with pytest.raises(typer.Exit) as ended:
        status(FakeSession([item(), item(overdue=True)]))
    assert ended.value.exit_code == Exit.ATTENTION


def test_a_space_that_cannot_be_asked_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    session = FakeSession([item()])
    session.output, session.unlisted = Output(), ("banking",)
    status(session)
    text = _("{space} is sealed or out of the configuration, and not listed.")
    told = text.format(space="banking")
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("events", [True, False])
def test_watching_shows_each_change_once(
    capsys: pytest.CaptureFixture[str], *, events: bool
) -> None:
    pages = [[item()], [item()], [item(1)], [item(1)], [item(1, overdue=True)]]
    with pytest.raises(KeyboardInterrupt):
        status(FakeSession(*pages, events=events), watch=True)
    shown = [one["items"][0] for one in documents(capsys.readouterr().out)]
    assert [(one["epoch"], one["overdue"]) for one in shown] == [(0, False), (1, False), (1, True)]


def test_a_table_says_how_many_uses_are_left(capsys: pytest.CaptureFixture[str]) -> None:
    session = FakeSession([item(maximum_uses=9), item()])
    session.output = Output()
    status(session)
    _, limited, free = capsys.readouterr().out.splitlines()
    assert "\t3 / 9\t" in limited
    assert "\t3\t" in free
