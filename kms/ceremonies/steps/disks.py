"""What ceremonies about escrow and tokens mean for encrypted disks: which of them open by keys in
the HSM, and which by recover-disk alone.
"""

from collections.abc import Iterator

from kms.ceremonies.room import Facts, Room
from kms.ceremonies.step import Step
from kms.ceremonies.steps.anchors import escrow_named
from kms.domain.disks import Disk
from kms.domain.models import Space
from kms.domain.people import Part
from kms.errors import StateNotAllowed
from kms.i18n import _


def count_disks(section: str) -> Step:
    """Return the step ``section/disks``, whose facts name every disk whose recovery key is under
    the old generation: the appliance alone brings new ones onto disks.
    """
    return Step(
        id=f"{section}/disks",
        who=Part.ADMINISTRATOR,
        text="The program names the disks whose recovery keys the old disk escrow key protects. "
        "No recovery opens them from here on until the appliance has brought a new recovery key "
        "onto each: connect those disks as soon as the service runs.",
        act=_count,
    )


def name_disks(room: Room) -> Facts:
    """Return the facts that name every disk that is not erased."""
    return {"disks": [_name(disk) for _space, disk in _living(room)]}


def check_disks_open(room: Room) -> None:
    """Raise StateNotAllowed for a disk that opens by the present escrow generation alone, as after
    a restoration: it could never be opened again.
    """
    for space, disk in _living(room):
        if _generations(disk) and not _opens(disk, room.tokens(space.token).labels()):
            raise StateNotAllowed(
                f"the disk {_name(disk)} opens by the present escrow generation alone",
                hint="hold recover-disk and let the appliance give it new keys, or erase it",
            )


def _count(room: Room) -> Facts:
    old = escrow_named(room).generation
    due = [_name(disk) for _space, disk in _living(room) if old in _generations(disk)]
    if due:
        text = _("Disks that no recovery opens until they have a new recovery key: {disks}")
        room.people.say(text.format(disks=", ".join(due)))
    return {"disks": due}


def _living(room: Room) -> Iterator[tuple[Space, Disk]]:
    for space in room.records.spaces():
        if not space.destroyed:
            disks = room.records.disks(space.space)
            yield from ((space, disk) for disk in disks if not disk.erased)


def _generations(disk: Disk) -> set[int]:
    return {one.generation for one in (disk.recovery, disk.next_recovery) if one}


def _opens(disk: Disk, labels: tuple[str, ...]) -> bool:
    """Whether the token has a KEK that a slot key of the disk is encrypted by."""
    keys = (one for one in (disk.key, disk.next_key) if one)
    return any(f"disk-kek/{disk.disk}/{one.kek}" in labels for one in keys)


def _name(disk: Disk) -> str:
    return f"{disk.space}/{disk.disk}"
