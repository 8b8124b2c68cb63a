"""Devices and mounts on real loop devices and image files; what names and places may not do."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.run import ProgramFailed, Programs
from appliance.storage.device import (
    DeviceChanged,
    DeviceRef,
    image_device,
    pin,
    udev_device,
)
from appliance.storage.file_systems import FileSystems
from appliance.storage.header import header_of, read_region
from appliance.storage.luks import Luks
from appliance.storage.mounts import DiskBusy, Mounts, holders, mounted_numbers
from kms.errors import ConfigurationError, InvalidInput
from tests.fixtures.disks import DiskError
from tests.fixtures.luks import MIB, identifiers, image, image_disk, need

HOSTILE = ["$(touch x)", "; reboot", "a\nb", "-rf", "--help", "..", "a b", "名", "`id`", "%s%n"]


def attach(path: Path) -> Path:
    """Attach a loop device; skip the test where that cannot be, unless CI is set."""
    command = ["losetup", "--find", "--show", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"no loop device can be attached: {done.stderr.strip()}"
        if os.environ.get("CI"):
            raise DiskError(reason)
        pytest.skip(reason)
    return Path(done.stdout.strip())


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Path]:
    need("losetup")
    node = attach(image(tmp_path / "loop.img", 32))
    yield node
    subprocess.run(["losetup", "-d", str(node)], check=False)


def found(node: Path, **properties: str) -> DeviceRef:
    said = {"DEVNAME": str(node), "ID_SERIAL": "QEMU_A1", "ID_FS_TYPE": "ext4"} | properties
    return udev_device(said, Path("/sys/block") / node.name)


def test_a_block_device_is_what_the_kernel_says(loop: Path) -> None:
    ref = found(loop, ID_MODEL="Disk\x1b[31m\n", ID_SERIAL_SHORT="A1")
    assert (ref.serial, ref.node, ref.size, ref.content) == ("A1", loop, 32 * MIB, "ext4")
    assert ref.model == "Disk?[31m?"
    assert ref.named
    with pin(ref) as pinned:
        pinned.check()
        assert pinned.is_block
        assert len(read_region(pinned.descriptor)) == 4 * MIB


def test_another_device_at_the_same_node_is_noticed(loop: Path, tmp_path: Path) -> None:
    ref = found(loop)
    subprocess.run(["losetup", "-d", str(loop)], check=True)
    other = image(tmp_path / "other.img", 32)
    done = subprocess.run(["losetup", str(loop), str(other)], check=False)
    if done.returncode:
        pytest.skip("another process took the loop device meanwhile")
    with pytest.raises(DeviceChanged), pin(ref):
        pass


def test_another_size_is_noticed(loop: Path, tmp_path: Path) -> None:
    ref = found(loop)
    with pin(ref) as pinned:
        os.truncate(tmp_path / "loop.img", 48 * MIB)
        subprocess.run(["losetup", "-c", str(loop)], check=True)
        with pytest.raises(DeviceChanged):
            pinned.check()


@pytest.mark.parametrize(
    "node", ["/dev/../etc/passwd", "/etc/passwd", "/dev/a;b", "-x", "", "/dev/a/b"]
)
def test_a_node_is_one_below_dev(node: str) -> None:
    with pytest.raises(InvalidInput):
        udev_device({"DEVNAME": node}, Path("/sys/block/sda"))


def test_a_device_is_not_taken_for_another(loop: Path) -> None:
    with pytest.raises(DeviceChanged):
        udev_device({"DEVNAME": str(loop)}, Path("/sys/block/sda"))
    with pytest.raises(DeviceChanged):
        udev_device({"DEVNAME": "/dev/null"}, Path("/sys/block/null"))


def test_a_device_is_made_out_without_being_opened(
    loop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open(2) of a device that does not answer waits, and with it whoever hears udev's events."""
    with monkeypatch.context() as closed:
        closed.setattr("appliance.storage.device.os.open", None)
        ref = found(loop)
    with pin(ref) as pinned:
        pinned.check()
    with pytest.raises(DeviceChanged):
        found(loop, DEVNAME="/dev/null")


@pytest.mark.parametrize("raw", ["", *HOSTILE])
def test_what_is_no_serial_number_gets_a_name_that_is_harmless(loop: Path, raw: str) -> None:
    ref = found(loop, ID_SERIAL="", ID_SERIAL_SHORT=raw, ID_FS_TYPE=raw)
    assert ref.serial.startswith("unnamed-")
    assert len(ref.serial) == 24
    assert not ref.named
    assert ref.content in {"", "unknown", "-rf", "--help", ".."}


def test_no_device_can_claim_to_be_an_unnamed_one(loop: Path) -> None:
    claimed = found(loop, ID_SERIAL="unnamed-0123456789abcdef")
    assert claimed.serial != "unnamed-0123456789abcdef"
    assert not claimed.named


# --- image files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_image_files_are_inert(tmp_path: Path, name: str) -> None:
    """Everything that is done with a disk is done with the file of that name, and nothing else."""
    folder = tmp_path / "images"
    folder.mkdir()
    disk = image_disk(folder, name=name)
    ref = image_device(disk.path)
    assert not ref.named
    with pin(ref) as pinned:
        assert disk.luks.opens(pinned.path, disk.key) == 0
        disk.luks.reencrypt(pinned.path, disk.keys, lambda _: None)
        disk.luks.set_token(pinned.path, identifiers())
        assert header_of(pinned.path).slots
        disk.luks.erase(pinned.path)
    assert list(folder.iterdir()) == [disk.path]
    assert [one for one in tmp_path.iterdir() if one != folder] == []


def test_an_image_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    path = image(tmp_path / "A1.img", 16)
    ref = image_device(path)
    assert (ref.serial, ref.named, ref.size) == ("A1", True, 16 * MIB)
    with pin(ref) as pinned:
        pinned.check()
        path.rename(tmp_path / "away.img")
        with pytest.raises(DeviceChanged, match="gone"):
            pinned.check()
        image(path, 16)
        with pytest.raises(DeviceChanged, match="another"):
            pinned.check()
    with pytest.raises(DeviceChanged), pin(ref):
        pass


def test_a_link_or_a_folder_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "link.img").symlink_to(image(tmp_path / "real.img", 16))
    (tmp_path / "folder.img").mkdir()
    os.mkfifo(tmp_path / "pipe.img")
    for name in ("link.img", "folder.img", "pipe.img", "none.img"):
        with pytest.raises(DeviceChanged):
            image_device(tmp_path / name)
    ref = image_device(tmp_path / "real.img")
    (tmp_path / "real.img").rename(tmp_path / "moved.img")
    (tmp_path / "real.img").symlink_to(tmp_path / "moved.img")
    with pytest.raises(DeviceChanged), pin(ref):
        pass


def test_a_disk_on_a_loop_device_is_one_as_on_a_file(loop: Path) -> None:
    """cryptsetup itself looks whether a block device is open somewhere."""
    need("cryptsetup")
    luks, (key, recovery) = Luks(Programs()), (b"a" * 86, b"b" * 86)
    luks.format(loop, identifiers()["disk"], key)
    luks.add_slot(loop, key, recovery)
    luks.reencrypt(loop, [key, recovery], lambda _: None)
    assert luks.opens(loop, recovery) is not None
    luks.erase(loop)


# --- mounts --------------------------------------------------------------------------------------


@pytest.fixture
def mapper(loop: Path, tmp_path: Path) -> Path:
    """A folder that has a loop device with a file system where an open disk would be."""
    need("mke2fs", "mount", "umount")
    FileSystems(Programs()).make(loop)
    (tmp_path / "mapper").mkdir()
    (tmp_path / "mapper" / "conclave-x").symlink_to(loop)
    return tmp_path / "mapper"


@pytest.fixture
def mounts(mapper: Path, tmp_path: Path) -> Iterator[Mounts]:
    (tmp_path / "root").mkdir(mode=0o755)
    made = Mounts(Programs(), tmp_path / "root", mapper)
    yield made
    for one in made.of("conclave-x"):
        subprocess.run(["umount", "-l", str(one.point)], check=False)


def mounted(mounts: Mounts, name: str = "minutes", *, read_only: bool = False) -> Path:
    try:
        return mounts.mount("conclave-x", name, read_only=read_only)
    except ProgramFailed as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no file system can be mounted here: {error.message}")


@pytest.mark.parametrize("read_only", [False, True])
def test_a_disk_is_mounted_without_devices_set_uid_and_programs(
    mounts: Mounts, loop: Path, read_only: bool
) -> None:
    point = mounted(mounts, read_only=read_only)
    there = mounts.at(point)
    assert there is not None
    assert {"nosuid", "nodev", "noexec", "ro" if read_only else "rw"} <= there.options
    assert mounted(mounts) == point, "a second time changes nothing"
    assert len(mounts.of("conclave-x")) == 1
    device = loop.stat().st_rdev
    assert f"{os.major(device)}:{os.minor(device)}" in mounted_numbers()
    mounts.unmount("conclave-x")
    assert mounts.of("conclave-x") == ()
    mounts.unmount("conclave-x")


def test_a_process_with_a_name_that_is_no_text_is_named_all_the_same(tmp_path: Path) -> None:
    name = r"open('/proc/self/comm','wb').write(b'\xff\x1b[2J')"
    told = f"{name}; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", told], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert holders(tmp_path) == (f"\N{REPLACEMENT CHARACTER}?[2J ({process.pid})",)
        process.communicate(b"\n")


def test_a_disk_in_use_says_who_uses_it_and_is_detached_at_once(mounts: Mounts) -> None:
    point = mounted(mounts)
    with (point / "file").open("w") as file:
        with pytest.raises(DiskBusy, match=f"\\({os.getpid()}\\)"):
            mounts.unmount("conclave-x")
        assert any(str(os.getpid()) in one for one in holders(point))
        mounts.detach("conclave-x")
        assert mounts.at(point) is None
        file.write("still open")
    assert holders(point) == ()


def test_another_disk_at_the_same_place_is_refused(mounts: Mounts, tmp_path: Path) -> None:
    mounted(mounts)
    (tmp_path / "mapper" / "conclave-y").symlink_to("/dev/null")
    with pytest.raises(DiskBusy, match="another disk"):
        mounts.mount("conclave-y", "minutes")


@pytest.mark.parametrize("name", [*HOSTILE, "../x", "/etc", ".", "", "a/b", "A"])
def test_a_mount_point_is_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        Mounts(Programs(), tmp_path).mount("conclave-x", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["missing", "link", "writable", "linked point", "file as point"])
def test_mounts_lie_below_a_folder_that_is_ours_alone(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    if kind == "link":
        (tmp_path / "real").mkdir()
        root.symlink_to(tmp_path / "real")
    elif kind != "missing":
        root.mkdir(mode=0o755)
    if kind == "writable":
        root.chmod(0o777)
    if kind == "linked point":
        (root / "minutes").symlink_to("/etc")
    if kind == "file as point":
        (root / "minutes").touch()
    with pytest.raises(ConfigurationError):
        Mounts(Programs(), root).mount("conclave-x", "minutes")


def test_a_partition_table_is_content_too(loop: Path) -> None:
    assert found(loop, ID_FS_TYPE="", ID_PART_TABLE_TYPE="gpt").content == "gpt"
    assert found(loop, ID_PART_TABLE_TYPE="dos").content == "ext4"
