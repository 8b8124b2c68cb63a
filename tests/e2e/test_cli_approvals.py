"""The walk of docs/approvals.md at the command line, by people with their own credentials."""

import json
import os
import subprocess
from dataclasses import dataclass

import pytest

from tests.practice.service import CONCLAVE, Service
from tests.scenarios.approval_case import closed_meeting

OFFICERS = ("wang-security", "sun-security", "wu-security")
ATTENTION, INVALID, EXISTS, LATER, NOT_PERMITTED = 3, 65, 73, 75, 77
WORDS = 8


@dataclass(frozen=True)
class Ended:
    """What came of a command."""

    code: int
    out: str
    err: str


class Desk:
    """Runs commands on a served site; whoever signs types the last of the eight words."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def run(self, *arguments: str) -> Ended:
        done = subprocess.run(self._command(arguments), capture_output=True, text=True, check=False)
        return Ended(done.returncode, done.stdout, done.stderr)

    def signed(self, *arguments: str, person: str, word: str = "", key: str = "") -> Ended:
        """Run a command that asks for the last word; say another ``word`` if given, use the
        ``key`` of another person.
        """
        key = str(self.service.site.person_key(key or person))
        root = str(self.service.site.site_root)
        command = self._command((*arguments, "--person", person, "--key", key, "--site-root", root))
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
            assert process.stderr is not None
            shown = ""
            while "eight words:" not in shown:
                part = os.read(process.stderr.fileno(), 4096)
                if not part:
                    break
                shown += part.decode()
            said = [line.split() for line in shown.splitlines() if line.islower()]
            words = [line for line in said if len(line) == WORDS]
            answer = word or (words[-1][-1] if words else "")
            out, rest = process.communicate(f"{answer}\n".encode(), timeout=60)
        return Ended(process.returncode, out.decode(), shown + rest.decode())

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [CONCLAVE, "--lang", "en", "--config", str(self.service.site.config), *arguments]


@pytest.fixture(scope="module")
def desk(service: Service) -> Desk:
    return Desk(service)


def test_people_ask_approve_and_carry_out(desk: Desk) -> None:
    meeting = closed_meeting(desk.service)
    assert "3 of group security" in desk.run("approval", "rules", "--space", "treasury").out
    asked = desk.signed(
        *("approval", "request", "meeting.destroy", "--space", "treasury", "--json"),
        *("--set", f"meeting={meeting}", "--reason", "the retention time is over"),
        person="chen-admin",
    )
    assert asked.code == 0, asked.err
    assert meeting in asked.err
    request = json.loads(asked.out)["id"]

    waiting = desk.run("approval", "list")
    assert waiting.code == ATTENTION
    assert request in waiting.out

    early = desk.run("approval", "execute", request, "--yes")
    assert (early.code, "quorum_not_met" in early.err) == (NOT_PERMITTED, True)

    for name in OFFICERS:
        given = desk.signed("approval", "sign", request, person=name)
        assert given.code == 0, given.err
        assert meeting in given.err
    again = desk.signed("approval", "sign", request, person=OFFICERS[0])
    assert (again.code, "already_exists" in again.err) == (EXISTS, True)

    assert desk.run("approval", "execute", request, "--dry-run").code == 0
    unasked = desk.run("approval", "execute", request)
    assert (unasked.code, "--yes" in unasked.err) == (INVALID, True)
    done = desk.run("approval", "execute", request, "--yes", "--json")
    assert (done.code, json.loads(done.out)["state"]) == (0, "executed")
    assert desk.run("approval", "execute", request, "--yes").code == LATER
    assert request in desk.run("approval", "list", "--state", "executed").out
    assert "destroyed" in desk.run("meeting", "show", "treasury", meeting).out


def test_who_does_not_type_the_last_word_signs_nothing(desk: Desk) -> None:
    meeting = closed_meeting(desk.service)
    asked = desk.signed(
        *("approval", "request", "meeting.destroy", "--space", "treasury"),
        *("--set", f"meeting={meeting}", "--reason", "none"),
        person="chen-admin",
        word="nonsense",
    )
    assert asked.code == LATER
    assert "nothing was signed" in asked.err
    assert meeting not in desk.run("approval", "list", "--json").out


def test_a_credential_counts_for_its_holder_alone(desk: Desk) -> None:
    meeting = closed_meeting(desk.service)
    wanted = (
        *("approval", "request", "meeting.destroy", "--space", "treasury"),
        *("--set", f"meeting={meeting}", "--reason", "none"),
    )
    stolen = desk.signed(*wanted, person="chen-admin", key="wang-security")
    assert (stolen.code, "no credential of chen-admin" in stolen.err) == (INVALID, True)


def test_a_cancelled_request_is_approved_by_nobody(desk: Desk) -> None:
    meeting = closed_meeting(desk.service)
    asked = desk.signed(
        *("approval", "request", "meeting.destroy", "--space", "treasury", "--json"),
        *("--set", f"meeting={meeting}", "--reason", "none"),
        person="chen-admin",
    )
    request = json.loads(asked.out)["id"]
    assert desk.run("approval", "cancel", request).code == 0
    own = desk.signed("approval", "sign", request, person="wang-security")
    assert (own.code, "state_not_allowed" in own.err) == (LATER, True)


def test_what_is_signed_is_shown_with_its_digest(desk: Desk) -> None:
    meeting = closed_meeting(desk.service)
    asked = desk.signed(
        *("approval", "request", "meeting.destroy", "--space", "treasury", "--json"),
        *("--set", f"meeting={meeting}", "--reason", "line one\nSpace: another"),
        person="chen-admin",
    )
    assert "\nSpace: another" not in asked.err
    assert "| Space: another" in asked.err
    request = json.loads(asked.out)["id"]
    shown = desk.run("approval", "show", request)
    words = [line for line in asked.err.splitlines() if len(line.split()) == WORDS]
    assert words[0] in shown.err
    assert desk.run("approval", "cancel", request).code == 0
