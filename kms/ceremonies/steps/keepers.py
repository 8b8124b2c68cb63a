"""What a space's token trusts from the beginning: the site root, and the keepers of the space's
keys, vault and escrow, with their records.
"""

import base64
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from kms.ceremonies.ports import Entry, SigningUse
from kms.ceremonies.room import Facts, Room
from kms.ceremonies.step import Step
from kms.ceremonies.steps.anchors import check_trusted, escrow_in_force, trust_escrow_keys
from kms.ceremonies.steps.newtoken import key_facts
from kms.ceremonies.steps.state import FIRST
from kms.domain.ids import RecipientId, SpaceName
from kms.domain.models import Recipient, RecipientKind, ReleaseClass
from kms.domain.people import Part
from kms.statements.canonical import digest


def trust_root(section: str, label: str, find: Callable[[Room], bytes]) -> Step:
    """Return the step ``section/site-root/label``: the token trusts the site root that ``find``
    returns, once it is checked against the site's own token.
    """
    return Step(
        id=f"{section}/site-root/{label}",
        who=Part.ADMINISTRATOR,
        text="The officers' session lets the token {token} trust the site root, by which it tells "
        "itself whose register of people it is shown.",
        values={"token": label},
        act=partial(_trust_root, label, find),
    )


def trust_escrow(section: str, label: str) -> Step:
    """Return the step ``section/escrow/label``: the token trusts the escrow keys in force."""
    return Step(
        id=f"{section}/escrow/{label}",
        who=Part.ADMINISTRATOR,
        text="The officers' session lets the token {token} trust the escrow key and the disk "
        "escrow key, before there is any key to lose.",
        values={"token": label},
        act=partial(_trust_escrow, label),
    )


def make_vault(section: str, label: str, release_class: ReleaseClass) -> Step:
    """Return the step ``section/vault/label``, whose facts ``spki_of`` reads."""
    return Step(
        id=f"{section}/vault/{label}",
        who=Part.ADMINISTRATOR,
        text="The token {token} generates the vault key, which keeps the meeting keys, and the "
        "officers' session trusts its public half for the release class {release_class}.",
        values={"token": label, "release_class": release_class},
        act=partial(_make_vault, label, release_class),
    )


def keeper(
    space: str, kind: RecipientKind, spki: bytes, version: int, registered: int
) -> Recipient:
    """Return the record of a space's vault or escrow key (SPKI, DER)."""
    return Recipient(
        space=SpaceName(space),
        recipient=RecipientId(digest(spki)),
        kind=kind,
        name=kind.value,
        version=version,
        spki=base64.b64encode(spki).decode(),
        tls_spki="",
        registered=registered,
    )


def recipient_entry(room: Room, action: str, record: Recipient) -> Entry:
    """Return the entry by which a recipient's record changes; ``action`` of the log."""
    told = {
        "ceremony": room.brief.plan.file.id,
        "kind": record.kind.value,
        "name": record.name,
    }
    place = f"spaces/{record.space}/recipients/{record.recipient}"
    return Entry(action, record.space, place, told, (record,))


def end_record(room: Room, record: Recipient) -> int:
    """Write that a recipient is revoked; return the leaf's number."""
    ended = replace(record, revoked=room.now())
    return room.records.write(recipient_entry(room, "recipient.revoke", ended))


def _trust_root(label: str, find: Callable[[Room], bytes], room: Room) -> Facts:
    spki, token = find(room), room.tokens(label)
    token.trust_signing(SigningUse.SITE_ROOT, FIRST, spki)
    check_trusted(token, f"{SigningUse.SITE_ROOT}/{FIRST}", spki)
    return key_facts(spki)


def _trust_escrow(label: str, room: Room) -> Facts:
    return trust_escrow_keys(room.tokens(label), escrow_in_force(room))


def _make_vault(label: str, release_class: ReleaseClass, room: Room) -> Facts:
    token = room.tokens(label)
    spki = token.generate_vault(FIRST)
    token.trust_vault(FIRST, release_class, spki)
    return {"version": FIRST, **key_facts(spki)}
