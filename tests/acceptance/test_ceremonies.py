"""Key ceremonies: what has to be shown of them, a test for each line."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kms.ceremonies.plan import parse_plan
from kms.ceremonies.record.folder import Folder
from kms.ceremonies.record.request import check_request
from kms.ceremonies.record.transcript import PAYLOAD_TYPE
from kms.ceremonies.verification.verify import verify_transcript
from kms.errors import ConclaveError
from kms.statements.canonical import canonical
from kms.statements.dsse import decode_envelope, encode_envelope
from tests.scenarios import ceremony_refusals, distrust, fire_drill
from tests.scenarios.ceremony_cases import CASES
from tests.scenarios.ceremony_kills import Ending, Stage, sweep
from tests.scenarios.held import SECURITY, hold, write_plan
from tests.scenarios.site import fresh_site

EPOCHS, DISTRUSTED = 200, 10_000

Figure = Callable[[str], None]


def test_fire_drill(tmp_path: Path, figure: Figure) -> None:
    """The HSM has burned: a site with 3 spaces and 200 epochs loses every token; one named epoch
    is recovered by 3 of 5 and 2 of 3 and decrypts the frames recorded before; 2 of 5 fail; mixed
    up, old, corrupted, duplicate and foreign shares are each named; the site goes on minting."""
    report = fire_drill.run(fresh_site(tmp_path), EPOCHS)
    figure(f"{report.epochs} epochs in {', '.join(report.spaces)}")
    figure(f"{report.frames} of {fire_drill.FRAMES} recorded frames decrypted with the one key")
    figure(f"two of five: {report.two_of_five}; another recipient: {report.other_recipient}")
    figure(f"told apart: {', '.join(kind for kind, told in report.slips.items() if told)}")
    figure(f"after: {', '.join(report.minted_after)}; {report.covered} epochs covered by escrow")
    assert report.epochs == EPOCHS
    assert len(report.spaces) == 3
    assert report.frames == fire_drill.FRAMES
    assert "1 more of group security" in report.two_of_five
    assert report.other_recipient == "envelope_refused"
    assert all(report.slips.values())
    assert len(report.minted_after) == 2
    assert report.covered[0] == report.covered[1] == EPOCHS + 2


def test_terminals_and_distrust(tmp_path: Path, figure: Figure) -> None:
    """Two terminals and more, separate processes and credentials, every input taken from the
    generated handbook alone, from the plan to the signed transcript: distrust with 10,000 epochs,
    after which the old public key cannot be wrapped to."""
    report = distrust.run(fresh_site(tmp_path), DISTRUSTED, tmp_path)
    rate = report.rewrapped / report.seconds
    figure(f"{report.rewrapped} epochs wrapped anew in {report.seconds:.1f} s, {rate:.0f} a second")
    figure(f"covered afterwards: {report.covered}; generations in force: {report.generations}")
    figure(f"the old key: {report.old_key}")
    assert report.epochs == report.rewrapped == DISTRUSTED
    assert report.covered == DISTRUSTED
    assert report.generations == [2]
    assert "no public_key escrow/1" in report.old_key["trusted by the token"]
    assert "CKR_KEY_NOT_WRAPPABLE" in report.old_key["wrapped to as any key"]
    assert "Conclusion: everything holds." in report.verified


def test_refusals(tmp_path: Path, figure: Figure) -> None:
    """One key under two names, one person with two credentials, an expired or removed officer, a
    replayed signature, a changed parameter: refused, logged."""
    report = ceremony_refusals.Attempts(fresh_site(tmp_path)).run()
    for attempt, reason in report.refused.items():
        figure(f"{attempt}: {reason}")
    assert len(report.refused) >= 10
    assert all(report.logged.values())


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> list[Stage]:
    """Practice sites with meetings that are put back before every trial, one for each processor."""
    first = Stage.of(fresh_site(tmp_path_factory.mktemp("ceremonies")))
    others = range(len(os.sched_getaffinity(0)) - 1)
    return [first, *(first.twin(tmp_path_factory.mktemp("twin")) for _ in others)]


@pytest.mark.parametrize("kind", CASES)
def test_kills(stages: list[Stage], kind: str, figure: Figure) -> None:
    """kill -9 at each step of each ceremony, before and after its act: resumed or rolled back, and
    in between and afterwards the service starts, opens what was minted before, and mints."""
    trials = sweep(stages, CASES[kind])
    for ending, count in sorted(trials.items()):
        figure(f"{kind}: killed and {ending} {count} times")
    assert trials[Ending.RESUMED] > 0


def test_single_bits(tmp_path: Path, figure: Figure) -> None:
    """The offline verifier rejects every single-bit change of transcript and plan."""
    site = fresh_site(tmp_path)
    plan = write_plan(site, "retire-space", "retire", 'space = "treasury"', SECURITY)
    transcript, _said = hold(site, plan)
    root = load_pem_public_key(site.site_root.read_bytes())
    envelope = transcript.read_bytes()
    assert verify_transcript(envelope, root).transcript.ceremony == "retire"
    figure(f"transcript: {_rejected(envelope, lambda changed: verify_transcript(changed, root))}")
    request = Folder(transcript.parent).request()
    check_request(request, parse_plan(plan.read_bytes()))

    def hand_in(changed: bytes) -> None:
        check_request(request, parse_plan(changed))

    def slip_in(changed: bytes) -> None:
        verify_transcript(_with_plan(envelope, changed), root)

    figure(f"plan against the request: {_rejected(plan.read_bytes(), hand_in)}")
    figure(f"plan within the transcript: {_rejected(plan.read_bytes(), slip_in)}")


def _with_plan(envelope: bytes, plan: bytes) -> bytes:
    """Put another plan into a transcript, under the signatures that it has."""
    payload, signatures = decode_envelope(envelope, PAYLOAD_TYPE)
    told = {**json.loads(payload), "plan": plan.decode("utf-8", "replace")}
    return encode_envelope(canonical(told), PAYLOAD_TYPE, signatures)


def _rejected(data: bytes, verify: Callable[[bytes], object]) -> str:
    accepted = []
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            verify(bytes(changed))
        except ConclaveError:
            continue
        accepted.append(bit)
    assert accepted == []
    return f"{8 * len(data)} single-bit changes, all rejected"
