"""Benchmarks: the service against the raw HSM and a bare server, on a throwaway site.

Everything is measured in one run and in turn, several times; medians are shown, and ratios within
one round, since absolute figures drift with the machine.
"""

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench import report
from tests.bench.load import BenchError
from tests.bench.measure import LINES, Bench, serving_ceiling, slowed
from tests.bench.report import Round
from tests.bench.site import BenchSite
from tests.bench.token import make_token
from tests.faults.build import ROOT

OUTPUT = ROOT / ".cache" / "bench"


def main() -> int:
    """Measure, show, write Markdown and JSON; return 1 if something required is missed."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="conclave-bench-", dir="/tmp") as scratch:
        rounds = measure(Path(scratch), options)
    found = report.results(LINES, rounds)
    _write(found, rounds)
    if options.json:
        print(json.dumps(report.as_json(found, rounds), indent=1))
    else:
        report.show(found)
    return int(any(one.line.required and one.verdict == "MISSED" for one in found))


def measure(scratch: Path, options: argparse.Namespace) -> list[Round]:
    """Return the figures of every round; with ``--reference``, those of raw HSM and bare server."""
    token = make_token(scratch / "token")
    bench = Bench(scratch, options.seconds, token)
    site = None if options.reference else BenchSite(scratch / "site", meetings=options.meetings)
    plain = _rounds(bench, site, options.rounds)
    slow = _slow_rounds(bench, site, options.rounds)
    return [one | two for one, two in zip(plain, slow, strict=True)]


def _rounds(bench: Bench, site: BenchSite | None, count: int) -> list[Round]:
    with ExitStack() as stack:
        bare = stack.enter_context(serving_ceiling(bench.scratch / "bare", {}))
        target = stack.enter_context(site.serving({})) if site else None
        rounds = []
        for number in range(count):
            _say(f"round {number + 1} of {count}")
            rounds.append(bench.mints(target) | bench.fetches(bare, target))
        return rounds


def _slow_rounds(bench: Bench, site: BenchSite | None, count: int) -> list[Round]:
    with ExitStack() as stack:
        bare = stack.enter_context(serving_ceiling(bench.scratch / "slow", slowed()))
        target = stack.enter_context(site.serving(slowed())) if site else None
        rounds = []
        for number in range(count):
            _say(f"round {number + 1} of {count}, every fsync 2 ms slower")
            rounds.append(bench.slow(bare, target))
        return rounds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--reference", action="store_true", help="only raw HSM and bare server")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=None, help="how long each figure is taken")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (2 if options.quick else 5)
    options.meetings = 64 if options.quick else 256
    return options


def _write(found: list[report.Result], rounds: list[Round]) -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "bench.md").write_text(report.markdown(found, len(rounds)))
    (OUTPUT / "bench.json").write_text(json.dumps(report.as_json(found, rounds), indent=1))
    _say(f"written to {OUTPUT}/bench.md and bench.json")


def _say(text: str) -> None:
    print(f"· {text}", file=sys.stderr)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
