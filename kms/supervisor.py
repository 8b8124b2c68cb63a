"""Starts one worker per token and the web process, restarts what dies, stops all together.

The supervisor alone keeps the PINs, in memory, and hands each worker its own through a pipe. It
parses no request. A child that says that going on is wrong (EXIT_CONFIGURATION) ends the service.
What a marker file seals has no worker and no PIN here any more, as long as this process lives.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kms.bootstrap.pin_cells import PinCell
from kms.bootstrap.seal_marks import SealMarks
from kms.errors import PinError, StoreUnavailable
from kms.settings import Settings
from kms.statements.sealing import BOX

EXIT_CONFIGURATION = 78
"""A child's own word that a restart cannot help: configuration, integrity or PIN (sysexits.h)."""
EXIT_UNAVAILABLE = 69
"""A child fails whenever it is started (sysexits.h)."""

_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0
_BURY_SECONDS = 2.0
_TICK_SECONDS = 0.25
_SEAL_SECONDS = 0.5
"""How long a worker may take to log out before it is killed."""
_FAREWELL_SECONDS = 2.0
"""How long the web process may take to sign the log's head before the box is sealed."""
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
    """A process that has to run unless it is ``sealed``; ``secret`` goes to its --pin-fd at every
    start. ``space`` is a worker's (empty: the site's), None of the web process.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    secret: PinCell | None = field(default=None, repr=False)
    space: str | None = None
    sealed: bool = False
    process: subprocess.Popen[bytes] | None = None
    served: bool = False
    backoff: float = _BACKOFF_FIRST
    due: float = 0.0
    failures: int = 0

    def start(self, meanwhile: Callable[[], None]) -> None:
        """Start the process; wait until it serves, has ended, or took too long and was killed.

        ``meanwhile`` is called again and again, and may seal it.
        """
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
        self._await_ready(read_end, meanwhile)

    def _await_ready(self, descriptor: int, meanwhile: Callable[[], None]) -> None:
        """Wait for the ready byte; the pipe ends without one when the process dies first."""
        until = time.monotonic() + _READY_SECONDS
        try:
            while self.process is not None and time.monotonic() < until:
                readable, _, _ = select.select([descriptor], [], [], _TICK_SECONDS)
                if readable:
                    self.served = bool(os.read(descriptor, 1))
                    break
                meanwhile()
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

    def seal(self) -> None:
        """Let a worker log out and end, for good, and wipe its PIN."""
        self.sealed = True
        if self.secret is not None:
            self.secret.wipe()
        self.stop(_SEAL_SECONDS)
        self.process, self.served = None, False


class Supervisor:
    """The service as a tree of processes; ``pins`` has the PIN of each token that is not sealed."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        pins: Mapping[str, PinCell],
        say: Callable[[str], None],
    ) -> None:
        self._marks, self._sealed = SealMarks(settings.paths), frozenset[str]()
        config = ("--config", str(path.resolve()))
        workers = [
            Child(
                f"worker {token.label}",
                "kms.hsm.worker",
                (*config, "--token", token.label),
                settings.hsm.environment,
                pins.get(token.label),
                token.space,
            )
            for token in settings.hsm.tokens
        ]
        # The web process comes last: it needs the workers at its start.
        self._workers, self._web = workers, Child("web", "kms.api", config, {})
        self._children = [*workers, self._web]
        self._say = say
        self._terminated = False
        self._seal(self._marks.sealed())
        _check_pins(workers)

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
                if not announced and all(one.served or one.sealed for one in self._children):
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
        # One at a time: SoftHSM fails now and then when processes open their tokens together.
        for child in self._children:
            self._obey_seals()
            if child.sealed:
                continue
            if child.process is None and time.monotonic() >= child.due:
                child.start(self._obey_seals)
            self._check(child)

    def _obey_seals(self) -> None:
        try:
            self._seal(self._marks.sealed())
        except StoreUnavailable as error:
            # What was sealed stays so, and without the disk no key leaves the service.
            self._say(str(error))

    def _seal(self, sealed: frozenset[str]) -> None:
        """End what is newly sealed: workers first; the site's last, which signs the log's head."""
        new, self._sealed = sealed - self._sealed, self._sealed | sealed
        if not new:
            return
        for child in self._workers:
            if child.space and (child.space in new or BOX in new) and not child.sealed:
                self._end(child)
        if BOX not in new:
            return
        self._web.stop(_FAREWELL_SECONDS)
        for child in self._workers:
            if not child.sealed:
                self._end(child)
        self._web.process, self._web.served, self._web.due = None, False, 0.0
        self._web.arguments += ("--sealed",)

    def _end(self, child: Child) -> None:
        child.seal()
        self._say(f"{child.name} is sealed: it ended and its PIN is gone")

    def _pause(self) -> float:
        """Return how long nothing is to be done, in seconds."""
        now = time.monotonic()
        waiting = (one for one in self._children if one.process is None and not one.sealed)
        dues = [child.due - now for child in waiting]
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


def _check_pins(workers: list[Child]) -> None:
    for worker in workers:
        if worker.secret is None and not worker.sealed:
            raise PinError(f"no PIN was given for {worker.name}")


def _secret_pipe(secret: PinCell) -> int:
    """Return a pipe that holds the secret and then ends; PINs are far below the pipe's capacity."""
    read_end, write_end = os.pipe()
    secret.pour(write_end)
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
