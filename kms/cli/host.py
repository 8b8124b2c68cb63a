"""Refuses to hold a ceremony on a host that would keep what people say: in core files, in swap,
on a disk.
"""

from pathlib import Path

from kms.errors import ConfigurationError
from kms.hardening import SWAPS, harden, leaves_core, lies_in_memory, swap_areas

OFFLINE_IMAGE = Path("/etc/conclave/ceremony-image")
"""The marker of the offline ceremony image."""


def check_host(*, accept_swap: bool, swaps: Path = SWAPS) -> None:
    """Harden this process; raise ConfigurationError if its memory could still reach a disk."""
    locked = harden()
    if leaves_core():
        raise ConfigurationError(
            "a crash of this process could leave its memory in a core file",
            hint="hold the ceremony with the offline ceremony image",
        )
    if not locked and not accept_swap:
        refuse_swap("memory could be swapped to disk", swaps)


def refuse_swap(what: str, swaps: Path = SWAPS) -> None:
    """Raise ConfigurationError if the host swaps; ``what`` is at stake."""
    areas = swap_areas(swaps)
    if areas:
        raise ConfigurationError(
            f"{what}: {', '.join(areas)}",
            hint="turn swap off (swapoff -a), use the offline ceremony image, or say --accept-swap",
        )


def check_card_folder(folder: Path, *, accept_swap: bool, swaps: Path = SWAPS) -> None:
    """Raise ConfigurationError unless a folder for share cards lies in memory."""
    if not folder.is_dir() or not lies_in_memory(folder):
        raise ConfigurationError(
            f"{folder} is not a folder in memory",
            hint="share cards never touch a disk: name a folder on tmpfs, such as /dev/shm, "
            "or a printer's device",
        )
    if not accept_swap:
        refuse_swap("share cards could be swapped to disk", swaps)


def is_offline_image(marker: Path = OFFLINE_IMAGE) -> bool:
    """Whether this host is the offline ceremony image."""
    return marker.is_file()
