"""Keeps what a process holds in memory to itself: no core files, no tracing, no swap."""

import ctypes
import os
import resource
from pathlib import Path

_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4
_MCL_CURRENT, _MCL_FUTURE = 1, 2
_TMPFS, _RAMFS = 0x01021994, 0x858458F6
"""File systems that lie in memory (statfs(2))."""
_STATFS_BYTES = 256
SWAPS = Path("/proc/swaps")


def harden(*, lock_memory: bool = True) -> bool:
    """Forbid core files and tracing by the same user (prctl(2)), and where allowed swapping.

    Return whether all memory of the process is locked, now and later. Raise OSError if tracing
    cannot be forbidden.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE) failed")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not lock_memory:
        return False
    # Under a finite limit a lock on future pages would make later allocations fail.
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    later = _MCL_FUTURE if soft == resource.RLIM_INFINITY else 0
    locked = libc.mlockall(_MCL_CURRENT | later) == 0
    return locked and later != 0


def leaves_core() -> bool:
    """Whether a crash of this process could leave its memory behind. The limit alone does not
    stop a kernel that pipes core files to a program; not being dumpable does.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_CORE)
    return limit != 0 or ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) != 0


def swap_areas(table: Path = SWAPS) -> tuple[str, ...]:
    """Return the swap areas in use."""
    try:
        lines = table.read_text().splitlines()[1:]
    except FileNotFoundError:  # a kernel without swap
        return ()
    return tuple(line.split()[0] for line in lines if line.strip())


def lies_in_memory(path: Path) -> bool:
    """Whether a path is on a file system that is in memory alone; raise OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    said = (ctypes.c_long * (_STATFS_BYTES // ctypes.sizeof(ctypes.c_long)))()
    if libc.statfs(os.fsencode(path), said):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    return said[0] in (_TMPFS, _RAMFS)
