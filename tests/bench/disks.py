"""``python -m tests.bench.disks``: disks enrolled and their KEKs replaced, on a throwaway site."""

import argparse
import tempfile
from pathlib import Path

from tests.practice.service import serving
from tests.scenarios import many_disks
from tests.scenarios.bays import host_bay
from tests.scenarios.site import fresh_site


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disks", type=int, default=200, help="how many (default 200)")
    count = parser.parse_args().disks
    with tempfile.TemporaryDirectory(prefix="conclave-bench-", dir="/tmp") as name:
        folder = Path(name)
        with serving(fresh_site(folder)) as service, host_bay(service, folder) as bay:
            told = many_disks.run(bay, count)
    for text in told.figures():
        print(text)
    many_disks.check(told)


if __name__ == "__main__":
    main()
