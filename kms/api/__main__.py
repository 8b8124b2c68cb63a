"""The start of the web process: ``python -m kms.api --config FILE`` (kms/api/server.py).

The garbage collector rests until the process serves: what is loaded by then lives as long as the
process, and to look at it again and again took a quarter of the start.
"""

import gc
import sys


def start() -> int:
    """Run the web process; return its exit code."""
    gc.disable()
    from kms.api.server import main  # noqa: PLC0415 -- loaded while the collector rests

    return main()


if __name__ == "__main__":
    sys.exit(start())
