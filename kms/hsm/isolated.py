"""Runs a function in a fresh process: PKCS#11 modules do not survive fork or reinitialisation.

Arguments, so PINs, reach the child through a pipe, never through its command line or environment.
"""

import multiprocessing
import os
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any, ParamSpec, TypeVar

from kms.errors import ConclaveError, HsmUnavailable

_P = ParamSpec("_P")
_R = TypeVar("_R")


def run_isolated(
    environment: Mapping[str, str],
    function: Callable[_P, _R],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _R:
    """Return what the function returns there; raise its ConclaveError, or HsmUnavailable.

    ``function`` and its arguments are picklable; the module's ``environment`` is set before. The
    child imports the caller's main module, which so has to be guarded by its name.
    """
    return run_in(multiprocessing.get_context("spawn"), environment, function, *args, **kwargs)


def run_in(
    context: SpawnContext | ForkServerContext,
    environment: Mapping[str, str],
    function: Callable[_P, _R],
    *args: _P.args,
    **kwargs: _P.kwargs,
) -> _R:
    """Do the same in a process that a context starts; none of its processes may have loaded a
    PKCS#11 module before.
    """
    ours, theirs = context.Pipe()
    child = context.Process(target=_main, args=(theirs, dict(environment)))
    child.start()
    theirs.close()
    try:
        ours.send((function, args, kwargs))
        outcome = ours.recv()
    except (EOFError, OSError) as error:
        raise HsmUnavailable("the process that held the PKCS#11 module died") from error
    finally:
        ours.close()
        child.join()
    if isinstance(outcome, ConclaveError):
        raise outcome
    result: _R = outcome[0]
    return result


def _main(pipe: Connection, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    function, args, kwargs = pipe.recv()
    outcome: Any
    try:
        outcome = (function(*args, **kwargs),)
    except ConclaveError as error:
        outcome = error
    pipe.send(outcome)
