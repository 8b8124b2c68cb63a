"""Where disks stand: a practice site, the real daemon, and people who enrol and order.

The daemon runs in a virtual machine with disks that are plugged in and out, or, where no
device-mapper is needed, on the host with image files.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from uuid_utils import uuid7

from appliance.link import Held, Link
from appliance.seen import Seen
from kms.domain.disks import ENDED, DiskState, OrderKind, OrderState
from kms.practice.files import write_new
from kms.statements.canonical import b64u, unb64u
from kms.wire.approvals import RequestOut
from kms.wire.disks import DeviceOut, OrderOut
from tests.practice.approving import carry_out
from tests.practice.service import Service
from tests.vm.machine import Machine
from tests.vm.tools import run
from tests.vm.write_cache import WriteCache

SPACE = "treasury"
MOUNTS = "/srv/conclave"
_SECONDS = 120.0
_STEP = 0.1


@dataclass
class Bay:
    """A practice site with an appliance; every disk of it belongs to one space."""

    service: Service
    folder: Path
    serials: dict[str, str] = field(default_factory=dict)
    """Disk ids by serial number."""

    # --- what people do --------------------------------------------------------------------------

    def enrol(self, serial: str, *, preparation: str = "format", automatic: bool = True) -> str:
        """Have a device that was seen enrolled, by as many people as it takes; return its id."""
        disk = str(uuid7())
        name = serial.lower()
        mount = {"name": name, "automatic": automatic, "read_only": False}
        wish = {
            "disk": disk,
            "serial": serial,
            "size": self.device(serial).size,
            "preparation": preparation,
            "label": name,
            "mount": mount,
            "replaces": "",
            "overwrite": False,
        }
        carry_out(self.service, "disk.enroll", SPACE, wish)
        self.serials[serial] = disk
        return disk

    def erase(self, serial: str, *, absent: bool = False) -> RequestOut:
        """Have a disk erased by as many people as it takes."""
        target = {"disk": self.serials[serial], "absent": absent}
        return carry_out(self.service, "disk.erase", SPACE, target)

    def order(self, kind: OrderKind, serial: str, **more: object) -> OrderOut:
        """Order something of the appliance."""
        with self.service.console() as client:
            return client.place_order(kind, serial, **more)

    def obey(self, kind: OrderKind, serial: str, **more: object) -> OrderOut:
        """Order something and wait until it is done; raise AssertionError if it fails."""
        return self.await_order(self.order(kind, serial, **more).order)

    # --- what is seen of it ----------------------------------------------------------------------

    def device(self, serial: str) -> DeviceOut:
        """Return a device as it was last reported; raise KeyError before it was seen."""
        with self.service.console() as client:
            found = {one.serial: one for one in client.disks().devices}
        return found[serial]

    def await_state(self, serial: str, *wanted: DiskState, seconds: float = _SECONDS) -> DeviceOut:
        """Wait until a device is in one of some states; raise AssertionError."""
        end, last = time.monotonic() + seconds, "never seen"
        while time.monotonic() < end:
            try:
                found = self.device(serial)
            except KeyError:
                pass
            else:
                if found.state in wanted:
                    return found
                last = f"{found.state} {found.code} {found.reason}"
            time.sleep(_STEP)
        raise AssertionError(f"{serial} is not {'/'.join(wanted)} but {last}")

    def orders(self, serial: str) -> list[OrderOut]:
        """Return the orders about a device's disk, newest first."""
        with self.service.console() as client:
            pages = client.order_pages(self.serials[serial])
            return [one for page in pages for one in page.items]

    def await_order(self, order: str, seconds: float = _SECONDS) -> OrderOut:
        """Wait for the end of an order; raise AssertionError unless it was done."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self.service.console() as client:
                found = client.order(order)
            if found.state in ENDED:
                assert found.state is OrderState.DONE, f"{found.kind}: {found.code} {found.message}"
                return found
            time.sleep(_STEP)
        raise AssertionError(f"the order {found.kind} is still {found.state} ({found.progress} %)")

    def held(self, serial: str) -> Held:
        """Return a disk and its keys, as the appliance gets them."""
        site = self.service.site
        private = X25519PrivateKey.from_private_bytes(unb64u(site.appliance_key.read_text("ascii")))
        root = serialization.load_pem_public_key(site.site_root.read_bytes())
        seen = Seen(site.site_root.with_name("seen-by-bays"))
        link = Link(self.service.console, private, site.site_id, root, seen)
        return link.held(self.serials[serial])


def passphrase(key: bytes) -> bytes:
    """Return a key as cryptsetup gets it."""
    return b64u(key).encode()


def blank(folder: Path, serial: str, megabytes: int) -> Path:
    """Return the image of an empty disk."""
    image = folder / f"{serial}.img"
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    return image


def appliance_config(site_id: str, **values: object) -> str:
    """Return a configuration file of the daemon (values of TOML are those of JSON here)."""
    told = {"site": site_id, "log_format": "text", **values}
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in told.items())


# --- in a virtual machine ------------------------------------------------------------------------


@dataclass
class MachineBay(Bay):
    """A bay whose daemon runs in a virtual machine."""

    machine: Machine | None = None

    @classmethod
    def make(cls, service: Service, folder: Path) -> "MachineBay":
        """Make the machine's own disk, with the appliance's key; it is not switched on yet."""
        tree = folder / "state"
        tree.mkdir()
        key = tree / "key"
        key.write_bytes(service.site.appliance_key.read_bytes())
        key.chmod(0o600)
        image = blank(folder, "conclave-state", 32)
        run("mke2fs", "-q", "-t", "ext4", "-d", tree, image)
        api = service.settings.paths.api_socket
        return cls(service, folder, machine=Machine(folder, WriteCache(image), api))

    def boot(self) -> None:
        """Switch the machine on and start the daemon."""
        self.machine.boot()
        root = self.service.site.site_root.read_text()
        config = appliance_config(
            self.service.site.site_id, site_root="/etc/conclave/site-root.pem"
        )
        self.machine.run(f"cat >/etc/conclave/site-root.pem <<'END'\n{root}\nEND")
        self.machine.run(f"cat >/etc/conclave/appliance.toml <<'END'\n{config}\nEND")
        self.start_daemon()

    def start_daemon(self) -> None:
        """Start the daemon; what it says stands in the machine's console."""
        self.machine.run(
            "export PYTHONPATH=/opt/conclave:/opt/conclave/packages; cd /; "
            "setsid python3 -m appliance.main run --config /etc/conclave/appliance.toml"
            " </dev/null >/dev/console 2>&1 & echo $! >/run/daemon.pid"
        )

    def kill_daemon(self) -> None:
        """Kill the daemon; the machine goes on."""
        self.machine.run("kill -9 $(cat /run/daemon.pid)")

    def plug(self, serial: str, image: Path | WriteCache) -> None:
        """Plug a disk in."""
        self.machine.plug(serial, image)

    def mounted(self, serial: str) -> Path:
        """Return where the guest has a disk, once the guest says so too: what kms was told before a
        power cut it knows until the daemon tells it something else.
        """
        place = Path(self.await_state(serial, DiskState.MOUNTED).mounted)
        self.machine.run(f"until grep -q ' {place} ' /proc/mounts; do sleep 0.1; done")
        return place


@contextmanager
def machine_bay(service: Service, folder: Path) -> Iterator[MachineBay]:
    """Have a running machine meanwhile; what it said is in the folder's ``console.log``."""
    bay = MachineBay.make(service, folder)
    try:
        bay.boot()
        yield bay
    finally:
        bay.machine.close()


# --- on the host, with image files ---------------------------------------------------------------


@dataclass
class HostBay(Bay):
    """A bay whose daemon runs on the host; disks are image files in ``images``."""

    memory: Path = Path("/nowhere")
    """A folder that lies in memory."""
    process: subprocess.Popen[bytes] | None = None

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def log(self) -> Path:
        return self.folder / "appliance.log"

    def start(self) -> None:
        """Start the daemon."""
        config = self.folder / "appliance.toml"
        config.write_text(
            appliance_config(
                self.service.site.site_id,
                site_root=str(self.service.site.site_root),
                api_socket=str(self.service.settings.paths.api_socket),
                state=str(self.folder / "state"),
                run=str(self.memory),
                mount_root=str(self.folder / "mounts"),
                udev=False,
                image_directory=str(self.images),
            )
        )
        command = [sys.executable, "-m", "appliance.main", "run", "--config", str(config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def peak_kilobytes(self) -> int:
        """Return the most memory that the daemon has had resident."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    def stop(self) -> None:
        """End the daemon as systemd would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            finally:
                self.process.kill()
                self.process.wait()
                self.process = None


@contextmanager
def host_bay(service: Service, folder: Path) -> Iterator[HostBay]:
    """Have folders for a daemon on the host meanwhile; it is started by ``start``."""
    with tempfile.TemporaryDirectory(prefix="conclave-", dir="/dev/shm") as memory:
        bay = HostBay(service, folder, memory=Path(memory))
        for name in ("images", "state", "mounts"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        if not (key := folder / "state" / "key").exists():
            write_new(key, service.site.appliance_key.read_bytes())
        try:
            yield bay
        finally:
            bay.stop()
