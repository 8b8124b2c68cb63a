"""``./dev accept NAME``: run an acceptance file at full size, print each line and its figures."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Run one acceptance file; exit code as pytest's, 64 for an unknown name."""
    names = sorted(path.stem[5:].replace("_", "-") for path in HERE.glob("test_*.py"))
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        print(f"usage: ./dev accept NAME [PYTEST ARGS], with NAME one of: {', '.join(names)}")
        return 64
    import pytest

    os.environ["CONCLAVE_FULL_SIZE"] = "1"
    target = HERE / f"test_{sys.argv[1].replace('-', '_')}.py"
    options = ["-p", "tests.acceptance.lines", "-p", "no:xdist", "--no-header", *sys.argv[2:]]
    return int(pytest.main([str(target), *options]))


if __name__ == "__main__":
    sys.exit(main())
