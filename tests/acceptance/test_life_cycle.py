"""Rotation, life cycle, policy, approvals: what has to be shown of them, a test for each line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kms.audit.checks import Verdict
from kms.domain.models import RecipientKind
from tests.fixtures.many_spaces import ManySpaces
from tests.practice.service import serving
from tests.scenarios import approvals, clock_jumps, destroyed, life_machine, reseal, year
from tests.scenarios.clock_jumps import DAY
from tests.scenarios.site import fresh_site

SPACES, MEETINGS, DAYS = 20, 2000, 365
EXAMPLES, STEPS = 25, 60
EPOCHS, KILLS = 20_000, 10

Figure = Callable[[str], None]


def test_a_simulated_year(tmp_path: Path, figure: Figure) -> None:
    """A simulated year in minutes, with an injected clock and real tokens: 20 spaces, thousands of
    meetings, random joins, leaves, crashes, restarts, suspensions: invariants hold at every step,
    no epoch is used outside its window, escrow covers 100 %."""
    site = ManySpaces.make(tmp_path / "site", SPACES)
    told = year.run(site, MEETINGS, DAYS, seed=20_261_122, scratch=tmp_path)
    figure(f"{told.days} days, {told.spaces} spaces, {told.meetings} meetings, {told.minted} keys")
    figure(f"in {told.seconds / 60:.1f} minutes: {dict(sorted(told.counts.items()))}")
    figure(f"{told.covered} keys that are not destroyed, all under escrow")
    figure(f"{told.report.leaves} leaves of the log verified offline")
    assert told.meetings >= MEETINGS * 0.95
    assert told.counts["restarts"] >= 30
    assert told.counts["lost answers"] >= 30
    assert Verdict.FAIL not in {result.verdict for result in told.report.results}


def test_the_model(tmp_path: Path, figure: Figure) -> None:
    """The same against a model by a Hypothesis stateful test: whatever people do in whatever
    order."""
    site = ManySpaces.make(tmp_path / "site", 3)
    world = life_machine.run(site, EXAMPLES, STEPS)
    figure(f"{EXAMPLES} examples of up to {STEPS} steps, {len(world.meetings)} meetings")
    figure(f"{dict(sorted(world.counts.items()))}")
    assert world.counts["minted: time"]
    assert world.counts["approved"]


def test_vault_rotation(tmp_path: Path, figure: Figure) -> None:
    """Vault rotation over 20,000 live epochs, killed ten times: it finishes, every envelope opens;
    the rate against the raw token's."""
    told = reseal.run(fresh_site(tmp_path), epochs=EPOCHS, kills=KILLS, seed=4, per_second=2000)
    for text in told.figures():
        figure(text)
    assert told.kills.total() == KILLS
    assert told.opened == told.epochs == EPOCHS
    assert told.served
    assert told.retired
    assert told.verdict in {"pass", "finding"}


def test_destroyed_means_gone(tmp_path: Path, figure: Figure) -> None:
    """Destroyed means gone: pieces of every envelope are searched for in the token files, the
    database with free pages and log, and a backup made afterwards; the same search finds them
    before. The certificate names the vault version and escrow generation that close backups."""
    with serving(fresh_site(tmp_path)) as service:
        told = destroyed.destroy_and_search(service, tmp_path, meetings=20, epochs=10)
        destroyed.check(told, service)
    figure(f"{told.envelopes} envelopes searched for in {told.searched_bytes / 1e6:.0f} MB")
    figure(f"pieces found before in {len(told.before)} files, afterwards in {len(told.after)}")
    figure(f"{told.free_pages} free pages; {len(told.certificates)} certificates")
    keepers = {(one.kind, one.version) for found in told.certificates for one in found.keepers}
    figure(f"older backups close with {sorted(f'{kind} {version}' for kind, version in keepers)}")
    closed = {one.closed_by for one in told.certificates}
    figure(f"by when (seconds since 1970; 0: the policy sets no date): {sorted(closed)}")
    assert {kind for kind, _ in keepers} == {RecipientKind.VAULT, RecipientKind.ESCROW}


def test_approval_attacks(tmp_path: Path, figure: Figure) -> None:
    """Self-approval, one person twice, reuse, changed parameters after approval, an expired one, a
    quorum changed meanwhile, an approver of another space: refused, logged."""
    with serving(fresh_site(tmp_path)) as service:
        told = approvals.run(service)
    for attack, attempt in told.attempts.items():
        figure(f"{attack}: {attempt.code}")
    figure(f"{approvals.AT_ONCE} at once: {told.carried_out} carried out, {told.destructions} done")
    assert all(one.code and one.told and one.stood for one in told.attempts.values())
    assert (told.carried_out, told.refused_later) == (1, approvals.AT_ONCE - 1)
    assert told.destructions == 1


@pytest.mark.parametrize("days", [-30, 400])
def test_clock_jumps(tmp_path: Path, figure: Figure, days: int) -> None:
    """The clock is moved by -30 and by +400 days while the service runs: nothing revived, nothing
    destroyed early, the order of the log kept."""
    for text in clock_jumps.run(fresh_site(tmp_path), tmp_path, days * DAY).figures():
        figure(text)
