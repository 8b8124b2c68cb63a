"""Debian's cloud kernel for the virtual machine, and the initial file system that starts the root.

The package is fetched by apt, which checks its hash against the signed list, and unpacked into the
cache; nothing is installed on the host.
"""

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.vm.tools import MachineError, cache_alone, find, run

_META = "linux-image-cloud-amd64"
_MODULES = (
    "virtio_pci", "virtio_blk", "virtio_console", "virtio_net", "virtio_rng", "dm_crypt", "xts",
    "aesni_intel", "algif_skcipher", "algif_hash", "ext4",
)  # fmt: skip
_APPLETS = ("sh", "mount", "umount", "mkdir", "cat", "insmod", "switch_root", "sleep", "poweroff")
_INIT = Path(__file__).parent / "guest" / "initramfs"


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package."""

    folder: Path
    release: str

    @property
    def image(self) -> Path:
        return self.folder / "boot" / f"vmlinuz-{self.release}"

    def modules(self) -> list[Path]:
        """Return the modules that the machine loads, each after those it needs."""
        files: dict[Path, None] = {}
        for name in _MODULES:
            words = ("-d", self.folder, "-S", self.release, "--show-depends", name)
            for line in run("modprobe", *words).decode().splitlines():
                if line.startswith("insmod "):
                    files[Path(line.split()[1])] = None
        return list(files)


def kernel() -> Kernel:
    """Return the cached kernel, fetched first if there is none."""
    with cache_alone() as cache:
        place = cache / "kernel"
        if not place.is_dir():
            _fetch(place)
    images = sorted((place / "boot").glob("vmlinuz-*"))
    if not images:
        raise MachineError(f"no kernel in {place}: delete that folder and try again")
    return Kernel(place, images[-1].name.removeprefix("vmlinuz-"))


def _fetch(place: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent) as name:
        folder = Path(name)
        run("apt-get", "download", _package(), cwd=folder)
        (package,) = folder.glob("*.deb")
        unpacked = folder / "unpacked"
        run("dpkg-deb", "-x", package, unpacked)
        (release,) = (path.name for path in (unpacked / "lib" / "modules").iterdir())
        run("depmod", "-b", unpacked, release)
        unpacked.rename(place)


def _package() -> str:
    """Return the package that the meta package stands for now."""
    for line in run("apt-cache", "depends", _META).decode().splitlines():
        words = line.split()
        if words[0] == "Depends:" and words[1].startswith("linux-image-"):
            return words[1]
    raise MachineError(f"apt knows no {_META}: sudo apt-get update")


def initramfs(chosen: Kernel) -> Path:
    """Return the initial file system: busybox and modules, which mount the root and go there."""
    modules = chosen.modules()
    parts = [_INIT.read_bytes(), find("busybox").read_bytes(), *map(Path.read_bytes, modules)]
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    with cache_alone() as cache:
        place = cache / f"initramfs-{digest[:16]}.cpio"
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=cache) as name:
                made = Path(name) / "made.cpio"
                made.write_bytes(_archive(_stage(Path(name) / "tree", modules)))
                made.rename(place)
    return place


def _stage(tree: Path, modules: list[Path]) -> Path:
    for name in ("bin", "dev", "proc", "sys", "root", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy(find("busybox"), tree / "bin" / "busybox")
    for name in _APPLETS:
        (tree / "bin" / name).symlink_to("busybox")
    for number, module in enumerate(modules):
        shutil.copy(module, tree / "modules" / f"{number:02}-{module.name}")
    shutil.copy(_INIT, tree / "init")
    (tree / "init").chmod(0o755)
    return tree


def _archive(tree: Path) -> bytes:
    names = "\0".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    return run(
        "cpio", "-o", "-0", "-H", "newc", "--quiet", "-R", "0:0", data=names.encode(), cwd=tree
    )
