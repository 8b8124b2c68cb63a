"""The forward part of a restoration: statements by the new root, rows under the new seals, every
key out of escrow into the new vaults. Every step bears being repeated.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import msgspec

from kms.ceremonies.ports import EscrowOpener, EscrowPair, SigningUse
from kms.ceremonies.room import Brief, Facts, Room
from kms.ceremonies.step import Section, Step
from kms.ceremonies.steps.anchors import (
    check_trusted,
    escrow_in_force,
    escrow_named,
    own_key,
    own_vault,
    trust_escrow_keys,
)
from kms.ceremonies.steps.disks import name_disks
from kms.ceremonies.steps.generations import read_escrow_blobs
from kms.ceremonies.steps.holding import SWK
from kms.ceremonies.steps.issuing import issue_key_list, issue_register, log
from kms.ceremonies.steps.keepers import keeper, recipient_entry
from kms.ceremonies.steps.newtoken import dump_token, key_facts
from kms.ceremonies.steps.replacing import keeping_space
from kms.ceremonies.steps.rewrapping import Rewrapping, prove_space, rewrap_space
from kms.ceremonies.steps.state import last_key_list, listed, site_root, write_site_root
from kms.ceremonies.steps.trusted import TrustedKind, label_of, load_public
from kms.domain.ids import RecipientId, SpaceName
from kms.domain.models import Recipient, RecipientKind, ReleaseClass, Space
from kms.domain.people import Part
from kms.errors import IntegrityFailure, InvalidInput, NotFound
from kms.statements import archive
from kms.statements.canonical import b64u, digest
from kms.statements.jws import spki_id
from kms.statements.keylist import KeyUse

_ROOT_BYTES = 32
_OLD_VAULTS = (RecipientKind.VAULT, RecipientKind.PARTNER)
"""Keys that were lost with the tokens: a space's own, and its partners'."""
_SECTION = "restore"


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the plan's parameters."""


class WrittenLog(_Table, frozen=True):
    """A head of the log: how many leaves, and their root in base64, as a checkpoint has them."""

    size: int
    root: str

    @property
    def root_bytes(self) -> bytes:
        """The root (32 bytes); raise InvalidInput."""
        try:
            root = base64.b64decode(self.root, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidInput("the root of the log is not base64") from error
        if len(root) != _ROOT_BYTES:
            raise InvalidInput(f"the root of the log has {_ROOT_BYTES} bytes")
        return root


class RestoredSpace(_Table, frozen=True):
    """A space and its release class."""

    space: str
    release_class: ReleaseClass


class TrustedRecipient(_Table, frozen=True):
    """Whom a space's token trusts again; ``recipient`` is the key's id."""

    space: str
    kind: TrustedKind
    name: str
    recipient: str


class TrustedAnchor(_Table, frozen=True):
    """Which authority of device certificates (PEM) a space's token trusts again."""

    space: str
    name: str
    certificate: str


def make_vault(section: str, space: RestoredSpace, label: str) -> Step:
    """Return the step ``section/vault/label``: a vault whose version follows those of all that the
    space ever had, so that no two are of one version.
    """
    return Step(
        id=f"{section}/vault/{label}",
        who=Part.ADMINISTRATOR,
        text="The token {token} generates a new vault key, and the officers' session trusts its "
        "public half for the release class {release_class}.",
        values={"token": label, "release_class": space.release_class},
        act=partial(_make_vault, space, label),
    )


def trust_proved_escrow(section: str, label: str) -> Step:
    """Return the step ``section/escrow/label``: the site's new token trusts the escrow keys that
    log and files name, once the SWK in ``room.memory`` has opened their private halves. Whoever
    writes to log and files can name keys of theirs, and not wrap their private halves by the SWK.
    """
    return Step(
        id=f"{section}/escrow/{label}",
        who=Part.ADMINISTRATOR,
        text="The new token {token} opens the private halves of the escrow key and the disk escrow "
        "key, and with each what was wrapped or encrypted to its public half. Then the officers' "
        "session lets it trust both keys.",
        values={"token": label},
        act=partial(_trust_proved, label),
    )


def restore_section(
    brief: Brief,
    written: WrittenLog,
    spaces: Sequence[RestoredSpace],
    recipients: Sequence[TrustedRecipient],
    anchors: Sequence[TrustedAnchor],
    *,
    shares: Sequence[Step],
) -> Section:
    """Return the section ``restore``; ``shares`` are the steps that give SO secret and SWK."""
    label = brief.site.token()
    own = [_log_step(brief, written), *shares, *_site_steps(label, written)]
    for space in spaces:
        token = brief.site.token(space.space)
        named = [one for one in recipients if one.space == space.space]
        trusted = [one for one in anchors if one.space == space.space]
        own += _space_steps(space, token, named, trusted)
    own += [
        _step("coverage", _COVERAGE, _prove),
        _step("disks", _DISKS, name_disks),
        _step("end", _END, partial(_tell, written)),
    ]
    return Section(
        id=_SECTION,
        text="The site comes back. From here on the ceremony can only be brought to its end.",
        forward=True,
        steps=tuple(own),
    )


_COVERAGE = "The program proves that the new vaults keep every key."
_DISKS = (
    "The program names the site's disks. The keys that opened them were lost with the tokens: each "
    "opens again by the ceremony recover-disk alone."
)
_END = "The log tells of the restoration."


def _step(name: str, text: str, act: Callable[[Room], Facts], **values: str) -> Step:
    return Step(f"{_SECTION}/{name}", Part.ADMINISTRATOR, text, act, values)


def _log_step(brief: Brief, written: WrittenLog) -> Step:
    return Step(
        id=f"{_SECTION}/log",
        who=Part.ADMINISTRATOR,
        text="The log has {size} leaves with the root {root}. Officers and auditor compare both "
        "with the auditor's last checkpoint.",
        values={"size": str(written.size), "root": written.root},
        check=partial(_check_log, written),
        act=partial(_accept_log, written),
        confirm=brief.site.site,
    )


def _site_steps(label: str, written: WrittenLog) -> tuple[Step, ...]:
    return (
        _step(
            "site-root",
            "The program writes down the new site root's public half, which clients pin from now "
            "on.",
            partial(_write_root, label),
        ),
        _step(
            "key-list",
            "The new site root signs a key list of the old keys, whose signatures still count, and "
            "the new ones.",
            partial(_issue_keys, label),
        ),
        _step("register", "The new site root signs the register of people.", _issue_register),
        _step(
            "rows",
            "The new tokens seal every row of the database anew.",
            _reseal,
        ),
        _step(
            "head",
            "The new token {token} takes over the head of the log: it signs nothing that does not "
            "extend it.",
            partial(_adopt, label, written),
            token=label,
        ),
    )


def _space_steps(
    space: RestoredSpace,
    label: str,
    recipients: Sequence[TrustedRecipient],
    anchors: Sequence[TrustedAnchor],
) -> tuple[Step, ...]:
    values = {"space": space.space, "token": label}
    trust = partial(_trust, space, label, recipients, anchors)
    return (
        _step(
            f"keeper/{label}",
            "The store names the new vault of {space} in the place of the old one. Partners' old "
            "vaults are revoked.",
            partial(_name_vault, space, label),
            **values,
        ),
        _step(
            f"trust/{label}",
            "The officers' session lets the token {token} trust whom the plan names, and nobody "
            "else.",
            trust,
            **values,
        ),
        _step(
            f"rewrap/{label}",
            "The token {token} opens every key of {space} with the escrow key and wraps it to its "
            "new vault.",
            partial(_rewrap, space, label),
            **values,
        ),
        dump_token(_SECTION, label),
    )


def _make_vault(space: RestoredSpace, label: str, room: Room) -> Facts:
    known = room.records.unverified_recipients(SpaceName(space.space))
    older = (one.version for one in known if one.kind is RecipientKind.VAULT)
    version, token = max(older, default=0) + 1, room.tokens(label)
    spki = token.generate_vault(version)
    token.trust_vault(version, space.release_class, spki)
    return {"version": version, **key_facts(spki)}


def _check_log(written: WrittenLog, room: Room) -> None:
    room.records.check_log(written.size, written.root_bytes)


def _accept_log(written: WrittenLog, room: Room) -> Facts:
    _check_log(written, room)
    return {"root": written.root, "size": written.size}


def _trust_proved(label: str, room: Room) -> Facts:
    record, token = escrow_named(room), room.tokens(label)
    blobs, swk = read_escrow_blobs(room.files, record.generation), room.memory[SWK]
    token.prove_escrow(swk, EscrowPair(record.key, blobs.key))
    token.prove_disk_escrow(swk, EscrowPair(record.disk_key, blobs.disk_key))
    return trust_escrow_keys(token, record)


def _write_root(label: str, room: Room) -> Facts:
    spki = own_key(room, "tokens", SigningUse.SITE_ROOT, label)
    number = archive.newest(room.files.names(), archive.SITE_ROOT)
    if spki_id(site_root(room.files)) != digest(spki):
        number += 1
    return {"kid": digest(spki), **write_site_root(room.files, number, spki)}


def _issue_keys(label: str, room: Room) -> Facts:
    old, now = last_key_list(room.files).keys, room.now()
    checkpoint = own_key(room, "tokens", SigningUse.CHECKPOINT, label)
    new = [listed(KeyUse.CHECKPOINT, checkpoint, now)]
    for space, token in sorted(room.brief.site.tokens.items()):
        if space:
            spki = own_key(room, "tokens", SigningUse.MANIFEST, token)
            new.append(listed(KeyUse.MANIFEST, spki, now, space))
    known = {key.kid for key in old}
    return issue_key_list(room, (*old, *(key for key in new if key.kid not in known)))


def _issue_register(room: Room) -> Facts:
    brief = room.brief
    following = replace(
        brief.register,
        version=brief.register.version + 1,
        issued=room.now(),
        previous=digest(brief.register_token.encode()),
        ceremony=brief.plan.file.id,
    )
    return issue_register(room, following)


def _reseal(room: Room) -> Facts:
    return {"rows": room.records.reseal_rows()}


def _adopt(label: str, written: WrittenLog, room: Room) -> Facts:
    room.tokens(label).adopt_checkpoint(written.size, written.root_bytes)
    return {"size": written.size, "token": label}


def _vault(space: RestoredSpace, label: str, room: Room) -> Recipient:
    version, spki = own_vault(room, "tokens", label, space.release_class)
    return keeper(space.space, RecipientKind.VAULT, spki, version, room.now())


def _known(room: Room, space: RestoredSpace) -> Space | None:
    """Return the space's record; raise IntegrityFailure if it is of another release class."""
    found = keeping_space(room, space.space)
    if found is not None and found.release_class is not space.release_class:
        raise IntegrityFailure(f"the space {space.space} is of the class {found.release_class}")
    return found


def _name_vault(space: RestoredSpace, label: str, room: Room) -> Facts:
    if _known(room, space) is None:
        return {"space": ""}
    vault = _vault(space, label, room)
    room.records.write(recipient_entry(room, "recipient.register", vault))
    for record in room.records.recipients(vault.space):
        if record.kind in _OLD_VAULTS and record.recipient != vault.recipient:
            gone = replace(record, revoked=record.revoked or room.now())
            room.records.write(recipient_entry(room, "recipient.revoke", gone))
    return {"recipient": vault.recipient, "space": space.space}


def _trust(
    space: RestoredSpace,
    label: str,
    recipients: Sequence[TrustedRecipient],
    anchors: Sequence[TrustedAnchor],
    room: Room,
) -> Facts:
    if _known(room, space) is None:
        return {"space": ""}
    token = room.tokens(label)
    there = token.labels()
    for one in recipients:
        spki = _registered(room, one)
        name = label_of(one.kind, one.name)
        if name not in there and one.kind is TrustedKind.ROSTER_AUTHORITY:
            token.trust_roster_authority(one.name, spki)
        elif name not in there:
            token.trust_recipient(RecipientKind(one.kind.value), one.name, spki)
        check_trusted(token, name, spki)
    for anchor in anchors:
        if label_of(TrustedKind.DEVICE_ANCHOR, anchor.name) not in there:
            load_public(TrustedKind.DEVICE_ANCHOR, anchor.certificate).trust(token, anchor.name)
    return {
        "anchors": [one.name for one in anchors],
        "recipients": [one.name for one in recipients],
    }


def _registered(room: Room, named: TrustedRecipient) -> bytes:
    """Return the key (SPKI, DER) that the store has under the id that the plan names."""
    for record in room.records.recipients(SpaceName(named.space)):
        if (record.recipient, record.name) == (named.recipient, named.name) and not record.revoked:
            spki = base64.b64decode(record.spki)
            if digest(spki) != named.recipient:
                raise IntegrityFailure(f"the store has another key as {named.name}")
            return spki
    raise NotFound(f"the space {named.space} has no recipient {named.name} of that id")


def _rewrap(space: RestoredSpace, label: str, room: Room) -> Facts:
    known = _known(room, space)
    if known is None:
        return {"epochs": 0, "space": ""}
    record = escrow_in_force(room)
    opener = EscrowOpener(room.memory[SWK], read_escrow_blobs(room.files, record.generation).key)
    vault = _vault(space, label, room)
    name = f"{RecipientKind.VAULT}/{vault.version}/{space.release_class}"
    work = Rewrapping({RecipientId(digest(record.key)): opener}, vault, name)
    return {"space": space.space, **rewrap_space(room, known, work)}


def _prove(room: Room) -> Facts:
    counts = {}
    for space in room.records.spaces():
        if not space.destroyed:
            restored = RestoredSpace(space=space.space, release_class=space.release_class)
            counts[space.space] = prove_space(room, space, _vault(restored, space.token, room))
    return {"epochs": counts}


def _tell(written: WrittenLog, room: Room) -> Facts:
    kid = spki_id(site_root(room.files))
    told = {"size": written.size, "root": b64u(written.root_bytes), "site_root": kid}
    log(room, "site.restore", "site", **told)
    return told
