"""Tells systemd how the daemon stands (sd_notify(3)) and reads credentials from it; without systemd
it does nothing.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

_CREDENTIAL_BYTES = 4096


class Notifier:
    """The socket that systemd named in ``NOTIFY_SOCKET``, if any."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        micros = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog = int(micros) / 1e6 / 2 if micros.isdecimal() and ours else 0.0
        """Seconds after which ``alive`` is due again, half of what systemd waits; 0: never."""

    def ready(self, status: str) -> None:
        """Say that the start is over."""
        self._tell(f"READY=1\nSTATUS={_line(status)}")

    def status(self, text: str) -> None:
        """Say in a line how the daemon stands."""
        self._tell(f"STATUS={_line(text)}")

    def alive(self) -> None:
        """Keep systemd from restarting the daemon."""
        self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._tell("STOPPING=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.sendto(text.encode(), self._address)


def _line(text: str) -> str:
    return text.replace("\n", " ")


def credential(name: str, environment: Mapping[str, str] = os.environ) -> bytes | None:
    """Return a credential (systemd.exec(5), at most 4 KiB) or None; raise OSError."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if not folder or not (path := Path(folder, name)).exists():
        return None
    with path.open("rb") as source:
        return source.read(_CREDENTIAL_BYTES)
