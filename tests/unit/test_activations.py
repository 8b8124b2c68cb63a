"""What was published before the start is activated after it, over a FAKE store that fails first."""

import asyncio
from dataclasses import replace

import pytest

from kms.domain.ids import MeetingId, SpaceName
from kms.domain.models import Epoch, RotationReason
from kms.domain.rows import SealedRow
from kms.domain.states import KeyState
from kms.errors import StoreUnavailable
from kms.statements.canonical import make_row
from kms.usecases import activations
from kms.usecases.activations import Activations
from tests.fixtures.api import TREASURY, FakeSite, run_with_site

ALTERED, WHOLE = (MeetingId(f"0192f0a0-1111-7222-8333-44445555666{end}") for end in "67")


def published(meeting: MeetingId) -> SealedRow:
    state, reason = KeyState.PRE_ACTIVATION, RotationReason.JOIN
    epoch = Epoch(TREASURY, meeting, 1, state, reason, 1, 2, 1, "manifest")
    return SealedRow(make_row(epoch, 1), b"")


class FakeStore:
    """Cannot be read at first; then one of its rows was altered."""

    def __init__(self) -> None:
        self.reads = 0

    def pending_epochs(self) -> list[SealedRow]:
        self.reads += 1
        if self.reads == 1:
            raise StoreUnavailable("the fake is down")
        altered = published(ALTERED)
        return [replace(altered, row=replace(altered.row, body=b"{}")), published(WHOLE)]


def test_neither_a_store_that_is_down_nor_an_altered_row_ends_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[MeetingId] = []
    arrived = asyncio.Event()

    async def activate(_services: object, _space: SpaceName, meeting: MeetingId) -> None:
        seen.append(meeting)
        arrived.set()

    async def work(site: FakeSite) -> None:
        task = asyncio.create_task(Activations().run(site.services))
        await asyncio.wait_for(arrived.wait(), 10)
        assert not task.done()
        task.cancel()

    monkeypatch.setattr(activations, "_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(activations, "activate", activate)
    run_with_site(work, store=FakeStore())
    assert seen == [WHOLE]
    assert f"epoch/{TREASURY}/{ALTERED}/1 cannot be read" in caplog.text
