"""Another space's vault as a partner of a space: what is minted for meetings that both share is
wrapped to it too.

No plan says which key that is: it is the one that the store has as the partner's newest vault, and
that the partner's own token trusts as that. Refuses partners that could show participants' keys to
servers.
"""

import base64

from kms.ceremonies.ports import CeremonyToken
from kms.ceremonies.room import Facts, Room
from kms.ceremonies.steps.anchors import check_trusted
from kms.ceremonies.steps.keepers import end_record
from kms.ceremonies.steps.newtoken import key_facts, spki_of
from kms.ceremonies.steps.trusted import (
    TrustedKind,
    label_of,
    labels_of,
    live_recipients,
    live_space,
)
from kms.domain.ids import RecipientId, SpaceName
from kms.domain.models import Recipient, RecipientKind, ReleaseClass, Space
from kms.errors import InvalidInput, NotFound
from kms.statements.canonical import digest


def refuse_partner(room: Room, space: Space, name: str) -> None:
    """Raise InvalidInput for a partner whose servers could read what a ``roster`` space promises to
    devices alone, AlreadyExists never: a newer vault takes the place of an older one.
    """
    partner = live_space(room, name)
    if (space.release_class, partner.release_class) == (ReleaseClass.ROSTER, ReleaseClass.TRUSTED):
        raise InvalidInput(
            f"meetings of {space.space} are for devices alone: no vault of the space {name} keeps "
            "them, since servers may read there"
        )


def partner_vault(room: Room, name: str) -> Recipient:
    """Return the newest vault of a space as its own record has it, once its token trusts exactly
    that; raise NotFound, StateNotAllowed, IntegrityFailure.
    """
    space = live_space(room, name)
    vaults = [one for one in live_recipients(room, name) if one.kind is RecipientKind.VAULT]
    if not vaults:
        raise NotFound(f"the space {name} has no vault")
    vault = max(vaults, key=lambda one: one.version)
    label = f"{RecipientKind.VAULT}/{vault.version}/{space.release_class}"
    check_trusted(room.tokens(space.token), label, base64.b64decode(vault.spki))
    return vault


def partner_label(vault: Recipient) -> str:
    """Return the label under which other spaces' tokens trust a vault."""
    return f"{label_of(TrustedKind.PARTNER, vault.space)}/{vault.version}"


def trust_partner(room: Room, token: CeremonyToken, name: str) -> Facts:
    """Let a token trust the partner's newest vault; the facts are what ``own_partner`` reads."""
    vault = partner_vault(room, name)
    spki = base64.b64decode(vault.spki)
    token.trust_partner(name, vault.version, spki)
    return {"label": partner_label(vault), "version": vault.version, **key_facts(spki)}


def own_partner(room: Room, step: str, token: CeremonyToken, name: str) -> tuple[int, bytes]:
    """Return version and key (SPKI, DER) that a step of this ceremony made a token trust, once it
    does trust exactly that: the journal, which tells of it, proves nothing.
    """
    version, spki = int(room.facts[step]["version"]), spki_of(room, step)
    check_trusted(token, f"{label_of(TrustedKind.PARTNER, name)}/{version}", spki)
    return version, spki


def partner_record(space: str, name: str, version: int, spki: bytes, registered: int) -> Recipient:
    """Return the record of a partner's vault among a space's recipients."""
    return Recipient(
        space=SpaceName(space),
        recipient=RecipientId(digest(spki)),
        kind=RecipientKind.PARTNER,
        name=name,
        version=version,
        spki=base64.b64encode(spki).decode(),
        tls_spki="",
        registered=registered,
    )


def end_older(room: Room, token: CeremonyToken, new: Recipient) -> list[str]:
    """End every other vault of the same partner, in the store and on the token; return the labels
    that went.
    """
    for old in live_recipients(room, new.space):
        same = (old.kind, old.name) == (new.kind, new.name)
        if same and old.recipient != new.recipient:
            end_record(room, old)
    kept = f"{label_of(TrustedKind.PARTNER, new.name)}/{new.version}"
    known = labels_of(TrustedKind.PARTNER, new.name, token.labels())
    gone = [label for label in known if label != kept]
    for label in gone:
        token.destroy(label)
    return gone
