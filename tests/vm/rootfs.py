"""The virtual machine's root file system: what of this host runs the daemon, and nothing else.

Python and the packages that the daemon imports, cryptsetup, udevd with its rules, and the project
as it stands, each at its own path; kept in the cache by what it holds.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tests.vm.tools import cache_alone, find, run

PROJECT = Path(__file__).parents[2]
PACKAGES = "/opt/conclave/packages"
"""Where the guest finds what the daemon imports; the project itself lies beside it."""
_DAEMON = "appliance.main"
_GUEST = Path(__file__).parent / "guest" / "init"
_PROGRAMS = (
    "cryptsetup", "dmsetup", "mke2fs", "mkfs.ext4", "e2fsck", "fsck.ext4", "resize2fs", "dumpe2fs",
    "tune2fs", "blkid", "blockdev", "losetup", "mount", "umount", "cp", "sync", "prlimit",
    "udevadm", "socat", "busybox", "dash", "ldconfig",
)  # fmt: skip
_RULES = (
    "50-udev-default.rules", "55-dm.rules", "60-block.rules", "60-persistent-storage.rules",
    "60-persistent-storage-dm.rules", "95-dm-notify.rules",
)  # fmt: skip
_FOLDERS = (
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "srv",
    "root",
    "etc/conclave",
    "var/lib/conclave-appliance",
)
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
_LEFT_OUT = {
    "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages",
    "pydoc_data", "dist-packages",
}  # fmt: skip
_SPARE = 1.3
"""How much larger than its files the image is."""

Files = dict[str, Path]
"""Paths in the guest, without the leading slash, and the host's files that lie there."""


def rootfs() -> Path:
    """Return the image (ext4), made first unless the cache has one of the same content."""
    files = _files()
    with cache_alone() as cache:
        place = cache / f"root-{_digest(files)}.ext4"
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=cache) as name:
                _image(_stage(Path(name) / "tree", files), Path(name) / "image").rename(place)
            _forget_others(place)
    return place


def _files() -> Files:
    files = {**_system(), **_python(), **_packages(), **_project()}
    programs = [path for path in files.values() if os.access(path, os.X_OK) or ".so" in path.name]
    return {**files, **_libraries(programs)}


@cache
def _system() -> Files:
    """Return programs and udev's rules."""
    files = {_at(find(name)): find(name).resolve() for name in _PROGRAMS}
    for name in _RULES:
        files[f"usr/lib/udev/rules.d/{name}"] = Path("/usr/lib/udev/rules.d") / name
    files["etc/mke2fs.conf"] = Path("/etc/mke2fs.conf")
    files["usr/lib/systemd/systemd-udevd"] = find("udevadm").resolve()
    files["usr/lib/conclave-test/init"] = _GUEST
    return files


def _python() -> Files:
    """Return the interpreter and its standard library, where this one has them."""
    files = {_at(Path(sys.executable).resolve()): Path(sys.executable).resolve()}
    for kind in ("stdlib", "platstdlib"):
        files |= _tree(Path(sysconfig.get_paths()[kind]).resolve(), skip=_LEFT_OUT)
    return files


@cache
def _packages() -> Files:
    """Return every distribution that the daemon's imports come from, and what those need."""
    wanted, found = _distributions(), {}
    for name in wanted:
        for file in importlib.metadata.files(name) or ():
            source = Path(file.locate())
            if ".." not in file.parts and source.is_file():
                found[f"{PACKAGES.lstrip('/')}/{file}"] = source
    return found


def _distributions() -> set[str]:
    """Return the distributions' names, by importing the daemon in a process of its own."""
    script = f"import {_DAEMON}, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    owners = importlib.metadata.packages_distributions()
    top = {name.partition(".")[0] for name in json.loads(done.stdout)}
    waiting = [owner for name in top for owner in owners.get(name, ()) if owner != "conclave"]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found and _installed(name):
            found.add(name)
            waiting += _needs(name)
    return found - {"setuptools", "pip"}


def _needs(name: str) -> Iterator[str]:
    for line in importlib.metadata.requires(name) or ():
        if "extra ==" not in line:
            yield re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]


def _installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _project() -> Files:
    """Return the sources of the project that the daemon consists of."""
    files: Files = {}
    for package in ("appliance", "kms"):
        for path in (PROJECT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                files[f"opt/conclave/{path.relative_to(PROJECT)}"] = path
    return files


def _libraries(programs: Iterable[Path]) -> Files:
    """Return the shared libraries that programs and modules are linked to."""
    words = [str(path) for path in programs]
    done = subprocess.run(["ldd", *words], capture_output=True, text=True, check=False)
    names = set(re.findall(r"(/\S+\.so\S*) \(0x", done.stdout))
    return {_at(Path(name)): Path(name).resolve() for name in names} | _loaded_late()


def _loaded_late() -> Files:
    """Return the library that glibc opens by itself once a thread is cancelled."""
    name = "/lib/x86_64-linux-gnu/libgcc_s.so.1"
    return {_at(Path(name)): Path(name).resolve()}


def _at(path: Path) -> str:
    """Return a path's place in the guest, where /bin, /lib and so on are links into /usr."""
    name = str(path).lstrip("/")
    return f"usr/{name}" if name.partition("/")[0] in _LINKS else name


def _tree(folder: Path, skip: set[str]) -> Files:
    found: Files = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [one for one in folders if one not in skip and not one.startswith("config-")]
        for name in names:
            if ".opt-" not in name:
                found[_at(Path(place) / name)] = Path(place) / name
    return found


def _digest(files: Files) -> str:
    """Return what the image is called: SHA-256 over paths and contents, shortened."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(f"{name}\0{_content(files[name])}\n".encode())
    return total.hexdigest()[:16]


def _content(path: Path) -> str:
    """Return what stands for a file's content: size and time for the host's own, else a hash."""
    if path.is_relative_to(PROJECT) and ".venv" not in path.parts:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def _stage(tree: Path, files: Files) -> Path:
    for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", *_FOLDERS):
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name, target in _LINKS.items():
        (tree / name).symlink_to(target)
    for name, source in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, tree / name)
    _links(tree)
    (tree / "usr/lib/conclave-test/init").chmod(0o755)
    compiled = [tree / "opt/conclave"]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *compiled], check=False)
    return tree


def _links(tree: Path) -> None:
    """Link busybox's applets where no program of the host stands, and the interpreter."""
    (tree / "usr/bin/python3").symlink_to(Path(sys.executable).resolve())
    (tree / "usr/bin/sh").symlink_to("dash")  # busybox's own would prefer its own mke2fs
    for name in run("busybox", "--list").decode().split():
        if not any((tree / place / name).exists() for place in ("usr/bin", "usr/sbin")):
            (tree / "usr/bin" / name).symlink_to("busybox")
    (tree / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    run("ldconfig", "-r", tree)
    (tree / "etc/group").write_text("root:x:0:\ndisk:x:6:\n")


def _image(tree: Path, image: Path) -> Path:
    size = sum(path.lstat().st_size + 4096 for path in tree.rglob("*"))
    with image.open("wb") as file:
        file.truncate(int(size * _SPARE) // 4096 * 4096)
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, image)
    return image


def _forget_others(kept: Path) -> None:
    """Remove older images, two aside: another run may have just made one."""
    others = sorted(kept.parent.glob("root-*.ext4"), key=lambda path: path.stat().st_mtime)
    for path in others[:-3]:
        if path != kept:
            path.unlink(missing_ok=True)
