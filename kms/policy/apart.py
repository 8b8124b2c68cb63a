"""Reads texts that nobody has approved in a process apart: the parser is native code, and what it
does to its process must not be the service's. The child ends by itself, or it is ended.
"""

import multiprocessing
import resource
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from kms.errors import ConclaveError, InvalidInput, Unavailable
from kms.policy.bounds import check_bounds
from kms.policy.source import Shipped

CPU_SECONDS = 5
SECONDS = 20.0
"""How long the child may take in all, starting included."""
_BYTES = 2 << 30

Texts = Sequence[tuple[str, str]]


def check_apart(texts: Texts) -> None:
    """Raise InvalidInput unless a site's own policies, pairs of source and text, fit beside those
    that come with the software; also if reading them takes too much. Unavailable if no process
    can be started. It waits: call it off the event loop.
    """
    for source, text in texts:
        check_bounds(text, source)
    run_apart(_read, texts)


def run_apart(read: Callable[[Texts], object], texts: Texts) -> None:
    """Run ``read(texts)`` in a fresh process; raise its ConclaveError, InvalidInput if that process
    dies or takes too long, Unavailable if it cannot be started.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_main, args=(theirs, read, texts), daemon=True)
    try:
        child.start()
    except OSError as error:
        raise Unavailable("no process can be started to read the policies") from error
    finally:
        theirs.close()
    try:
        refused = _outcome(ours)
    finally:
        ours.close()
        _end(child)
    if refused is not None:
        raise refused


def _outcome(pipe: Connection) -> ConclaveError | None:
    try:
        if pipe.poll(SECONDS):
            found: ConclaveError | None = pipe.recv()
            return found
    except (EOFError, OSError):
        pass
    return InvalidInput(
        "the policies cannot be read: too complex", hint="write several simple policies"
    )


def _end(child: BaseProcess) -> None:
    child.kill()
    child.join()


def _main(pipe: Connection, read: Callable[[Texts], object], texts: Texts) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    try:
        read(texts)
    except ConclaveError as error:
        pipe.send(error)
    else:
        pipe.send(None)


def _read(texts: Texts) -> None:
    Shipped.load().with_site(texts)
