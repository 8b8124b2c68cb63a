"""A virtual machine on QEMU's own processor: disks are plugged in, pulled out, its power is cut.

Always QEMU's emulation, never KVM: it runs wherever the tests run.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.vm.guest import Guest, Output
from tests.vm.kernel import initramfs, kernel
from tests.vm.qmp import Qmp
from tests.vm.rootfs import rootfs
from tests.vm.tools import MachineError, find
from tests.vm.write_cache import WriteCache

_BOOT_SECONDS = 120.0
_EVENT_SECONDS = 30.0
_ADDRESS = "tcp:10.0.2.100:80"
"""Where the guest finds the service on the host; its network leads nowhere else."""


class Machine:
    """One machine. ``state`` is the disk that keeps the daemon's own state; ``api`` the service's
    socket on the host. Files of a run lie in ``folder``.
    """

    def __init__(self, folder: Path, state: WriteCache, api: Path) -> None:
        self.folder = folder
        self._state = state
        self._api = api
        self._sockets = Path(tempfile.mkdtemp(prefix="vm-"))  # a socket's path is short
        self._process: subprocess.Popen[bytes] | None = None
        self._nodes: dict[str, str] = {}
        self._caches: dict[str, WriteCache] = {}
        self._plugged = 0

    def boot(self) -> None:
        """Start the machine and wait until it takes commands; raise MachineError."""
        self._state.power_on()
        self._caches = {"conclave-state": self._state}
        with self.console.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.qmp = Qmp(self._sockets / "qmp")
        self.guest = Guest(self._sockets / "commands")
        self.guest.await_ready(_BOOT_SECONDS)

    @property
    def console(self) -> Path:
        """What kernel and programs of the guest say."""
        return self.folder / "console.log"

    def run(self, script: str, seconds: float = 60.0) -> str:
        """Return a script's output; raise MachineError unless it ends well."""
        done = self.guest.run(script, seconds)
        if done.code:
            raise MachineError(f"in the guest: {script}: {done.err.decode(errors='replace')}")
        return done.text

    def try_run(self, script: str, seconds: float = 60.0) -> Output:
        """Return what a script did, well or not."""
        return self.guest.run(script, seconds)

    def plug(self, serial: str, image: Path | WriteCache) -> None:
        """Plug a disk in while the machine runs; one with a write cache gets power now."""
        self._plugged += 1
        node = f"disk-{self._plugged}"
        if isinstance(image, WriteCache):
            image.power_on()
            self._caches[serial] = image
            self.qmp.command("blockdev-add", **image.node(node))
        else:
            file = {"driver": "file", "filename": str(image), "cache": {"no-flush": True}}
            self.qmp.command("blockdev-add", **{"driver": "raw", "node-name": node, "file": file})
        device = {"driver": "virtio-blk-pci", "drive": node, "id": serial, "serial": serial}
        self.qmp.command("device_add", **device)
        self._nodes[serial] = node

    def pull(self, serial: str) -> None:
        """Pull a disk out, whatever the guest does with it; what it had written, it keeps."""
        self.qmp.command("device_del", id=serial)
        self.qmp.wait("DEVICE_DELETED", _EVENT_SECONDS, device=serial)
        self.qmp.command("blockdev-del", **{"node-name": self._nodes.pop(serial)})
        self._caches.pop(serial, None)

    def cut_power(self, seed: int) -> int:
        """End the machine at once, as when its power fails; return how many bytes of what was
        not flushed its disks have lost.
        """
        self._kill()
        return sum(cache.lose_power(seed) for cache in self._caches.values())

    def close(self) -> None:
        """End the machine and forget its sockets."""
        if self._process is not None:
            self._kill()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None
        self._nodes.clear()
        for link in (getattr(self, "qmp", None), getattr(self, "guest", None)):
            if link is not None:
                link.close()
        for path in self._sockets.iterdir():
            path.unlink()

    def _command(self) -> list[str]:
        chosen, sockets = kernel(), self._sockets
        forward = f"guestfwd={_ADDRESS}-cmd:{find('socat')} - UNIX-CONNECT:{self._api}"
        return [
            str(find("qemu-system-x86_64")),
            *("-M", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"),
            *("-nodefaults", "-no-reboot", "-display", "none"),
            *("-serial", "stdio", "-qmp", f"unix:{sockets}/qmp,server=on,wait=off"),
            *("-kernel", str(chosen.image), "-initrd", str(initramfs(chosen))),
            *("-append", "console=ttyS0 quiet panic=-1"),
            *("-drive", f"if=none,id=root,file={rootfs()},format=raw,readonly=on"),
            *("-device", "virtio-blk-pci,drive=root,serial=conclave-root"),
            *("-blockdev", json.dumps(self._state.node("state"))),
            *("-device", "virtio-blk-pci,drive=state,serial=conclave-state"),
            *("-object", "rng-random,id=rng,filename=/dev/urandom"),
            *("-device", "virtio-rng-pci,rng=rng"),
            *("-netdev", f"user,id=net,restrict=on,{forward}"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
            *("-device", "virtio-serial-pci"),
            *("-chardev", f"socket,id=commands,path={sockets}/commands,server=on,wait=off"),
            *("-device", "virtserialport,chardev=commands,name=conclave.commands"),
        ]
