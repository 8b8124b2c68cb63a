"""Fresh practice sites: made by ``conclave init``, in a process of its own as a user would."""

import subprocess
from pathlib import Path

from kms.practice import PracticeSite, init_practice
from tests.practice.service import CONCLAVE


def fresh_site(directory: Path) -> PracticeSite:
    """Return a new practice site below a directory."""
    place = directory / "site"
    subprocess.run([CONCLAVE, "init", "--practice", str(place)], check=True, capture_output=True)
    return init_practice(place)
