"""How the appliance hears of devices from a real udev: loop devices come and go."""

import os
import queue
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.hotplug import Appeared, Change, Hotplug, Vanished, in_use
from appliance.settings import Settings
from tests.fixtures.udev import loop, udev

_SECONDS = 10.0
_PBKDF = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")


class Ear:
    """Hears of devices until one at a node is told of."""

    def __init__(self) -> None:
        self.changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        settings = Settings(site="s", site_root=Path("/r"))
        self.follow = Hotplug(settings)
        self.follow.start(self.changes.put)

    def appeared(self, node: Path) -> Appeared:
        found = self._await(lambda one: isinstance(one, Appeared) and one.ref.node == node)
        assert isinstance(found, Appeared)
        return found

    def vanished(self, place: str) -> None:
        self._await(lambda one: one == Vanished(place))

    def _await(self, wanted) -> Change:
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            try:
                change = self.changes.get(timeout=0.5)
            except queue.Empty:
                continue
            if wanted(change):
                return change
        raise AssertionError("udev told nothing of it")


@pytest.fixture
def ear() -> Iterator[Ear]:
    with udev():
        made = Ear()
        yield made
        made.follow.stop()


def image(folder: Path, *, luks: bool) -> Path:
    path = folder / "disk.img"
    path.touch()
    os.truncate(path, 32 << 20)
    if luks:
        command = ["cryptsetup", "luksFormat", "-q", "--type", "luks2", *_PBKDF, str(path), "-"]
        subprocess.run(command, input=b"a passphrase", check=True)
    return path


@pytest.mark.parametrize(("luks", "content"), [(True, "crypto_LUKS"), (False, "")])
def test_a_device_comes_and_goes(ear: Ear, tmp_path: Path, luks: bool, content: str) -> None:
    with loop(image(tmp_path, luks=luks)) as node:
        found = ear.appeared(node)
        assert found.ref.content == content
        assert found.ref.size == 32 << 20
        assert not found.ref.named, "a loop device has no serial number"
        subprocess.run(["losetup", "--detach", str(node)], check=True)
        ear.vanished(found.place)


def test_a_device_that_is_there_already_is_told_of(tmp_path: Path) -> None:
    with udev(), loop(image(tmp_path, luks=True)) as node:
        subprocess.run(["udevadm", "settle", "--timeout=10"], check=True)
        made = Ear()
        assert made.appeared(node).ref.content == "crypto_LUKS"
        made.follow.stop()


def test_a_device_that_something_uses_is_seen_to_be_used(ear: Ear, tmp_path: Path) -> None:
    with loop(image(tmp_path, luks=False)) as node:
        ref = ear.appeared(node).ref
        assert not in_use(ref)
        held = os.open(node, os.O_RDONLY | os.O_EXCL)
        try:
            assert in_use(ref)
        finally:
            os.close(held)
        assert not in_use(ref)
