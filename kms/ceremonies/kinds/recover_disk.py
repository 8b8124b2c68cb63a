"""recover-disk: gives the recovery key of the disk that the order names to the appliance that it
names. The plan is the order; it needs the shares of every group, and an empty token for this alone.

Refuses a row that the space's token did not seal, and a key that escrow holds for another disk. The
log tells of the recovery before anything is delivered. Once begun it comes to an end even where
nothing can be delivered any more, since no other ceremony is held before.
"""

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.plan import Parameters
from kms.ceremonies.ports import Entry, EscrowOpener, EscrowPair
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.anchors import escrow_in_force
from kms.ceremonies.steps.generations import read_escrow_blobs
from kms.ceremonies.steps.holding import SWK, escrow_shares
from kms.ceremonies.steps.newtoken import token_of
from kms.ceremonies.steps.recovery_token import (
    check_own_token,
    erase_step,
    make_own_token,
    tell_host,
)
from kms.ceremonies.steps.state import file_facts
from kms.domain.disks import Disk, RecoveryKey
from kms.domain.ids import SpaceName, parse_disk, parse_space
from kms.domain.people import Part
from kms.errors import IntegrityFailure, NotFound, StateNotAllowed
from kms.i18n import _
from kms.statements.canonical import b64u, unb64u
from kms.statements.diskkeys import load_appliance_key, seal_recovery, unbind_recovery
from kms.statements.recovered import RecoveredDisk, decode_recovered_disk, encode_recovered_disk

NAME = "recover-disk"


class Order(Parameters, frozen=True):
    """Which disk's recovery key goes to which appliance: its X25519 key (base64url of 32 bytes).
    ``token`` is the label that the empty token gets.
    """

    space: str
    disk: str
    appliance: str
    token: str


def output_name(ceremony: str, disk: str) -> str:
    """Return the name of a recovered disk key in the state directory."""
    return f"recovered/{ceremony}/disk-{disk}.json"


def _order(brief: Brief) -> Order:
    return brief.parameters_as(Order)


def _check(brief: Brief) -> None:
    order = _order(brief)
    token_of(brief, parse_space(order.space))
    parse_disk(order.disk)
    check_own_token(brief, order.token)
    load_appliance_key(order.appliance)


def _script(brief: Brief) -> Script:
    order = _order(brief)
    values = {
        "space": order.space,
        "disk": order.disk,
        "appliance": order.appliance,
        "token": order.token,
    }
    return (_look_section(values), _recover_section(brief, values))


def _look_section(values: dict[str, str]) -> Section:
    return Section(
        id="order",
        text="The order is held against what the store has.",
        values=values,
        steps=(
            Step(
                id="order/disk",
                who=Part.ADMINISTRATOR,
                text="The program finds the disk {disk} in {space} and its recovery key under "
                "escrow. Compare the appliance's key with the order and with what "
                "conclave-appliance key says there: {appliance}",
                values=values,
                check=_check_order,
                act=_look,
            ),
        ),
    )


def _recover_section(brief: Brief, values: dict[str, str]) -> Section:
    return Section(
        id="recover",
        text="The recovery key is recovered. From here on the ceremony can only be brought to its "
        "end.",
        values=values,
        forward=True,
        steps=(
            Step(
                id="recover/log",
                who=Part.ADMINISTRATOR,
                text="The log tells which disk's recovery key is recovered, and for which "
                "appliance.",
                confirm=values["disk"],
                act=_tell,
            ),
            *escrow_shares(brief, "recover"),
            Step(
                id="recover/token",
                who=Part.ADMINISTRATOR,
                text="The empty token {token} is initialised with PINs that nobody learns. It "
                "opens the disk escrow key, and decrypts with it what was encrypted to its public "
                "half.",
                values=values,
                act=_prepare_token,
            ),
            Step(
                id="recover/deliver",
                who=Part.ADMINISTRATOR,
                text="The token decrypts the recovery key, which the program proves to be this "
                "disk's and seals to the appliance. A file is written to the folder recovered of "
                "the state directory: conclave disk recover takes it.",
                values=values,
                act=_deliver,
                verify=_verify_files,
            ),
            erase_step("recover", values["token"]),
        ),
    )


def _wanted(room: Room) -> tuple[Disk, RecoveryKey]:
    """Return the order's disk and the recovery key that opens it; raise NotFound,
    StateNotAllowed.
    """
    order = _order(room.brief)
    found = [one for one in room.records.disks(SpaceName(order.space)) if one.disk == order.disk]
    if not found:
        raise NotFound(f"the space {order.space} has no disk {order.disk}")
    (disk,) = found
    # Before its first work is committed a disk has none but the next one.
    recovery = disk.recovery or disk.next_recovery
    if disk.erased or recovery is None:
        raise StateNotAllowed(f"the disk {disk.disk} is erased, or has no recovery key yet")
    _check_generation(room, recovery)
    return disk, recovery


def _check_generation(room: Room, recovery: RecoveryKey) -> None:
    present = escrow_in_force(room).generation
    if recovery.generation != present:
        raise StateNotAllowed(
            f"the disk's recovery key is under escrow generation {recovery.generation}, which "
            f"generation {present} has replaced",
            hint="it opens by its key in the HSM alone: connect it to the appliance, which brings "
            "a new recovery key onto it",
        )


def _check_order(room: Room) -> None:
    _wanted(room)


def _look(room: Room) -> Facts:
    disk, recovery = _wanted(room)
    return {
        "appliance": _order(room.brief).appliance,
        "disk": disk.disk,
        "generation": recovery.generation,
        "label": disk.label,
        "serial": disk.serial,
    }


def _tell(room: Room) -> Facts:
    order = _order(room.brief)
    told = {
        "appliance": order.appliance,
        "ceremony": room.brief.plan.file.id,
        "disk": order.disk,
        "generations": [escrow_in_force(room).generation],
        "offline_image": room.brief.site.offline_image,
    }
    place = f"spaces/{order.space}/disks/{order.disk}"
    leaf = room.records.write(Entry("escrow.recover-disk", order.space, place, told))
    return {"leaf": leaf, **tell_host(room)}


def _prepare_token(room: Room) -> Facts:
    label = _order(room.brief).token
    left, token = make_own_token(room, label)
    pair = EscrowPair(escrow_in_force(room).disk_key, _opener(room).blob)
    token.prove_disk_escrow(room.memory[SWK], pair)
    return {"erased": left, "objects": token.dump(), "token": label}


def _opener(room: Room) -> EscrowOpener:
    blobs = read_escrow_blobs(room.files, escrow_in_force(room).generation)
    return EscrowOpener(room.memory[SWK], blobs.disk_key)


def _deliver(room: Room) -> Facts:
    """Write the file, unless an interrupted run did: what it wrote is as good."""
    name = output_name(room.brief.plan.file.id, _order(room.brief).disk)
    if name not in room.files.names():
        try:
            found = _recovered(room, *_wanted(room))
        except StateNotAllowed as error:
            text = _("Nothing is delivered: {reason}")
            room.people.say(text.format(reason=error.message))
            return {"files": [], "refused": error.message}
        room.files.write_new(name, encode_recovered_disk(found))
    return {"files": [file_facts(room.files, name)]}


def _recovered(room: Room, disk: Disk, recovery: RecoveryKey) -> RecoveredDisk:
    order, site = _order(room.brief), room.brief.site.site
    key = _opened(room, disk, recovery)
    return RecoveredDisk(
        ceremony=room.brief.plan.file.id,
        space=disk.space,
        disk=disk.disk,
        generation=recovery.generation,
        appliance=order.appliance,
        sealed=b64u(seal_recovery(key, load_appliance_key(order.appliance), site, disk.disk)),
    )


def _opened(room: Room, disk: Disk, recovery: RecoveryKey) -> bytes:
    """Return the recovery key; raise StateNotAllowed if escrow has none of this disk: the token has
    proved the disk escrow key, so another run would not fare better.
    """
    token = room.tokens(_order(room.brief).token)
    try:
        plain = token.recover_disk_key(_opener(room), unb64u(recovery.escrowed))
        return unbind_recovery(plain, room.brief.site.site, disk, recovery.generation)
    except IntegrityFailure as error:
        raise StateNotAllowed(error.message) from error


def _verify_files(room: Room, facts: Facts) -> None:
    order = _order(room.brief)
    for name in (told["file"] for told in facts["files"]):
        found = decode_recovered_disk(room.files.read(name))
        if (found.space, found.disk, found.appliance) != (order.space, order.disk, order.appliance):
            raise IntegrityFailure(f"{name} is of another disk, or for another appliance")


CEREMONY = Ceremony(
    name=NAME,
    title="Recover a disk",
    purpose="Recovers the recovery key of one encrypted disk from escrow, for exactly one "
    "appliance: when the HSM is lost, or the disk comes to another appliance. After restore-site "
    "every disk opens this way alone.",
    needs=Needs.EVERY_GROUP,
    parameters=Order,
    script=_script,
    example=example(NAME),
    check=_check,
)
