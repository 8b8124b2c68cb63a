"""What the command line tells people before they type for nothing, and where it sends them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
import typer

from kms.ceremonies.examples import example
from kms.cli import alert, approval, certificate_view, meeting, plan_view, service
from kms.cli.approval_sign import _check_person, _held
from kms.cli.approval_view import _lines, request_document, request_row
from kms.cli.exits import Exit
from kms.cli.output import Output
from kms.client.transport import unreachable
from kms.documents.paper import Heading, Paragraph, SignatureLines
from kms.domain.alerts import Severity
from kms.domain.approvals import RULES, Standing
from kms.errors import (
    AlreadyExists,
    InvalidInput,
    NotFound,
    QuorumNotMet,
    StateNotAllowed,
    VerificationFailed,
)
from kms.i18n import Language, speak
from kms.statements.canonical import canonical
from kms.wire.replies import StatusOut
from tests.fixtures.approvals import ADMIN, EXAMPLES, MEETING, NOW, SITE, SPACE, Board
from tests.fixtures.cli import Cli
from tests.fixtures.people import held
from tests.unit.test_cli_approvals import shown
from tests.unit.test_destruction_certificates import certificate

if TYPE_CHECKING:
    from kms.cli.session import Session
    from kms.cli.unlock import Place
    from kms.client.api import Client

BOARD = Board(SITE, NOW)
WANTED = BOARD.request("meeting.destroy", EXAMPLES["meeting.destroy"], SPACE)


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    speak(Language.EN)
    yield
    speak(Language.ZH)


# --- approvals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "changes", "refused"),
    [
        (ADMIN, {}, VerificationFailed),
        ("liu-witness", {}, VerificationFailed),
        ("qian-legal", {}, VerificationFailed),
        ("nobody", {}, NotFound),
        ("wang-security", {"approved": ("wang-security",)}, AlreadyExists),
        ("wang-security", {"state": Standing.EXPIRED}, StateNotAllowed),
        ("wang-security", {"state": Standing.CANCELLED}, StateNotAllowed),
    ],
)
def test_whose_approval_would_not_count_hears_it_before_reading(
    monkeypatch: pytest.MonkeyPatch, person: str, changes: dict[str, Any], refused: type[Exception]
) -> None:
    monkeypatch.setattr("time.time", lambda: float(NOW))
    _check_person(BOARD.register, WANTED, shown(), "sun-security")
    with pytest.raises(refused):
        _check_person(BOARD.register, WANTED, shown(**changes), person)


def test_somebody_elses_key_is_refused() -> None:
    place = cast("Place", SimpleNamespace(open=lambda _session: held("sun-security")))
    session = cast("Session", None)
    assert _held(session, place, BOARD.register, "sun-security")
    with pytest.raises(VerificationFailed, match="no credential of wang-security"):
        _held(session, place, BOARD.register, "wang-security")


def test_requester_and_signers_see_parameters_in_the_same_order() -> None:
    asked = BOARD.request("grant.create", EXAMPLES["grant.create"], SPACE)
    sorted_ = msgspec.json.decode(canonical(asked.parameters))
    assert list(sorted_) != list(asked.parameters)
    assert list(_lines(replace(asked, parameters=sorted_))) == list(_lines(asked))


def test_an_approved_request_is_shown_as_such_with_its_digest_in_hex() -> None:
    waiting, ready = shown(), shown(ready=True)
    assert request_row(waiting)["standing"] == "pending"
    assert request_row(ready)["standing"] == "approved, can be carried out"
    assert request_document(ready)["state"] == "pending"
    assert bytes.fromhex(request_document(ready)["digest_hex"])
    assert request_document(ready)["digest"] == ready.digest


def test_carrying_out_is_confirmed_whatever_the_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = BOARD.request("epoch.resume", EXAMPLES["epoch.resume"], SPACE)
    with pytest.raises(InvalidInput, match="no terminal"):
        approval._confirm(wanted)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(typer, "prompt", lambda text, **_: "yes" if text else "")
    with pytest.raises(InvalidInput, match="not the request's id"):
        approval._confirm(wanted)
    monkeypatch.setattr(typer, "prompt", lambda text, **_: wanted.id if text else "")
    approval._confirm(wanted)


def test_what_cannot_be_carried_out_is_told_before_anybody_types() -> None:
    approval._check_ready(shown(ready=True))
    with pytest.raises(QuorumNotMet):
        approval._check_ready(shown())
    with pytest.raises(StateNotAllowed):
        approval._check_ready(shown(state=Standing.EXECUTED))


def test_the_help_lists_every_operation_with_its_parameters(cli: Cli) -> None:
    told = cli("approval", "request", "--help").out
    assert [name for name in RULES if f"{name} (" not in told] == []
    assert "grant.create (principal, role, starts, expires)" in told


@pytest.mark.parametrize(
    "words", ["hold lift", "epoch resume", "epoch destroy", "grant create", "policy change"]
)
def test_words_that_take_an_approved_request_lead_to_it(cli: Cli, words: str) -> None:
    ended = cli(*words.split())
    assert ended.code == Exit.USAGE
    assert f"conclave approval request {words.replace(' ', '.')}" in ended.err


# --- sealing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "path"), [("treasury", "sealed/spaces/treasury"), ("--site", "sealed/site")]
)
def test_without_the_service_it_is_told_how_to_seal_by_hand(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str, path: str
) -> None:
    def nobody(_options: object, _places: object) -> None:
        raise unreachable(arrived=False)

    places = SimpleNamespace(state=tmp_path)
    monkeypatch.setattr("kms.cli.session.Session.places", lambda _session: places)
    monkeypatch.setattr("kms.cli.connect.connect", nobody)
    ended = cli("seal", what, "--reason", "why", "--yes")
    assert ended.code == Exit.UNAVAILABLE
    assert f"install -D -m 0600 /dev/null {tmp_path / path}" in ended.err


def test_a_plan_for_the_whole_box_says_so() -> None:
    assert plan_view._whole("space", "") == "the whole box"
    assert plan_view._whole("space", "treasury") == "treasury"
    assert plan_view._whole("site_root", "") == ""
    assert "treasury" not in example("unseal").partition("[parameters]")[0].partition("purpose")[2]


def test_a_certificate_bears_the_sites_banner_and_a_heading_over_its_lines() -> None:
    plain, marked = (certificate_view.paper(certificate(0), one) for one in ("", "PRACTICE"))
    assert Paragraph("PRACTICE", grave=True) in marked.blocks
    assert not any(isinstance(one, Paragraph) and one.grave for one in plain.blocks)
    assert isinstance(marked.blocks[-2], Heading)
    assert isinstance(marked.blocks[-1], SignatureLines)


# --- status and previews, over a FAKE client ------------------------------------------------------


class FakeSession:
    """Answers with what it was made with."""

    def __init__(self, **answers: Any) -> None:
        self.output = Output(as_json=False)
        self._answers = answers

    @contextmanager
    def client(self) -> Iterator[Any]:
        yield SimpleNamespace(
            **{name: lambda *_, answer=answer: answer for name, answer in self._answers.items()}
        )


def state(**changes: Any) -> StatusOut:
    fields: dict[str, Any] = {
        "site": SITE, "banner": "", "spaces": 1, "tree_size": 7, "checkpoint_size": 7,
        "key_operations": "ready", "workers": {"t": "ready"},
    }  # fmt: skip
    return StatusOut(**{**fields, **changes})


def alerts(*severities: Severity) -> SimpleNamespace:
    return SimpleNamespace(items=[SimpleNamespace(severity=one) for one in severities])


@pytest.mark.parametrize(
    ("changes", "severities"),
    [
        ({"alerts": 2}, (Severity.WARNING, Severity.CRITICAL)),
        ({"workers": {"t": "sealed", "site": "ready"}}, ()),
        ({"workers": {"t": "sealed"}, "key_operations": "sealed"}, ()),
    ],
)
def test_status_ends_with_3_if_people_are_wanted(
    changes: dict[str, Any], severities: tuple[Severity, ...]
) -> None:
    session = FakeSession(status=state(**changes), alerts=alerts(*severities))
    with pytest.raises(typer.Exit) as ended:
        service.status(cast("Session", session))
    assert ended.value.exit_code == Exit.ATTENTION


def test_status_ends_with_0_for_less() -> None:
    session = FakeSession(status=state(alerts=1), alerts=alerts(Severity.WARNING))
    service.status(cast("Session", session))


def test_status_shows_no_numbers_of_a_sealed_box(capsys: pytest.CaptureFixture[str]) -> None:
    sealed = state(key_operations="sealed", workers={"t": "sealed"}, tree_size=0)
    with pytest.raises(typer.Exit):
        service.status(cast("Session", FakeSession(status=sealed)))
    told = capsys.readouterr()
    assert "Leaves in the log\t-\n" in told.out
    assert "The whole box is sealed." in told.err


def test_what_forbids_a_destruction_is_named() -> None:
    def hold(**changes: Any) -> SimpleNamespace:
        fields = {"hold": "h", "reason": "the lawsuit", "lifted": None, "meeting": None}
        return SimpleNamespace(**{**fields, **changes})

    def told(holds: list[SimpleNamespace], seconds: int = 0) -> list[str]:
        client = SimpleNamespace(
            holds=lambda _space: SimpleNamespace(items=holds),
            policy=lambda _space: SimpleNamespace(
                policy=SimpleNamespace(retention_seconds=seconds)
            ),
        )
        return list(meeting._obstacles(cast("Client", client), SPACE, MEETING))

    assert told([hold(lifted="2026-01-01T00:00:00Z"), hold(meeting="another")]) == []
    assert "the lawsuit" in told([hold()])[0]
    assert "the lawsuit" in told([hold(meeting=MEETING)])[0]
    assert "30 days" in told([], 30 * 24 * 3600)[0]


def test_alerts_tell_whole_seconds_as_every_other_list_does() -> None:
    told = dict.fromkeys(("meaning_en", "meaning_zh", "todo_en", "todo_zh"), "")
    for since in ("2026-11-22T14:04:39.035457Z", "2026-11-22T14:04:39Z"):
        assert alert.row({**told, "since": since})["since"] == "2026-11-22T14:04:39Z"
