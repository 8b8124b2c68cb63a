"""recover: gives the keys that the order names, and no others, to the recipient that it names. The
plan is the order; it needs the shares of every group, and an empty token for this alone.

Works while the site's own tokens are gone: nothing is believed but what the site's statements
prove. The log tells of the recovery before anything is delivered.
"""

from kms.ceremonies.ceremony import Ceremony, Needs
from kms.ceremonies.examples import example
from kms.ceremonies.plan import Parameters
from kms.ceremonies.ports import Entry, EscrowOpener
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Script, Section, Step
from kms.ceremonies.steps.anchors import escrow_named
from kms.ceremonies.steps.generations import read_escrow_blobs
from kms.ceremonies.steps.holding import SWK, escrow_shares
from kms.ceremonies.steps.recovery_token import (
    check_own_token,
    erase_step,
    make_own_token,
    tell_host,
)
from kms.ceremonies.steps.rewrapping import item_of, read_readers, site_trust
from kms.ceremonies.steps.state import file_facts
from kms.ceremonies.steps.trusted import TrustedKind, load_public
from kms.domain.ids import MeetingId, SpaceName, parse_epoch, parse_meeting, parse_space
from kms.domain.models import Epoch, RecipientKind
from kms.domain.people import Part
from kms.errors import IntegrityFailure, InvalidInput, NotFound
from kms.i18n import _
from kms.statements.canonical import b64u, digest
from kms.statements.readers import Readers
from kms.statements.recovered import Recovered, decode_recovered, encode_recovered

NAME = "recover"
_TARGET = "recovery"


class Order(Parameters, frozen=True):
    """Which keys go to whom: epochs by their numbers, or ``all`` of the meeting's. The recipient's
    key is RSA of 3072 bits or more, in PEM; ``token`` is the label that the empty token gets.
    """

    space: str
    meeting: str
    recipient_key: str
    token: str
    epochs: tuple[int, ...] = ()
    all: bool = False

    @property
    def spki(self) -> bytes:
        """The recipient's key (SPKI, DER); raise InvalidInput."""
        return load_public(TrustedKind.SERVER, self.recipient_key).spki


def output_name(ceremony: str, epoch: int) -> str:
    """Return the name of a recovered envelope in the state directory."""
    return f"recovered/{ceremony}/epoch-{epoch}.json"


def _order(brief: Brief) -> Order:
    return brief.parameters_as(Order)


def _check(brief: Brief) -> None:
    order = _order(brief)
    parse_space(order.space)
    parse_meeting(order.meeting)
    if order.all == bool(order.epochs):
        raise InvalidInput("an order names its epochs, or says all = true")
    if len(set(order.epochs)) != len(order.epochs):
        raise InvalidInput("the order names an epoch twice")
    for number in order.epochs:
        parse_epoch(number)
    check_own_token(brief, order.token)
    _ = order.spki


def _script(brief: Brief) -> Script:
    order = _order(brief)
    values = {
        "space": order.space,
        "meeting": order.meeting,
        "recipient": digest(order.spki),
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
                id="order/epochs",
                who=Part.ADMINISTRATOR,
                text="The program finds the epochs of meeting {meeting} in {space} that the order "
                "names, and verifies manifest and escrow envelope of each. Compare the "
                "recipient's key with the order: {recipient}",
                values=values,
                check=_check_order,
                act=_look,
            ),
        ),
    )


def _recover_section(brief: Brief, values: dict[str, str]) -> Section:
    return Section(
        id="recover",
        text="The keys are recovered. From here on the ceremony can only be brought to its end.",
        values=values,
        forward=True,
        steps=(
            Step(
                id="recover/log",
                who=Part.ADMINISTRATOR,
                text="The log tells which keys are recovered, and for whom.",
                confirm=values["meeting"],
                act=_tell,
            ),
            *escrow_shares(brief, "recover"),
            Step(
                id="recover/token",
                who=Part.ADMINISTRATOR,
                text="The empty token {token} is initialised with PINs that nobody learns, and "
                "trusts the recipient's key alone.",
                values=values,
                act=_prepare_token,
            ),
            Step(
                id="recover/deliver",
                who=Part.ADMINISTRATOR,
                text="The token opens each escrow envelope of the order, checks its commitment, "
                "and wraps the key to the recipient {recipient}. A file for each "
                "is written to the folder recovered of the state directory.",
                values=values,
                act=_deliver,
                verify=_verify_files,
            ),
            erase_step("recover", values["token"]),
        ),
    )


def _wanted(room: Room) -> list[tuple[Epoch, Readers]]:
    """Return the order's epochs with their verified statements; raise NotFound."""
    order, trust = _order(room.brief), site_trust(room)
    place = SpaceName(order.space), MeetingId(order.meeting)
    found = {epoch.epoch: epoch for epoch in room.records.unverified_epochs(*place)}
    numbers = sorted(found) if order.all else sorted(order.epochs)
    missing = [number for number in numbers if number not in found]
    if missing or not numbers:
        named = ", ".join(map(str, missing)) or "0"
        raise NotFound(f"the meeting has no epoch {named}, or it is destroyed")
    pairs = [(found[number], read_readers(trust, found[number])) for number in numbers]
    for (epoch, _readers), number in zip(pairs, numbers, strict=True):
        if (epoch.space, epoch.meeting, epoch.epoch) != (*place, number):
            raise IntegrityFailure(f"the row of epoch {number} is another epoch's")
    return pairs


def _escrow(room: Room) -> tuple[int, str]:
    """Return number and key id of the generation in force."""
    record = escrow_named(room)
    return record.generation, digest(record.key)


def _check_order(room: Room) -> None:
    for epoch, readers in _wanted(room):
        item_of(room, epoch, readers, _escrow(room)[1])


def _look(room: Room) -> Facts:
    generation, _key = _escrow(room)
    return {
        "epochs": {
            str(epoch.epoch): digest(epoch.manifest.encode()) for epoch, _r in _wanted(room)
        },
        "generation": generation,
        "recipient": digest(_order(room.brief).spki),
    }


def _tell(room: Room) -> Facts:
    order = _order(room.brief)
    told = {
        "ceremony": room.brief.plan.file.id,
        "epochs": [epoch.epoch for epoch, _readers in _wanted(room)],
        "generations": [_escrow(room)[0]],
        "offline_image": room.brief.site.offline_image,
        "recipient": digest(order.spki),
    }
    place = f"spaces/{order.space}/meetings/{order.meeting}"
    leaf = room.records.write(Entry("escrow.recover", SpaceName(order.space), place, told))
    return {"leaf": leaf, **tell_host(room)}


def _prepare_token(room: Room) -> Facts:
    order = _order(room.brief)
    left, token = make_own_token(room, order.token)
    token.trust_recipient(RecipientKind.SERVER, _TARGET, order.spki)
    return {"erased": left, "objects": token.dump(), "token": order.token}


def _deliver(room: Room) -> Facts:
    order, pairs = _order(room.brief), _wanted(room)
    generation, key = _escrow(room)
    items = [item_of(room, epoch, readers, key) for epoch, readers in pairs]
    opener = EscrowOpener(room.memory[SWK], read_escrow_blobs(room.files, generation).key)
    blobs = room.tokens(order.token).rewrap(opener, [f"{RecipientKind.SERVER}/{_TARGET}"], items)
    for done, ((epoch, _readers), (blob,)) in enumerate(zip(pairs, blobs, strict=True), 1):
        _write(room, epoch, generation, blob)
        room.people.progress(_("keys recovered"), done, len(pairs))
    names = [output_name(room.brief.plan.file.id, epoch.epoch) for epoch, _readers in pairs]
    return {"files": [file_facts(room.files, name) for name in names], "generation": generation}


def _write(room: Room, epoch: Epoch, generation: int, blob: bytes) -> None:
    """Write one envelope, unless an interrupted run did: what it wrote is as good."""
    ceremony = room.brief.plan.file.id
    name = output_name(ceremony, epoch.epoch)
    if name in room.files.names():
        return
    found = Recovered(
        ceremony=ceremony,
        space=epoch.space,
        meeting=epoch.meeting,
        epoch=epoch.epoch,
        generation=generation,
        recipient=digest(_order(room.brief).spki),
        manifest=epoch.manifest,
        addenda=epoch.addenda,
        sealed=b64u(blob),
    )
    room.files.write_new(name, encode_recovered(found))


def _verify_files(room: Room, facts: Facts) -> None:
    for told in facts["files"]:
        found = decode_recovered(room.files.read(told["file"]))
        if found.recipient != digest(_order(room.brief).spki):
            raise IntegrityFailure(f"{told['file']} is for another recipient")


CEREMONY = Ceremony(
    name=NAME,
    title="Recover keys",
    purpose="Recovers the keys of named epochs, or of a whole meeting, from escrow, for exactly "
    "one recipient. It also works when the site's HSM is lost.",
    needs=Needs.EVERY_GROUP,
    parameters=Order,
    script=_script,
    example=example(NAME),
    check=_check,
)
