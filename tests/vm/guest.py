"""Commands in the virtual machine: a script goes in, exit code, output and errors come back."""

import base64
import time
from dataclasses import dataclass
from pathlib import Path

from tests.vm.qmp import connect
from tests.vm.tools import MachineError

_SECONDS = 60.0


@dataclass(frozen=True)
class Output:
    """What a script in the guest left."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode(errors="replace").strip()


class Guest:
    """The guest's one command line; commands run one after the other, as root."""

    def __init__(self, path: Path) -> None:
        self._link = connect(path)
        self._rest = b""

    def await_ready(self, seconds: float) -> None:
        """Wait until the guest is up; raise MachineError."""
        while self._line(seconds) != b"ready":
            pass

    def run(self, script: str, seconds: float = _SECONDS) -> Output:
        """Return what a script did, whatever its exit code; raise MachineError if it hangs."""
        self._link.sendall(base64.b64encode(script.encode()) + b"\n")
        code, out, err = self._line(seconds).split(b" ")
        return Output(int(code), base64.b64decode(out), base64.b64decode(err))

    def close(self) -> None:
        self._link.close()

    def _line(self, seconds: float) -> bytes:
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            self._link.settimeout(max(0.01, end - time.monotonic()))
            try:
                more = self._link.recv(1 << 16)
            except TimeoutError as error:
                raise MachineError("the guest does not answer") from error
            if not more:
                raise MachineError("the guest has ended")
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line
