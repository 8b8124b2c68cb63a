"""What is told of a device before anything on it is lost, and who may put devices there."""

from pathlib import Path

import pytest

from appliance.hotplug import Hotplug
from appliance.settings import Settings
from appliance.storage.file_systems import HEAD_BYTES, content_of
from appliance.storage.mounts import check_own
from kms.errors import ConfigurationError


def head(place: int, magic: bytes) -> bytes:
    return (bytes(place) + magic).ljust(HEAD_BYTES, b"\0")


@pytest.mark.parametrize(
    ("begin", "content"),
    [
        (head(0, b"LUKS\xba\xbe"), "crypto_LUKS"),
        (head(1080, b"\x53\xef"), "ext4"),
        (head(512, b"EFI PART"), "gpt"),
        (head(4096, b"EFI PART"), "gpt"),
        (head(510, b"\x55\xaa"), "dos"),
        (head(0, b""), ""),
        (b"", ""),
    ],
)
def test_partition_tables_are_content_as_file_systems_are(begin: bytes, content: str) -> None:
    assert content_of(begin) == content


def settings(images: Path) -> Settings:
    return Settings(site="s", site_root=Path("/root.pem"), udev=False, image_directory=images)


def test_images_lie_where_nobody_else_puts_any(tmp_path: Path) -> None:
    """Programs are given their paths: a link put there in between would be followed by them."""
    check_own(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for folder in (link, tmp_path / "none"):
        with pytest.raises(ConfigurationError, match="no folder"):
            check_own(folder)
    images = tmp_path / "images"
    images.mkdir()
    for mode in (0o777, 0o775, 0o1777):
        images.chmod(mode)
        with pytest.raises(ConfigurationError) as refused:
            Hotplug(settings(images)).start(lambda _change: None)
        assert "0755" in refused.value.hint
    images.chmod(0o755)
    hotplug = Hotplug(settings(images))
    hotplug.start(lambda _change: None)
    hotplug.stop()
