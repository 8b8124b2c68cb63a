"""conclave audit list, over a FAKE client: the newest leaves that fit, oldest first."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from kms.cli import audit_list
from kms.cli.output import Output
from kms.errors import NotFound
from kms.wire.audit import CheckpointOut

if TYPE_CHECKING:
    from kms.cli.session import Session


def leaf(seq: int) -> dict[str, Any]:
    return {
        "seq": seq,
        "time": f"2026-11-22T08:{seq // 60:02}:{seq % 60:02}.000000Z",
        "action": "epoch.compromise" if seq % 2 else "envelope.fetch",
        "actor": "officer",
        "space": "treasury" if seq % 3 else "banking",
        "outcome": "succeeded",
        "resource": f"epochs/{seq}",
    }


class FakeSession:
    """A log of 1200 leaves of which the first ``signed`` lie under a checkpoint."""

    def __init__(self, signed: int = 1190, *, as_json: bool = True) -> None:
        self.output = Output(as_json=as_json)
        self.signed = signed
        self.log = [json.dumps(leaf(seq)) for seq in range(1200)]

    @contextmanager
    def client(self) -> Iterator["FakeSession"]:
        yield self

    def checkpoint(self) -> CheckpointOut:
        if not self.signed:
            raise NotFound("none yet")
        return CheckpointOut(size=self.signed, note="")

    def leaves(self, start: int = 0) -> Iterator[str]:
        yield from self.log[start:]

    def some_leaves(self, start: int, limit: int) -> tuple[str, ...]:
        return tuple(self.log[start : start + limit])


def listed(
    capsys: pytest.CaptureFixture[str], session: FakeSession, **wanted: Any
) -> list[dict[str, Any]]:
    audit_list.list_leaves(cast("Session", session), **wanted)
    items: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["items"]
    return items


@pytest.mark.parametrize("signed", [0, 1, 500, 1190, 1200])
def test_every_leaf_is_read_once(capsys: pytest.CaptureFixture[str], signed: int) -> None:
    found = listed(capsys, FakeSession(signed), limit=5000)
    assert [one["seq"] for one in found] == list(range(1200))


def test_the_newest_that_fit_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {"space": "treasury", "action": "epoch.compromise", "limit": 3}
    found = listed(capsys, FakeSession(), **wanted)
    assert [one["seq"] for one in found] == [1193, 1195, 1199]
    found = listed(capsys, FakeSession(), since="2026-11-22T08:19:58")
    assert [one["seq"] for one in found] == [1198, 1199]


def test_a_table_says_it_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    audit_list.list_leaves(cast("Session", FakeSession(as_json=False)), limit=1)
    text = capsys.readouterr().out
    assert "1199" in text
    assert "epoch.compromise" not in text
