"""Which devices the appliance follows: recorded udev events, and a folder of images."""

import time
from pathlib import Path

import pytest

from appliance import hotplug
from appliance.hotplug import Appeared, Change, Hotplug, Vanished, change_of
from appliance.settings import Settings
from appliance.storage.device import DeviceRef
from tests.fixtures.appliance import device_ref

USB = {
    "DEVPATH": "/devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/6:0:0:0/block/sdb",
    "DEVNAME": "/dev/sdb",
    "DEVTYPE": "disk",
    "SUBSYSTEM": "block",
    "MAJOR": "8",
    "MINOR": "16",
    "DISKSEQ": "12",
    "ID_BUS": "usb",
    "ID_MODEL": "Ultra_Fit",
    "ID_SERIAL": "SanDisk_Ultra_Fit_4C530001-0:0",
    "ID_SERIAL_SHORT": "4C530001",
    "ID_FS_TYPE": "crypto_LUKS",
    "ID_FS_UUID": "01978f4e-5e3a-7000-8000-000000000001",
}


@pytest.fixture
def sys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sysfs with a medium in every device; what a device is made of is another test's."""
    monkeypatch.setattr(hotplug, "udev_device", lambda _properties, _place: device_ref())
    return tmp_path


def event(sys: Path, action: str | None, sectors: int = 1000, **changes: str) -> Change | None:
    properties = USB | changes
    place = sys / properties["DEVPATH"].lstrip("/")
    place.mkdir(parents=True, exist_ok=True)
    (place / "size").write_text(f"{sectors}\n")
    return change_of(action, properties, sys)


def at(sys: Path, properties: dict[str, str]) -> str:
    return str(sys / properties["DEVPATH"].lstrip("/"))


@pytest.mark.parametrize("action", [None, "add", "change", "bind"])
def test_a_disk_appears(sys: Path, action: str | None) -> None:
    assert event(sys, action) == Appeared(at(sys, USB), device_ref())


def test_a_disk_vanishes(sys: Path) -> None:
    assert event(sys, "remove") == Vanished(at(sys, USB))


@pytest.mark.parametrize(
    "name", ["dm-0", "md127", "ram3", "zram0", "sr0", "fd0", "nbd1", "mtdblock0", "bcache0"]
)
def test_what_is_no_disk_of_its_own_is_passed_over(sys: Path, name: str) -> None:
    assert event(sys, "add", DEVPATH=f"/devices/virtual/block/{name}") is None


def test_partitions_and_other_subsystems_are_passed_over(sys: Path) -> None:
    assert event(sys, "add", DEVTYPE="partition") is None
    assert event(sys, "add", SUBSYSTEM="usb") is None


def test_a_reader_without_a_medium_is_passed_over_until_there_is_one(sys: Path) -> None:
    assert event(sys, "add", sectors=0) is None
    assert event(sys, "change", sectors=8) == Appeared(at(sys, USB), device_ref())
    assert event(sys, "change", sectors=0) == Vanished(at(sys, USB))


def test_a_disk_that_is_gone_again_is_passed_over() -> None:
    assert change_of("add", USB, Path("/nonexistent")) is None


# --- images ---------------------------------------------------------------------------------------


class Images:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[Change] = []
        self._images = hotplug._Images(folder)

    def look(self) -> list[Change]:
        self.told = []
        self._images.look(self.told.append)
        return self.told


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path)


def image(folder: Path, name: str, head: bytes = b"") -> Path:
    path = folder / name
    path.write_bytes(head.ljust(4096, b"\0"))
    return path


def appeared(changes: list[Change]) -> list[DeviceRef]:
    return [one.ref for one in changes if isinstance(one, Appeared)]


def test_images_are_devices_named_by_their_files(images: Images) -> None:
    image(images.folder, "DISK-1.img", b"LUKS\xba\xbe")
    image(images.folder, "DISK-2.img", bytes(1080) + b"\x53\xef")
    image(images.folder, "notes.txt")
    refs = appeared(images.look())
    assert [(one.serial, one.content) for one in refs] == [
        ("DISK-1", "crypto_LUKS"),
        ("DISK-2", "ext4"),
    ]
    assert images.look() == []


@pytest.mark.parametrize("name", ["-x.img", "a b.img", "a\nb.img", "..img.img", "$(x).img"])
def test_an_image_whose_name_is_no_serial_number_has_none(images: Images, name: str) -> None:
    image(images.folder, name)
    [ref] = appeared(images.look())
    assert not ref.named


def test_an_image_comes_goes_and_is_replaced(images: Images) -> None:
    path = image(images.folder, "DISK-1.img")
    images.look()
    other = image(images.folder, "new")
    other.rename(path)
    place = str(path)
    assert [type(one) for one in images.look()] == [Vanished, Appeared]
    path.unlink()
    assert images.look() == [Vanished(place)]


def test_a_link_is_no_image(images: Images, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = image(tmp_path_factory.mktemp("elsewhere"), "x.img")
    (images.folder / "DISK-1.img").symlink_to(target)
    assert images.look() == []


def test_all_that_is_there_is_told_before_the_start_returns(tmp_path: Path) -> None:
    image(tmp_path, "DISK-1.img")
    told: list[Change] = []
    settings = Settings(site="s", site_root=Path("/r"), udev=False, image_directory=tmp_path)
    follow = Hotplug(settings)
    follow.start(told.append)
    follow.stop()
    assert [ref.serial for ref in appeared(told)] == ["DISK-1"]


# --- faults ---------------------------------------------------------------------------------------


def test_devices_are_followed_on_whatever_goes_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hotplug, "_LOOK_SECONDS", 0.01)
    follow, asked = Hotplug(Settings(site="s", site_root=Path("/r"))), []

    def fail() -> None:
        asked.append(1)
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "what udev says")

    follow._thread("udev", lambda: follow._again(fail, pause=0.0))
    end = time.monotonic() + 5
    while len(asked) < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert follow.alive()
    follow.stop()
    follow._threads[0].join(5)
    assert not follow.alive()


def test_a_device_that_cannot_be_read_hides_no_other() -> None:
    class Unreadable:
        @property
        def properties(self) -> dict[str, str]:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a property")

    told: list[Change] = []
    hotplug._tell_of(Unreadable(), "add", told.append)
    assert told == []
