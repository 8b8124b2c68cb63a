"""The only place where the appliance starts a program.

List arguments alone, an absolute path, an empty environment, bounds on time, memory and output.
Secrets go through pipes: never in an argument, the environment, a file or the log.
"""

import logging
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import IO

from kms.errors import ConclaveError, ConfigurationError

_PATH = ("/usr/sbin", "/usr/bin", "/sbin", "/bin")
_ENVIRONMENT = {"LC_ALL": "C", "PATH": ":".join(_PATH)}
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.ASCII)
_PIPE_BYTES = 4096
"""What a pipe takes without a reader (pipe(7)): so secrets are written before the start."""
_TICK_SECONDS = 0.1
_GRACE_SECONDS = 2.0
"""How long a cancelled program may put its metadata in order before it is killed."""
_BURY_SECONDS = 5.0
_MIB = 1 << 20
_SAID_BYTES = 300

_log = logging.getLogger(__name__)


class ProgramFailed(ConclaveError):  # noqa: N818 -- named as in kms/errors.py
    """A program ended otherwise than expected; ``status`` is its exit code (negative: a signal)."""

    code = "program_failed"

    def __init__(self, message: str, *, status: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ProgramTooSlow(ProgramFailed):
    """A program ran longer than it may and was killed."""

    code = "program_too_slow"


class ProgramCancelled(ProgramFailed):
    """A program was ended because something more urgent has to be done with its device."""

    code = "program_cancelled"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run: ``seconds`` (None: until it is cancelled), ``memory`` in bytes of address
    space, ``output`` in bytes of stdout and of stderr that are kept; what comes beyond is dropped.
    """

    seconds: float | None = 10.0
    memory: int = 256 * _MIB
    output: int = 4 * _MIB


@dataclass(frozen=True, slots=True)
class Secret:
    """A place among the arguments for the n-th secret: a path that can be read once."""

    number: int


@dataclass(frozen=True, slots=True)
class Result:
    """How a program ended and what it said."""

    code: int
    out: bytes = field(repr=False)
    err: bytes = field(repr=False)


Argument = str | Path | Secret


class Programs:
    """Starts programs; while ``cancel`` is set none runs.

    ``dm_udev``: whether udev makes the nodes of device-mapper here; without its rules cryptsetup
    would wait for it for ever.
    """

    def __init__(self, cancel: Event | None = None, *, dm_udev: bool = True) -> None:
        self._cancel = cancel or Event()
        self._environment = _ENVIRONMENT | ({} if dm_udev else {"DM_DISABLE_UDEV": "1"})

    def check(self) -> None:
        """Raise ProgramCancelled if something more urgent has to be done: asked by whatever takes
        long without a program.
        """
        if self._cancel.is_set():
            raise ProgramCancelled("it was ended: the device is wanted")

    def run(
        self,
        argv: Sequence[Argument],
        *,
        stdin: bytes = b"",
        secrets: Sequence[bytes] = (),
        limits: Limits = Limits(),
        ok: Collection[int] = (0,),
        on_line: Callable[[bytes], None] | None = None,
        folder: Path = Path("/"),
    ) -> Result:
        """Run a program in ``folder`` to its end and return what it said; ``on_line`` hears stdout
        by lines.

        Raise ProgramFailed unless it ends with a code of ``ok``, ProgramTooSlow or
        ProgramCancelled if it was killed, ConfigurationError if it is not installed.
        """
        program = Path(find_program(str(argv[0])))
        if self._cancel.is_set():
            raise ProgramCancelled(f"{program.name} was not started: the device is wanted")
        with _pipes((stdin, *secrets)) as pipes:
            words = [_word(argument, pipes[1:]) for argument in argv[1:]]
            began = time.monotonic()
            started = _start([str(program), *words], pipes, limits, self._environment, folder)
        result = _Running(program.name, started, limits, self._cancel, on_line).result()
        _log.info(
            "%s ended with %d after %.2f s",
            [program.name, *map(_shown, argv[1:])],
            result.code,
            time.monotonic() - began,
        )
        if result.code not in ok:
            raise ProgramFailed(
                f"{program.name} ended with {result.code}: {said(result.err)}", status=result.code
            )
        return result


def find_program(name: str) -> str:
    """Return the absolute path of a program; raise ConfigurationError if it is not installed."""
    if _NAME.fullmatch(name):
        for folder in _PATH:
            path = f"{folder}/{name}"
            if os.access(path, os.X_OK):
                return path
    raise ConfigurationError(
        f"the program {name} is not installed",
        hint="install the packages cryptsetup-bin, e2fsprogs, mount, util-linux",
    )


def said(err: bytes) -> str:
    """Return the end of what a program said, as one line that can be shown."""
    text = err.decode("utf-8", "replace").strip().replace("\n", "; ")
    return "".join(char if char.isprintable() else "?" for char in text)[-_SAID_BYTES:]


def _word(argument: Argument, secrets: Sequence[int]) -> str:
    if isinstance(argument, Secret):
        return f"/dev/fd/{secrets[argument.number]}"
    return str(argument)


def _shown(argument: Argument) -> str:
    return f"<secret {argument.number}>" if isinstance(argument, Secret) else str(argument)


@contextmanager
def _pipes(contents: Sequence[bytes]) -> Iterator[list[int]]:
    """Have pipes that hold the contents, closed for writing; a pipe is never swapped out."""
    readers: list[int] = []
    try:
        for content in contents:
            if len(content) > _PIPE_BYTES:
                raise ValueError("a program's input is larger than a pipe")
            reader, writer = os.pipe()
            readers.append(reader)
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(content)
        yield readers
    finally:
        for reader in readers:
            os.close(reader)


def _start(
    words: list[str],
    pipes: Sequence[int],
    limits: Limits,
    environment: dict[str, str],
    folder: Path,
) -> subprocess.Popen[bytes]:
    # prlimit(1) sets the bounds and becomes the program: a hook between fork and exec could
    # deadlock in a process with threads.
    bounds = [find_program("prlimit"), f"--as={limits.memory}", "--core=0", "--"]
    return subprocess.Popen(  # noqa: S603 -- list arguments, absolute path, empty environment
        [*bounds, *words],
        stdin=pipes[0],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder,
        pass_fds=pipes[1:],
        start_new_session=True,
        umask=0o077,
    )


class _Running:
    """One running program: hears it until it ends or has to."""

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        limits: Limits,
        cancel: Event,
        on_line: Callable[[bytes], None] | None,
    ) -> None:
        self._name, self._process, self._limits = name, process, limits
        self._cancel, self._on_line = cancel, on_line
        self._until = time.monotonic() + limits.seconds if limits.seconds else None
        self._out, self._err, self._line = bytearray(), bytearray(), bytearray()

    def result(self) -> Result:
        """Return what became of it; raise ProgramTooSlow, ProgramCancelled."""
        try:
            self._hear()
        finally:
            # Whatever happened, nothing of it goes on: also not a child that it left behind.
            self._signal(signal.SIGKILL)
            if not self._ended(_BURY_SECONDS):  # it waits for a device that does not answer
                _log.error("%s cannot be ended", self._name)
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe:
                    pipe.close()
        if self._on_line and self._line:
            self._on_line(bytes(self._line))
        return Result(self._process.wait(), bytes(self._out), bytes(self._err))

    def _hear(self) -> None:
        with selectors.DefaultSelector() as selector:
            for pipe, kept in (
                (self._process.stdout, self._out),
                (self._process.stderr, self._err),
            ):
                selector.register(pipe or -1, selectors.EVENT_READ, kept)
            while selector.get_map():
                self._check()
                ended = self._process.poll() is not None
                heard = selector.select(0 if ended else _TICK_SECONDS)
                if ended and not heard:  # a child that it left behind holds the pipes
                    return
                for key, _ in heard:
                    if not self._take(key.fileobj, key.data):  # type: ignore[arg-type] # a pipe
                        selector.unregister(key.fileobj)
        while not self._ended(_TICK_SECONDS):
            self._check()

    def _take(self, pipe: IO[bytes], kept: bytearray) -> bool:
        data = os.read(pipe.fileno(), 65536)
        kept += data[: self._limits.output - len(kept)]
        if kept is self._out and self._on_line:
            *lines, rest = bytes(self._line + data).split(b"\n")
            self._line = bytearray(rest[-self._limits.output :])
            for line in lines:
                self._on_line(line)
        return bool(data)

    def _check(self) -> None:
        if self._cancel.is_set():
            self._signal(signal.SIGTERM)
            if not self._ended(_GRACE_SECONDS):
                _log.warning("%s did not end when it was asked to", self._name)
            raise ProgramCancelled(f"{self._name} was ended: the device is wanted")
        if self._until is not None and time.monotonic() > self._until:
            raise ProgramTooSlow(f"{self._name} took more than {self._limits.seconds:g} seconds")

    def _ended(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return
