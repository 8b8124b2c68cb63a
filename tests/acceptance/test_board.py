"""The board: what has to be shown of it, a test for each line."""

import asyncio
import datetime as dt
import json
import re
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from kms.audit.actions import ACTIONS
from kms.domain.models import Role
from kms.web.pages import PAGES
from kms.web.visit import Kind
from tests.fixtures.board import BROWSER, path_of
from tests.fixtures.board_net import NetBrowser, percentile
from tests.fixtures.board_server import give_key
from tests.fixtures.browser import browser, visiting
from tests.practice.service import CONCLAVE, Service, serving
from tests.scenarios.board_truth import Size, Truth, make_truth
from tests.scenarios.board_walk import Walk

__all__ = ["browser"]

FULL = Size(live=4_400, overdue=60, ended=540, fetches=88_000)
MOST_CLICKS, MOST_MS, TIMES = 12, 300, 40
WHO = {
    Role.OPERATOR: "chen-admin",
    Role.OFFICER: "wang-security",
    Role.AUDITOR: "zhao-auditor",
}
ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures" / "board"
_PATIENCE = 300_000

Figure = Callable[[str], None]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """100,000 leaves of 5,000 meetings, the newest of this week."""
    return make_truth(tmp_path_factory.mktemp("board") / "site", FULL)


@pytest.fixture(scope="module")
def service(truth: Truth) -> Iterator[Service]:
    """The real service on that site, all its background work included."""
    with serving(truth.place) as running:
        yield running


# --- four questions -------------------------------------------------------------------------------


def overdue(walk: Walk) -> set[str]:
    """Which keys are overdue: the meetings that the board lists."""
    walk.below("Overdue keys")
    found: set[str] = set()
    while True:
        links = walk.page.get_by_role("region", name=walk.say("Open meetings")).get_by_role("link")
        found |= {_last(link) for link in links.evaluate_all("all => all.map(one => one.href)")}
        if not walk.page.get_by_role("link", name=walk.say("Next page"), exact=True).count():
            return found
        walk.follow("Next page")


def _last(link: str) -> str:
    return re.sub("[?#].*", "", link).rpartition("/")[2]


def fetchers(walk: Walk, meeting: str, day: dt.date) -> set[str]:
    """Who fetched the keys of a meeting on a day: the callers that the search lists."""
    walk.menu("Audit log")
    walk.choose("What", ACTIONS["envelope.fetch"].zh)
    walk.fill("Meeting", meeting)
    walk.fill("From", f"{day}T00:00")
    walk.fill("Before", f"{day + dt.timedelta(days=1)}T00:00")
    walk.button("Search")
    behind = walk.page.get_by_text(walk.say("Load the page again in some seconds."))
    while behind.count():  # the service has just been started; what the page says to do is done
        walk.page.wait_for_timeout(1000)
        walk.page.reload()
    rows = walk.page.get_by_role("region", name=walk.say("Entries")).locator("tbody tr")
    return set(rows.locator("td:nth-of-type(2)").all_inner_texts())


def altered(walk: Walk) -> bool:
    """Whether the log was altered: what the board says after it has checked all of it."""
    walk.menu("Audit log")
    walk.below("Was the log altered?")
    walk.button("Check the whole log now")
    fine = walk.page.get_by_text(walk.say("No, the log was not altered."))
    bad = walk.page.get_by_text(walk.say("The log was altered."), exact=True)
    expect(fine.or_(bad)).to_be_visible(timeout=_PATIENCE)
    return not fine.is_visible()


def report(walk: Walk, first: dt.date, folder: Path) -> tuple[Path, Path]:
    """The signed report of the quarter that began on a day: its ZIP and the evidence."""
    walk.menu("Reports")
    if walk.page.get_by_role("link", name=str(first)).count():
        walk.link_with(str(first))
    else:
        walk.button("Make the report")
        walk.page.get_by_role("link", name=walk.say("Show and download it")).wait_for(
            timeout=_PATIENCE
        )
        walk.follow("Show and download it")
    with walk.page.expect_download(timeout=_PATIENCE) as got:
        walk.button("To verify: PDF, figures and signature (ZIP)")
    bundle = folder / "report.zip"
    got.value.save_as(bundle)
    with walk.page.expect_download(timeout=_PATIENCE) as got:
        walk.button("Download the evidence bundle")
    evidence = folder / "evidence.db"
    got.value.save_as(evidence)
    return bundle, evidence


def test_four_questions(
    truth: Truth, service: Service, browser: Browser, tmp_path: Path, figure: Figure
) -> None:
    """From the start URL, by visible labels only and in at most 12 clicks each: which keys are
    overdue, who fetched the keys of meeting M last Tuesday, whether the log was altered, the signed
    report of last quarter; the four answers equal seeded ground truth."""
    PICTURES.mkdir(parents=True, exist_ok=True)

    def asked(name: str, question: Callable[[Walk], object], answer: object) -> None:
        with visiting(browser, truth.origin) as visitor:
            give_key(visitor, truth.keys["zhao-auditor"].made[-1])
            walk = Walk(visitor, name, PICTURES)
            walk.start()
            got = question(walk)
            walk.keep()
            truth.keys["zhao-auditor"].made[-1].counter += 10  # the browser counted on
        figure(f"{name}: {walk.clicks} clicks: {' > '.join(walk.steps)}")
        assert got == answer, (got, answer)
        assert walk.clicks <= MOST_CLICKS

    asked("overdue", overdue, truth.overdue)
    asked("fetched", lambda walk: fetchers(walk, truth.asked, truth.tuesday), truth.fetchers)
    asked("altered", altered, False)
    asked("report", lambda walk: _told(report(walk, truth.began, tmp_path), truth), _true(truth))


def _true(truth: Truth) -> dict[str, int]:
    """Return what the report of the last quarter has to say."""
    since, until = truth.bounds
    counts = {name: truth.counts[name] for name in ("opened", "fetched", "rotated", "refused")}
    return {"since": since, "until": until, **counts}


def _told(files: tuple[Path, Path], truth: Truth) -> dict[str, int]:
    """Return what the downloaded report says, once it verifies without the service, by the commands
    of the page.
    """
    bundle, evidence = files
    root = str(truth.site.home / "site-root-1.pem")
    with zipfile.ZipFile(bundle) as packed:
        packed.extractall(bundle.parent)
    figures = next(bundle.parent.glob("conclave-report-*.json"))
    for words in (["audit", "verify"], ["report", "verify", str(figures)]):
        command = [CONCLAVE, *words, str(evidence), "--site-root", root]
        subprocess.run(command, check=True, capture_output=True)
    told = json.loads(figures.read_text("utf-8"))
    content = told.get("content", told)
    rows = {one["id"]: one["rows"] for one in content["figures"]}
    return {
        "since": content["since"],
        "until": content["until"],
        "opened": sum(row[-1] for row in rows["meetings.opened"]),
        "fetched": sum(row[-1] for row in rows["envelopes.released"]),
        "rotated": sum(row[-1] for row in rows["rotation.reasons"] if "suspicion" in row),
        "refused": sum(row[-1] for row in rows["log.refused"]),
    }


# --- how fast -------------------------------------------------------------------------------------


def test_pages_are_fast(truth: Truth, service: Service, figure: Figure) -> None:
    """100,000 audit events, 5,000 meetings: pages under 300 ms server time at the 95th percentile
    on this machine; the overview does no unbounded query."""
    figure(f"{truth.leaves} leaves, {truth.meetings} meetings")
    assert truth.leaves >= 100_000
    assert truth.meetings >= 5_000
    with ThreadPoolExecutor(1) as apart:  # Playwright's loop still runs in this thread
        slow = apart.submit(lambda: asyncio.run(_time_all(truth, figure))).result()
    assert not slow, slow


async def _time_all(truth: Truth, figure: Figure) -> dict[str, float]:
    """Return the pages that are too slow; print every page's figures."""
    known = {"space": truth.spaces[0], "meeting": truth.asked, "seq": str(truth.leaves // 2)}
    slow = {}
    for role, name in WHO.items():
        keys = truth.keys[name]
        visitor = NetBrowser(None, truth.origin, headers={**BROWSER}, authenticator=keys)
        await visitor.answer_passkey("/sign-in")
        for path in _paths(role, known):
            took = await _time(visitor, path)
            median, most = percentile(took, 50), percentile(took)
            figure(f"{role} {path}: p50 {median:.0f} ms, p95 {most:.0f} ms")
            if most >= MOST_MS:
                slow[f"{role} {path}"] = most
        await visitor.client.aclose()
    return slow


def _paths(role: Role, known: dict[str, str]) -> list[str]:
    """Return the paths of every page and part that a role may see and that this site has something
    for, and the searches that people make.
    """
    found = [
        path_of(page, known)
        for page in PAGES
        if page.kind in {Kind.PAGE, Kind.FRAGMENT}
        and role in page.roles
        and set(re.findall(r"\{(\w+)", page.path)) <= set(known)
    ]
    more = ["/rotation?overdue=1"]
    if role is Role.AUDITOR:
        meeting = f"meeting={known['meeting']}"
        more += ["/audit?action=envelope.fetch", f"/audit?{meeting}", "/audit?outcome=refused"]
        more += [f"/meetings?space={known['space']}&state=closed"]
    return found + more


async def _time(visitor: NetBrowser, path: str) -> list[float]:
    """Return the seconds of many requests for a page, each of which has to be answered in full; a
    page that only sends its reader on, since nothing waits there, is timed as that.
    """
    visitor.took.clear()
    for _ in range(TIMES):
        answer = await visitor.get(path)
        assert answer.status in {200, 303}, (path, answer.status)
    return list(visitor.took)


# --- attacks --------------------------------------------------------------------------------------


def test_attacks(figure: Figure) -> None:
    """XSS, CSRF, clickjacking, session fixation, forced browsing by every role to every URL: a
    generated matrix test."""
    files = ["tests/unit/test_board_matrix.py", "tests/e2e/test_board_hostile.py"]
    command = [".venv/bin/pytest", "-q", "-p", "no:xdist", "-rA", "--no-header", *files]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    figure(f"{len(PAGES)} pages and acts, 6 kinds of visitors")
    figure(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout[-4000:]
