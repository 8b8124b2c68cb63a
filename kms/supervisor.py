"""Starts one worker per token and the web process, restarts what dies, stops all together.

The supervisor alone keeps the PINs, in memory, and hands each worker its own through a pipe. It
parses no request. A child that says that going on is wrong (EXIT_CONFIGURATION) ends the service.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kms.errors import PinError
from kms.settings import Settings

EXIT_CONFIGURATION = 78
"""A child's own word that a restart cannot help: configuration, integrity or PIN (sysexits.h)."""
EXIT_UNAVAILABLE = 69
"""A child fails whenever it is started (sysexits.h)."""

_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0
_BURY_SECONDS = 2.0
_TICK_SECONDS = 0.5
_BACKOFF_FIRST, _BACKOFF_MOST = 0.05, 5.0
_MOST_FAILURES = 20
_PR_SET_PDEATHSIG = 1


class ServiceEndedError(Exception):
    """The service cannot go on; ``code`` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Child:
    """A process that has to run; ``secret`` goes to its --pin-fd at every start."""

    name: str
    module: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    secret: bytes | None = field(default=None, repr=False)
    process: subprocess.Popen[bytes] | None = None
    served: bool = False
    backoff: float = _BACKOFF_FIRST
    due: float = 0.0
    failures: int = 0

    def start(self) -> None:
        """Start the process; wait until it serves, has ended, or took too long and was killed."""
        read_end, write_end = os.pipe()
        arguments = [*self.arguments, "--ready-fd", str(write_end)]
        inherited = [write_end]
        if self.secret is not None:
            inherited.append(_secret_pipe(self.secret))
            arguments += ["--pin-fd", str(inherited[-1])]
        self.process = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
            [sys.executable, "-I", "-m", self.module, *arguments],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self.environment},
            pass_fds=inherited,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 -- the supervisor has one thread
        )
        for descriptor in inherited:
            os.close(descriptor)
        self._await_ready(read_end)

    def _await_ready(self, descriptor: int) -> None:
        """Wait for the ready byte; the pipe ends without one when the process dies first."""
        try:
            readable, _, _ = select.select([descriptor], [], [], _READY_SECONDS)
            self.served = bool(readable) and bool(os.read(descriptor, 1))
        finally:
            os.close(descriptor)
        if not self.served:
            self._bury()

    def _bury(self) -> None:
        """Let a process that did not come to serve end, so that its exit code is known."""
        if self.process is None:
            return
        try:
            self.process.wait(_BURY_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ended(self) -> int | None:
        """Return the exit code of a process that ended, else None."""
        return self.process.poll() if self.process else None

    def plan_restart(self) -> None:
        """Set when to start again: soon if it had served, else later and later."""
        if self.served:
            self.backoff, self.failures = _BACKOFF_FIRST, 0
        self.failures += 1
        self.due = time.monotonic() + self.backoff
        self.backoff = min(self.backoff * 2, _BACKOFF_MOST)
        self.process, self.served = None, False

    def stop(self, seconds: float) -> None:
        """End the process: asked first, then killed."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Supervisor:
    """The service as a tree of processes; ``pins`` maps token labels to PINs."""

    def __init__(
        self, path: Path, settings: Settings, pins: dict[str, str], say: Callable[[str], None]
    ) -> None:
        config = ("--config", str(path.resolve()))
        workers = [
            Child(
                f"worker {token.label}",
                "kms.hsm.worker",
                (*config, "--token", token.label),
                settings.hsm.environment,
                _pin(pins, token.label),
            )
            for token in settings.hsm.tokens
        ]
        # The web process comes last: it needs the workers at its start.
        self._children = [*workers, Child("web", "kms.api.server", config, {})]
        self._say = say
        self._terminated = False

    def run(self, ready: Callable[[], None]) -> int:
        """Serve until SIGTERM or SIGINT, and call ``ready`` once requests are answered.

        Return the exit code: 0, or a child's own if it forbids a restart.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._terminate)
        # A child's death interrupts the sleep below.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        wakeup = _wakeup_pipe()
        announced = False
        try:
            while not self._terminated:
                self._tend()
                if not announced and all(child.served for child in self._children):
                    announced = True
                    ready()
                select.select([wakeup], [], [], self._pause())
                _drain(wakeup)
        except ServiceEndedError as ended:
            self._say(str(ended))
            return ended.code
        finally:
            for child in reversed(self._children):
                child.stop(_STOP_SECONDS)
        return 0

    def _tend(self) -> None:
        for child in self._children:
            if child.process is None and time.monotonic() >= child.due:
                child.start()
            self._check(child)

    def _pause(self) -> float:
        """Return how long nothing is to be done, in seconds."""
        now = time.monotonic()
        dues = [child.due - now for child in self._children if child.process is None]
        return max(0.0, min([_TICK_SECONDS, *dues]))

    def _check(self, child: Child) -> None:
        code = child.ended()
        if code is None:
            return
        if code == EXIT_CONFIGURATION:
            raise ServiceEndedError(f"{child.name} refuses to run; see its message above", code)
        self._say(f"{child.name} ended with code {code} and is started again")
        child.plan_restart()
        if child.failures > _MOST_FAILURES:
            raise ServiceEndedError(
                f"{child.name} fails again and again; see its messages above", EXIT_UNAVAILABLE
            )

    def _terminate(self, *_: object) -> None:
        self._terminated = True


def _pin(pins: dict[str, str], token: str) -> bytes:
    if token not in pins:
        raise PinError(f"no PIN was given for token {token}")
    return pins[token].encode()


def _secret_pipe(secret: bytes) -> int:
    """Return a pipe that holds the secret and then ends; PINs are far below the pipe's capacity."""
    read_end, write_end = os.pipe()
    os.write(write_end, secret)
    os.close(write_end)
    return read_end


def _wakeup_pipe() -> int:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    return read_end


def _drain(descriptor: int) -> None:
    try:
        os.read(descriptor, 4096)
    except BlockingIOError:
        return


def _die_with_parent() -> None:
    """Let a killed supervisor take its children along (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
