"""Throwaway SoftHSM tokens, for tests and benchmarks of one process or a few.

The PINs are worthless: a token lives in a directory that is removed with the test.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")

_CONFIGURATION = """\
directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
"""


@dataclass(frozen=True, slots=True)
class SoftToken:
    """An initialised token; ``configuration`` is what SOFTHSM2_CONF has to name."""

    configuration: Path
    label: str
    so_pin: str
    pin: str

    def environment(self) -> dict[str, str]:
        """Return what a process that opens the token needs in its environment."""
        return {"SOFTHSM2_CONF": str(self.configuration)}


def init_token(directory: Path, label: str) -> SoftToken:
    """Make an empty token in a directory, beside those that are there."""
    tokens = directory / "tokens"
    tokens.mkdir(parents=True, exist_ok=True)
    configuration = directory / "softhsm2.conf"
    configuration.write_text(_CONFIGURATION.format(tokens=tokens))
    token = SoftToken(configuration, label, so_pin="12345678", pin="87654321")
    pins = ("--so-pin", token.so_pin, "--pin", token.pin)
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, *pins],
        env=token.environment(),
        check=True,
        capture_output=True,
    )
    return token
