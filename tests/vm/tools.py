"""Which programs of the host the virtual machine takes, and what happens where one is missing.

Where CI is set a missing program is an error; elsewhere the test is skipped with the reason.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache" / "vm"
"""Kernels and images, kept between runs; git ignores it."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "cryptsetup": "cryptsetup-bin",
    "mke2fs": "e2fsprogs",
    "dmsetup": "dmsetup",
    "udevadm": "udev",
    "busybox": "busybox-static",
    "dash": "dash",
    "socat": "socat",
    "cpio": "cpio",
    "modprobe": "kmod",
    "depmod": "kmod",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
}


class MachineError(RuntimeError):
    """The virtual machine cannot be made or did not do what it was told; the message says why."""


@cache
def find(name: str) -> Path:
    """Return a program's path; raise MachineError naming the package that brings it."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        package = _PACKAGES.get(name, name)
        raise MachineError(f"{name} is missing: sudo apt-get install {package}")
    return Path(found)


def run(name: str, *words: str | Path, data: bytes | None = None, cwd: Path | None = None) -> bytes:
    """Run a program of the host and return what it says; raise MachineError if it fails."""
    command = [find(name), *words]
    done = subprocess.run(command, input=data, capture_output=True, cwd=cwd, check=False)
    if done.returncode:
        raise MachineError(f"{name} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


@contextmanager
def cache_alone() -> Iterator[Path]:
    """Have the cache for oneself meanwhile: tests run in several processes."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield CACHE


def require(names: Sequence[str] = tuple(_PACKAGES)) -> None:
    """Skip the test if a program is missing; raise MachineError where CI is set."""
    try:
        for name in names:
            find(name)
    except MachineError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
