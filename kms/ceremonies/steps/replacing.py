"""Steps by which the escrow key of a site is replaced, space by space. For a forward section:
each bears being repeated, and nothing old goes before every key is proved to be kept anew.
"""

from dataclasses import replace
from functools import partial

from kms.ceremonies.ports import CeremonyToken, SharedSecret, VaultOpener
from kms.ceremonies.room import Facts, Room
from kms.ceremonies.step import Ask, Step
from kms.ceremonies.steps.anchors import (
    destroy_escrow_keys,
    escrow_in_force,
    escrow_label,
    escrow_made,
    escrow_replaced,
    trust_escrow_keys,
)
from kms.ceremonies.steps.certificate import Destroyed, write_certificate
from kms.ceremonies.steps.disks import check_disks_open
from kms.ceremonies.steps.generations import BookFinder, EscrowRecord, blob_names, own_book
from kms.ceremonies.steps.issuing import log, log_generation
from kms.ceremonies.steps.keepers import keeper, recipient_entry
from kms.ceremonies.steps.rewrapping import Rewrapping, prove_space, rewrap_space
from kms.domain.models import Recipient, RecipientKind, Space
from kms.domain.people import Part
from kms.domain.text import visible
from kms.errors import IntegrityFailure, InvalidInput, NotFound
from kms.i18n import _
from kms.statements.canonical import digest

_TRIES, _LONGEST = 3, 500
BACKUPS = (
    "Backups made before hold envelopes and recovery keys of disks of this generation, and its "
    "private halves under the share wrapping key. What opens them are the share cards of this "
    "generation: those that the auditor counted were destroyed in front of everybody."
)


def announce(section: str, site: str) -> Step:
    """Return the step ``section/begin``, which is confirmed by the site's name, and logs the new
    generation.
    """
    return Step(
        id=f"{section}/begin",
        who=Part.ADMINISTRATOR,
        text="The log tells of the new escrow generation. The old one stays until every key is "
        "wrapped to the new one.",
        check=_check_old,
        act=_announce,
        confirm=site,
    )


def trust_new(section: str, space: str, label: str) -> Step:
    """Return the step ``section/trust/label``."""
    return Step(
        id=f"{section}/trust/{label}",
        who=Part.ADMINISTRATOR,
        text="The officers' session lets the token {token} trust the new escrow key, which the "
        "store names as one that keeps the keys of {space}, and the new disk escrow key.",
        values={"token": label, "space": space},
        act=partial(_trust, space, label),
    )


def rewrap_keys(section: str, space: str, label: str) -> Step:
    """Return the step ``section/rewrap/label``, whose facts have count, time and rate."""
    return Step(
        id=f"{section}/rewrap/{label}",
        who=Part.ADMINISTRATOR,
        text="The token {token} opens every key of {space} with its vault key and wraps it to the "
        "new escrow key. The old escrow envelopes are deleted.",
        values={"token": label, "space": space},
        act=partial(_rewrap, space),
    )


def prove_coverage(section: str) -> Step:
    """Return the step ``section/coverage``."""
    return Step(
        id=f"{section}/coverage",
        who=Part.ADMINISTRATOR,
        text="The program proves that every key of every space has a sound envelope of the new "
        "generation.",
        act=_prove,
    )


def distrust_old(section: str, space: str, label: str) -> Step:
    """Return the step ``section/distrust/label``, whose facts have all that is on the token."""
    return Step(
        id=f"{section}/distrust/{label}",
        who=Part.ADMINISTRATOR,
        text="The old escrow key and the old disk escrow key are destroyed on the token {token}, "
        "which is asked to wrap to the former and must refuse.",
        values={"token": label},
        act=partial(_distrust, space, label),
    )


def forget_old(section: str, label: str) -> Step:
    """Return the step ``section/forget``, whose facts have all that is on the site's token."""
    return Step(
        id=f"{section}/forget",
        who=Part.ADMINISTRATOR,
        text="The old escrow key and the old disk escrow key are destroyed on the site's token "
        "{token} too: no other token can come to trust them any more.",
        values={"token": label},
        act=partial(_forget, label),
    )


def destroy_blob(section: str) -> Step:
    """Return the step ``section/blob``."""
    return Step(
        id=f"{section}/blob",
        who=Part.ADMINISTRATOR,
        text="The private halves of the old escrow key and the old disk escrow key, under the old "
        "share wrapping key, are deleted from the state directory.",
        act=_destroy_blob,
    )


def count_cards(section: str) -> Step:
    """Return the step ``section/cards``."""
    what = "how many share cards of the old generation were destroyed, and whose are missing"
    return Step(
        id=f"{section}/cards",
        who=Part.AUDITOR,
        text="Holders hand their old share cards over, and they are destroyed in front of "
        "everybody. The auditor counts them.",
        act=_count_cards,
        asks=(Ask(Part.AUDITOR, what),),
    )


def certify(section: str) -> Step:
    """Return the step ``section/certificate``, which logs the destruction."""
    return Step(
        id=f"{section}/certificate",
        who=Part.ADMINISTRATOR,
        text="The destruction certificate of the old generation is written, and the log tells of "
        "the destruction.",
        act=partial(_certify, f"{section}/cards"),
    )


def keeping_space(room: Room, name: str) -> Space | None:
    """Return a space whose token holds keys: None before it was created and once destroyed."""
    found = [space for space in room.records.spaces() if space.space == name]
    return found[0] if found and not found[0].destroyed else None


def vaults_of(room: Room, space: Space) -> tuple[Recipient, ...]:
    """Return the vaults of a space that are in use, oldest first; raise IntegrityFailure if there
    is none.
    """
    found = [
        one
        for one in room.records.recipients(space.space)
        if one.kind is RecipientKind.VAULT and not one.revoked
    ]
    if not found:
        raise IntegrityFailure(f"the space {space.space} has no vault")
    return tuple(sorted(found, key=lambda one: one.version))


def vault_of(room: Room, space: Space) -> Recipient:
    """Return the vault that new keys of a space go to; raise IntegrityFailure."""
    return vaults_of(room, space)[-1]


def _new(room: Room) -> EscrowRecord:
    return escrow_made(room, own_book(SharedSecret.ESCROW).find(room).generation)


def _old(room: Room) -> EscrowRecord:
    return escrow_replaced(room, _new(room))


def _label(record: EscrowRecord) -> str:
    return escrow_label(record.generation)


def _check_old(room: Room) -> None:
    """Refuse to replace what the site's token does not trust: only that can be destroyed. And what
    alone opens a disk.
    """
    escrow_in_force(room)
    check_disks_open(room)


def _announce(room: Room) -> Facts:
    new, old = _new(room), _old(room)
    return {**log_generation(room, new), "old": old.generation}


def _trust(name: str, label: str, room: Room) -> Facts:
    space, new = keeping_space(room, name), _new(room)
    if space is None:
        return {"space": ""}
    trust_escrow_keys(room.tokens(label), new)
    record = keeper(name, RecipientKind.ESCROW, new.key, new.generation, room.now())
    room.records.write(recipient_entry(room, "recipient.register", record))
    return {"generation": new.generation, "space": name}


def _rewrap(name: str, room: Room) -> Facts:
    space, new = keeping_space(room, name), _new(room)
    if space is None:
        return {"epochs": 0, "space": ""}
    openers = {one.recipient: VaultOpener(one.version) for one in vaults_of(room, space)}
    target = keeper(name, RecipientKind.ESCROW, new.key, new.generation, 0)
    work = Rewrapping(openers, target, _label(new))
    return {"space": name, **rewrap_space(room, space, work)}


def _prove(room: Room) -> Facts:
    new = _new(room)
    counts = {
        space.space: prove_space(
            room, space, keeper(space.space, RecipientKind.ESCROW, new.key, new.generation, 0)
        )
        for space in room.records.spaces()
        if not space.destroyed
    }
    return {"epochs": counts, "generation": new.generation}


def _distrust(name: str, label: str, room: Room) -> Facts:
    space, old = keeping_space(room, name), _old(room)
    if space is None:
        return {"space": ""}
    token = room.tokens(label)
    destroy_escrow_keys(token, old.generation)
    _refuses(token, vault_of(room, space), _label(old))
    for record in room.records.recipients(space.space):
        if record.kind is RecipientKind.ESCROW and record.version == old.generation:
            gone = replace(record, revoked=record.revoked or room.now())
            room.records.write(recipient_entry(room, "recipient.revoke", gone))
    return {"objects": token.dump(), "space": name}


def _forget(label: str, room: Room) -> Facts:
    token = room.tokens(label)
    destroy_escrow_keys(token, _old(room).generation)
    return {"objects": token.dump(), "token": label}


def _refuses(token: CeremonyToken, vault: Recipient, label: str) -> None:
    """Raise IntegrityFailure unless the token cannot wrap to a key of this label any more."""
    try:
        list(token.rewrap(VaultOpener(vault.version), [label], ()))
    except NotFound:
        return
    raise IntegrityFailure(f"the token {token.label} still wraps to {label}")


def _destroy_blob(room: Room) -> Facts:
    names = blob_names(_old(room).generation)
    for name in names:
        room.files.remove(name)
    left = set(names).intersection(room.files.names())
    if left:
        raise IntegrityFailure(f"{min(left)} is still there")
    return {"files": list(names)}


def _count_cards(room: Room) -> Facts:
    book = BookFinder(SharedSecret.ESCROW).find(room)
    text = _(
        "How many of the {cards} share cards of generation {generation} were destroyed here, and "
        "whose are missing?"
    )
    question = text.format(cards=len(book.holders), generation=book.generation)
    for _attempt in range(_TRIES):
        answer = visible(room.people.ask(room.brief.plan.file.auditor, question).strip())
        if 0 < len(answer) <= _LONGEST:
            return {"cards": len(book.holders), "destroyed": answer}
    raise InvalidInput(f"the answer has 1 to {_LONGEST} characters")


def _certify(cards: str, room: Room) -> Facts:
    old, counted = _old(room), room.facts[cards]
    generation = old.generation
    tokens = sorted(space.token for space in room.records.spaces() if not space.destroyed)
    kid, disk_kid = digest(old.key), digest(old.disk_key)
    content = (
        Destroyed("escrow public key", kid, ", ".join(tokens), "destroyed on every token"),
        Destroyed("escrow private key, wrapped", kid, "state directory", "file deleted"),
        Destroyed(
            "disk escrow public key", disk_kid, ", ".join(tokens), "destroyed on every token"
        ),
        Destroyed("disk escrow private key, wrapped", disk_kid, "state directory", "file deleted"),
        Destroyed("escrow envelopes", kid, "database", "rows overwritten and deleted"),
        Destroyed(
            "share cards",
            str(counted["destroyed"]),
            "ceremony",
            "destroyed in front of everybody, as the auditor counted",
        ),
    )
    facts = write_certificate(room, content, BACKUPS)
    told = {"generation": generation, "certificate": facts["sha256"]}
    log(room, "escrow.destroy", _label(old), **told)
    return {"generation": generation, **facts}
