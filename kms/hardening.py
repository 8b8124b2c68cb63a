"""Keeps what a process holds in memory to itself: no core files, no tracing, no swap."""

import ctypes
import resource

_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE = 1, 2


def harden(*, lock_memory: bool = True) -> None:
    """Forbid core files and tracing by the same user (prctl(2)), and where allowed swapping.

    Raise OSError if tracing cannot be forbidden.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE) failed")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if lock_memory:
        # Under a finite limit a lock on future pages would make later allocations fail.
        soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        later = _MCL_FUTURE if soft == resource.RLIM_INFINITY else 0
        libc.mlockall(_MCL_CURRENT | later)
