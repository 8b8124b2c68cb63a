"""What the board costs those who fetch keys: ``python -m tests.bench.board``.

The real service on a site of 5,000 meetings and 100,000 leaves. Callers fetch from the roster space
over the Unix socket, meanwhile people look at pages, check the log, make a report. Ratios are taken
within a round, as in the other benchmarks.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kms.client.rosters import device_recipient
from tests.bench import report
from tests.bench.load import HttpRequest, Load, run_load, write_requests
from tests.bench.report import Line, Round
from tests.fixtures.board import BROWSER
from tests.fixtures.board_net import NetBrowser
from tests.practice.service import Service, serving
from tests.scenarios.board_truth import ROSTER, Size, Truth, make_truth

LINES = (
    Line("fetch, 32 connections", "fetch", "requests/s"),
    Line("the same, 8 live pages open", "fetch_live", "requests/s", "fetch"),
    Line("the same, pages read one after the other", "fetch_pages", "requests/s", "fetch"),
    Line("pages, nothing beside", "pages", "pages/s"),
    Line("pages, beside those fetches", "pages_beside", "pages/s", "pages"),
    Line("fetch alone, p99", "alone_ms", "ms"),
    Line("fetch alone, p99, beside pages", "pages_ms", "ms", "alone_ms"),
    Line("fetch alone, p99, beside a check of the log", "check_ms", "ms", "alone_ms"),
    Line("fetch alone, p99, beside the making of a report", "report_ms", "ms", "alone_ms"),
    Line("fetch alone, longest", "alone_most_ms", "ms"),
    Line("the same, beside pages", "pages_most_ms", "ms", "alone_most_ms"),
    Line("the same, beside a check of the log", "check_most_ms", "ms", "alone_most_ms"),
    Line("the same, beside the making of a report", "report_most_ms", "ms", "alone_most_ms"),
)
SIZE = Size(live=4_400, overdue=60, ended=540, fetches=88_000)
AUDITOR = "zhao-auditor"
FEW, LIVE, MEETINGS = 32, 8, 400
PAGES = ("/", "/rotation", "/meetings", "/audit", "/keys", "/escrow", "/grants", "/reports")
_SLICE_SECONDS = 0.5
"""How long a fetch alone is timed at once beside work that ends when it ends."""


@dataclass
class Bench:
    """Measures; ``seconds`` is how long each figure is taken."""

    service: Service
    requests: Path
    seconds: float
    visitor: NetBrowser

    async def round(self) -> Round:
        """Return one round of figures."""
        plain = await self._load(FEW)
        async with self._live_pages():
            live = await self._load(FEW)
        quiet = await self._pages(asyncio.sleep(self.seconds))
        beside, read = await self._beside_pages(FEW)
        figures = {"fetch": plain.per_second, "fetch_live": live.per_second}
        figures |= {"fetch_pages": beside.per_second, "pages": quiet, "pages_beside": read}
        figures |= _waits("alone", [await self._load(1)])
        figures |= _waits("pages", [(await self._beside_pages(1))[0]])
        figures |= _waits("check", await self._meanwhile(self._check()))
        return figures | _waits("report", await self._meanwhile(self._report()))

    async def _load(self, connections: int, seconds: float = 0) -> Load:
        address = f"unix:{self.service.settings.paths.api_socket}"
        took = seconds or self.seconds
        return await asyncio.to_thread(run_load, address, self.requests, connections, took)

    async def _beside_pages(self, connections: int) -> tuple[Load, float]:
        load = asyncio.create_task(self._load(connections))
        pages = await self._pages(load)
        return await load, pages

    async def _pages(self, until: Awaitable[object]) -> float:
        """Return how many pages a second one visitor reads, one after the other."""
        over, number, begun = asyncio.ensure_future(until), 0, time.perf_counter()
        while not over.done():
            answer = await self.visitor.get(PAGES[number % len(PAGES)])
            assert answer.status == 200, answer.text
            number += 1
        return number / (time.perf_counter() - begun)

    async def _meanwhile(self, work: Awaitable[None]) -> list[Load]:
        over, loads = asyncio.ensure_future(work), []
        while not over.done():
            loads.append(await self._load(1, _SLICE_SECONDS))
        await over
        return loads

    async def _check(self) -> None:
        await self._act("/audit/check", {}, "/parts/audit/check")

    async def _report(self) -> None:
        await self._act("/reports", {"period": "this-quarter"}, "/parts/reports")

    async def _act(self, path: str, fields: dict[str, str], part: str) -> None:
        """Begin what goes on by itself; return once its part of the page shows no progress."""
        answer = await self.visitor.post(path, {"csrf": await self.visitor.token(), **fields})
        assert answer.status == 303, answer.text
        while "<progress" in (await self.visitor.get(part)).text:  # noqa: ASYNC110 -- not ours
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def _live_pages(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._follow()) for _ in range(LIVE)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, asyncio.CancelledError) for one in done), done

    async def _follow(self) -> None:
        """Be a page that is open: at each event ask for its part again."""
        visitor = self.visitor
        url = visitor.origin.replace("//localhost:", "//127.0.0.1:") + "/live"
        headers = {**BROWSER, "host": visitor.origin.partition("//")[2]}
        headers["cookie"] = f"__Host-conclave={visitor.cookie}"
        async with visitor.client.stream("GET", url, headers=headers, timeout=None) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    await visitor.get("/parts/rotation")


def _waits(name: str, loads: list[Load]) -> Round:
    p99, most = max(one.p99_ms for one in loads), max(one.max_ms for one in loads)
    return {f"{name}_ms": p99, f"{name}_most_ms": most}


def _wanted(truth: Truth, service: Service) -> list[HttpRequest]:
    """Return requests for envelopes of devices in open meetings."""
    space, device = truth.spaces[ROSTER], truth.site.outside.devices[0]
    recipient = device_recipient(device.certificate)
    with service.console() as console:
        listed = (one for one in console.meetings(space) if one.state == "open")
        found = [one.meeting for one in islice(listed, MEETINGS)]
    where = f"/v1/spaces/{space}/meetings"
    return [
        HttpRequest("GET", f"{where}/{one}/epochs/current/envelopes/{recipient}") for one in found
    ]


def _let_fetch(truth: Truth) -> None:
    """Let this process's user relay envelopes besides."""
    config = truth.place.config
    config.write_text(config.read_text().replace('"operator"]', '"operator", "meeting-server"]'))


async def _measure(truth: Truth, service: Service, requests: Path, rounds: int) -> list[Round]:
    keys = truth.keys[AUDITOR]
    visitor = NetBrowser(None, truth.origin, headers={**BROWSER}, authenticator=keys)
    visitor.client.timeout = 120
    await visitor.answer_passkey("/sign-in")
    bench = Bench(service, requests, 5.0, visitor)
    return [await bench.round() for _ in range(rounds)]


def main() -> None:
    """Measure, show, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="conclave-bench-", dir="/tmp") as scratch:
        truth = make_truth(Path(scratch) / "site", SIZE)
        _let_fetch(truth)
        with serving(truth.place) as service:
            requests = write_requests(Path(scratch) / "fetch", _wanted(truth, service))
            found = report.results(LINES, asyncio.run(_measure(truth, service, requests, rounds)))
    report.show(found)
    sys.stdout.write(report.markdown(found, rounds))


if __name__ == "__main__":
    main()
