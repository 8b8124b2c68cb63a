"""Speaks QMP to QEMU: commands and their answers, events in the order they came."""

import json
import socket
import time
from pathlib import Path
from typing import Any

from tests.vm.tools import MachineError

_CONNECT_SECONDS = 20.0


def connect(path: Path, seconds: float = _CONNECT_SECONDS) -> socket.socket:
    """Return a connection to a socket that QEMU makes as it starts; raise MachineError."""
    end = time.monotonic() + seconds
    while True:
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(str(path))
            return link
        except (FileNotFoundError, ConnectionRefusedError) as error:
            link.close()
            if time.monotonic() > end:
                raise MachineError(f"QEMU does not listen at {path.name}") from error
            time.sleep(0.02)


class Qmp:
    """A connection to one machine's monitor."""

    def __init__(self, path: Path) -> None:
        self._link = connect(path)
        self._lines = self._link.makefile("rb")
        self._events: list[dict[str, Any]] = []
        self._read(_CONNECT_SECONDS)
        self.command("qmp_capabilities")

    def command(self, name: str, **arguments: Any) -> Any:
        """Return what a command returns; raise MachineError with QEMU's own words."""
        words = {"execute": name, "arguments": arguments}
        self._link.sendall(json.dumps(words).encode() + b"\n")
        while True:
            answer = self._read(_CONNECT_SECONDS)
            if "event" in answer:
                self._events.append(answer)
            elif "error" in answer:
                raise MachineError(f"{name}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def wait(self, event: str, seconds: float, **data: str) -> None:
        """Wait for an event with such data; raise MachineError if it does not come."""
        end = time.monotonic() + seconds
        while True:
            for one in self._events:
                if one["event"] == event and data.items() <= one.get("data", {}).items():
                    self._events.remove(one)
                    return
            self._events.append(self._read(max(0.01, end - time.monotonic())))

    def close(self) -> None:
        self._lines.close()
        self._link.close()

    def _read(self, seconds: float) -> dict[str, Any]:
        self._link.settimeout(seconds)
        try:
            line = self._lines.readline()
        except TimeoutError as error:
            raise MachineError("QEMU does not answer") from error
        if not line:
            raise MachineError("QEMU has ended")
        return json.loads(line)
