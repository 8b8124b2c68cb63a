"""What approval commands take in and what they show: exact parameters, and nothing on a server's
word.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kms.cli.approval_parameters import parameters_of, seconds_of
from kms.cli.approval_sign import _check_asked, _register
from kms.cli.approval_view import _indented, note_request, read_request
from kms.cli.output import Output
from kms.domain.approvals import Standing
from kms.domain.asked import flat
from kms.errors import InvalidInput, VerificationFailed
from kms.wire.approvals import RequestOut, RulesOut
from kms.wire.base import rfc3339
from tests.fixtures.approvals import EXAMPLES, MEETING, NOW, SITE, SPACE, Board
from tests.fixtures.people import held

BOARD = Board(SITE, NOW)


def shown(**changes: Any) -> RequestOut:
    """Return a request as an honest service answers, unless said otherwise."""
    wanted = BOARD.request("meeting.destroy", EXAMPLES["meeting.destroy"], SPACE)
    fields: dict[str, Any] = {
        "id": wanted.id, "space": wanted.space, "operation": wanted.operation,
        "requester": wanted.requester, "reason": wanted.reason, "issued": rfc3339(NOW),
        "expires": rfc3339(NOW + 60), "state": Standing.PENDING, "ready": False,
        "digest": wanted.digest(), "approved": (), "missing": (),
        "request": BOARD.signed(wanted), "approvals": (),
    }  # fmt: skip
    return RequestOut(**{**fields, **changes})


# --- parameters -----------------------------------------------------------------------------------


def test_parameters_are_completed_to_their_exact_form(tmp_path: Path) -> None:
    assert parameters_of("epoch.destroy", [f"meeting={MEETING}", "epoch=3"], None) == {
        "meeting": MEETING,
        "epoch": 3,
    }
    file = tmp_path / "policy.json"
    file.write_text(
        '{"version": 1, "policy": {"space": "treasury", "labels": {}, "retention_seconds": 0,'
        ' "rotation": {"interval_seconds": 60, "maximum_age_seconds": 120}}}'
    )
    found = parameters_of("policy.change", ["version=2"], file)
    assert found["version"] == 2
    assert found["policy"]["rotation"]["publish_ahead_seconds"] == 2
    assert found["policy"]["quorums"] == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", lambda now: 5),
        ("now", lambda now: now),
        ("+8h", lambda now: now + 8 * 3600),
        ("2026-11-22T09:00:00Z", lambda now: 1_795_338_000),
    ],
)
def test_times_are_written_in_several_ways(text: str, expected: Callable[[int], int]) -> None:
    given = ["principal=nurse", "role=officer", f"starts={text}", "expires=9999999999"]
    before = int(time.time())
    found = parameters_of("grant.create", given, None)["starts"]
    assert any(found == expected(now) for now in range(before, int(time.time()) + 1))


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        ("space.destroy", []),
        ("epoch.destroy", []),
        ("epoch.destroy", ["epoch"]),
        ("epoch.destroy", [f"meeting={MEETING}", "epoch=-1"]),
        ("epoch.destroy", [f"meeting={MEETING}", "epoch=soon"]),
        ("epoch.destroy", [f"meeting={MEETING}", "epoch=3", "more=1"]),
        ("grant.create", ["principal=x", "role=king", "starts=1", "expires=2"]),
        ("grant.create", ["principal=x", "role=officer", "starts=+8y", "expires=2"]),
    ],
)
def test_parameters_that_are_none_are_refused(operation: str, given: list[str]) -> None:
    with pytest.raises(InvalidInput):
        parameters_of(operation, given, None)


@pytest.mark.parametrize("text", ["", "8", "h", "-1h", "0d", "1.5h", "8 h", "1w"])
def test_a_span_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        seconds_of(text)


def test_a_span_is_in_seconds() -> None:
    assert [seconds_of(text) for text in ("90s", "30m", "8h", "2d")] == [90, 1800, 28800, 172800]


# --- what a service says --------------------------------------------------------------------------


def test_a_request_is_read_from_what_was_signed() -> None:
    found = shown()
    assert read_request(found).id == found.id


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": "d" * 43},
        {"operation": "hold.lift"},
        {"space": None},
        {"space": "markets"},
        {"id": MEETING},
    ],
)
def test_a_service_that_shows_another_request_than_the_signed_one_is_found(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(VerificationFailed, match="another request"):
        read_request(shown(**changes))


def test_a_register_that_is_not_the_one_named_is_found(tmp_path: Path) -> None:
    honest = RulesOut(people=BOARD.token, sha256=BOARD.sha256, items=())
    assert _register(honest, None) == BOARD.register
    with pytest.raises(VerificationFailed, match="digest"):
        _register(honest.model_copy(update={"sha256": "s" * 43}), None)
    BOARD.write(tmp_path)
    assert _register(honest, tmp_path / "site-root-1.pem") == BOARD.register
    (tmp_path / "other").mkdir()
    stranger = Board(SITE, NOW, root=ec.generate_private_key(ec.SECP256R1()))
    stranger.write(tmp_path / "other")
    with pytest.raises(VerificationFailed):
        _register(honest, tmp_path / "other" / "site-root-1.pem")


def test_a_request_that_its_requester_did_not_sign_is_not_approved() -> None:
    wanted = BOARD.request("meeting.destroy", EXAMPLES["meeting.destroy"], SPACE)
    _check_asked(BOARD.register, wanted, BOARD.signed(wanted))
    with pytest.raises(VerificationFailed, match="did not sign"):
        _check_asked(BOARD.register, wanted, BOARD.signed(wanted, by=held("sun-security")))


# --- what people see ------------------------------------------------------------------------------


def test_no_text_of_a_request_can_pass_for_a_line_of_ours() -> None:
    assert _indented("plain") == "plain"
    lines = _indented("first\nSpace: another\n\x1b[2K").split("\n")
    assert lines[0] == ""
    assert all(line.startswith("    | ") for line in lines[1:])
    assert "\x1b" not in "".join(lines)


def test_what_is_signed_is_shown_with_quiet_too(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = BOARD.request("meeting.destroy", EXAMPLES["meeting.destroy"], SPACE)
    note_request(Output(quiet=True), wanted)
    shown_to_people = capsys.readouterr().err
    for text in (wanted.reason, wanted.operation, MEETING, wanted.requester, wanted.id):
        assert text in shown_to_people


def test_every_parameter_is_shown_with_its_path() -> None:
    policy = {"policy": {"rotation": {"interval_seconds": 60}, "quorums": [{"operation": "x"}]}}
    assert dict(flat(policy)) == {
        "policy.rotation.interval_seconds": 60,
        "policy.quorums": 1,
        "policy.quorums.1.operation": "x",
    }
