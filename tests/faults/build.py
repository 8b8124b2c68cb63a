"""Compiles the small C helpers of the tests on demand, each once per version of its source.

Without a compiler or the PKCS#11 header a test is skipped with a reason; where CI is set, or
outside tests, that is an error.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.faults import generate

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "faults"
HERE = Path(__file__).parent

_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", f"-I{generate.INCLUDE}")
_PACKAGES = "sudo apt-get install gcc libc6-dev libp11-kit-dev"


class BuildError(RuntimeError):
    """A helper cannot be compiled here; the message says what is missing or what gcc said."""


def shim(name: str) -> Path:
    """Return the shared object of ``tests/faults/<name>.c``; skip the test if it cannot be built
    here, unless CI is set."""
    try:
        return library(HERE / f"{name}.c")
    except BuildError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def library(source: Path) -> Path:
    """Return the shared object of a C source, built if need be; raise BuildError."""
    return _compiled(source, ".so", ("-shared", "-fPIC"))


def program(source: Path) -> Path:
    """Return the executable of a C source, built if need be; raise BuildError."""
    return _compiled(source, "", ())


def preload(*libraries: Path) -> dict[str, str]:
    """Return the environment that loads shared objects into a process before all others."""
    return {"LD_PRELOAD": ":".join(str(path) for path in libraries)}


def _compiled(source: Path, suffix: str, flags: tuple[str, ...]) -> Path:
    wrappers = _wrappers()
    digest = hashlib.sha256(
        source.read_bytes() + wrappers.encode() + repr((_FLAGS, flags)).encode()
    )
    target = CACHE / f"{source.stem}-{digest.hexdigest()[:16]}{suffix}"
    if not target.exists():
        _compile(source, target, flags, wrappers)
    return target


def _wrappers() -> str:
    if not generate.HEADER.exists():
        raise BuildError(f"{generate.HEADER} is missing: {_PACKAGES}")
    return generate.wrappers(generate.HEADER.read_text())


def _compile(source: Path, target: Path, flags: tuple[str, ...], wrappers: str) -> None:
    """Compile beside the target and rename, so that parallel builders never see half a file."""
    gcc = shutil.which("gcc")
    if gcc is None:
        raise BuildError(f"gcc is missing: {_PACKAGES}")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        Path(scratch, "wrappers.inc").write_text(wrappers)
        output = Path(scratch, "output")
        command = [
            gcc,
            *_FLAGS,
            *flags,
            f"-I{scratch}",
            "-o",
            str(output),
            str(source),
            "-ldl",
            "-lm",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BuildError(f"gcc refused {source.name}:\n{done.stderr}")
        output.replace(target)
