"""Whether what lies in the state directory is what the site issued last. A file there proves
nothing: an older one, or one of another root, can be put back by whoever writes to the directory.

Site root and escrow key are held against the site's token, which trusts them since the officers'
session in which they were made, and so are keys that the ceremony's own journal tells of; register,
key list and escrow key against the log, whose head is on that token.
"""

from kms.ceremonies.ports import CeremonyToken, Issued, SigningUse
from kms.ceremonies.record.request import register_digest
from kms.ceremonies.room import Facts, Room
from kms.ceremonies.steps.generations import EscrowRecord, read_escrow
from kms.ceremonies.steps.newtoken import spki_of
from kms.ceremonies.steps.state import FIRST, key_list, newest, site_root
from kms.domain.models import RecipientKind, ReleaseClass
from kms.errors import AlreadyExists, IntegrityFailure, NotFound
from kms.statements import archive
from kms.statements.canonical import digest, unb64u
from kms.statements.jws import spki_der

ESCROW_KEY = "escrow/escrow-key"
"""The step that makes an escrow key, in every ceremony that makes one."""
DISK_ESCROW_KEY = "escrow/disk-key"
"""The step that makes the disk escrow key of the same generation."""

_PUBLIC = "PUBLIC_KEY"


def check_trusted(token: CeremonyToken, label: str, spki: bytes) -> None:
    """Raise IntegrityFailure unless the token trusts exactly this key under the label."""
    wanted = unb64u(digest(spki)).hex()
    found = [one for one in token.dump(label) if one["class"] == _PUBLIC]
    if [(one["id"], one["trusted"]) for one in found] != [(wanted, True)]:
        raise IntegrityFailure(f"the token {token.label} trusts another key as {label}")


def own_key(room: Room, section: str, use: SigningUse, label: str) -> bytes:
    """Return the signing key (SPKI, DER) that a step of this ceremony made, once its token trusts
    exactly that: the journal, which tells of it, lies in the state directory too.
    """
    spki = spki_of(room, f"{section}/{use}/{label}")
    check_trusted(room.tokens(label), f"{use}/{FIRST}", spki)
    return spki


def own_vault(
    room: Room, section: str, label: str, release_class: ReleaseClass
) -> tuple[int, bytes]:
    """Return version and vault key that a step of this ceremony made, as ``own_key`` does."""
    step = f"{section}/{RecipientKind.VAULT}/{label}"
    version, spki = int(room.facts[step]["version"]), spki_of(room, step)
    name = f"{RecipientKind.VAULT}/{version}/{release_class}"
    check_trusted(room.tokens(label), name, spki)
    return version, spki


def root_in_force(room: Room) -> bytes:
    """Return the newest site root (SPKI, DER), once the site's token trusts exactly that."""
    spki = spki_der(site_root(room.files))
    check_trusted(room.tokens(room.brief.site.token()), f"{SigningUse.SITE_ROOT}/{FIRST}", spki)
    return spki


def check_statements(room: Room) -> None:
    """Raise IntegrityFailure unless site root, register and key list are the present ones."""
    root_in_force(room)
    check_register(room)
    _check_key_list(room)


def check_register(room: Room, *, ahead: bool = False) -> None:
    """Raise IntegrityFailure unless the ceremony was called under the register that the log names
    last, apart from this ceremony's own. It may be ``ahead`` of a log that has no token to keep it.
    """
    last, brief = room.records.newest(Issued.REGISTER), room.brief
    if last.number and not brief.register_token:
        raise AlreadyExists(
            "a site was founded here already", hint="its officers change by replace-officer"
        )
    version = brief.register.version if brief.register_token else 0
    if ahead and version > last.number:
        return
    if (version, register_digest(brief.register_token)) != (last.number, last.sha256):
        raise _stale(
            f"the register of people is not number {last.number}, which the log names last"
        )


def escrow_in_force(room: Room) -> EscrowRecord:
    """Return the escrow generation that the log names last, apart from this ceremony's own, once
    the site's token trusts exactly its keys; raise NotFound, IntegrityFailure.
    """
    record = escrow_named(room)
    check_site_trusts(room, record)
    return record


def escrow_named(room: Room) -> EscrowRecord:
    """Return the escrow generation that the log names last, as ``escrow_in_force``, where the
    site's token may be lost: whoever writes to the log can have planted it, so nothing is wrapped
    to its keys before their private halves have been opened with the officers' shares.
    """
    last, disks = room.records.newest(Issued.ESCROW), room.records.newest(Issued.DISK_ESCROW)
    if not last.number:
        raise NotFound("the site has no escrow key", hint="hold the ceremony initialise-site first")
    record = read_escrow(room.files, last.number)
    told = (last.number, last.sha256), (disks.number, disks.sha256)
    if told != tuple((record.generation, digest(key)) for key in (record.key, record.disk_key)):
        raise _stale(f"the escrow keys are not those of generation {last.number} in the log")
    return record


def check_site_trusts(room: Room, record: EscrowRecord) -> None:
    """Raise IntegrityFailure unless the site's token trusts an escrow generation's keys."""
    check_trusts_escrow(room.tokens(room.brief.site.token()), record)


def check_trusts_escrow(token: CeremonyToken, record: EscrowRecord) -> None:
    """Raise IntegrityFailure unless a token trusts an escrow generation's keys."""
    check_trusted(token, escrow_label(record.generation), record.key)
    check_trusted(token, disk_escrow_label(record.generation), record.disk_key)


def trust_escrow_keys(token: CeremonyToken, record: EscrowRecord) -> Facts:
    """Let a token trust both keys of an escrow generation, unless it does; raise
    IntegrityFailure if it trusts others under their labels.
    """
    there, number = token.labels(), record.generation
    if escrow_label(number) not in there:
        token.trust_escrow(number, record.key)
    if disk_escrow_label(number) not in there:
        token.trust_disk_escrow(number, record.disk_key)
    check_trusts_escrow(token, record)
    return {"generation": number, "kid": digest(record.key), "disk_kid": digest(record.disk_key)}


def destroy_escrow_keys(token: CeremonyToken, generation: int) -> None:
    """Destroy what a token trusts of an escrow generation; raise IntegrityFailure if it stays."""
    labels = {escrow_label(generation), disk_escrow_label(generation)}
    for label in sorted(labels):
        token.destroy(label)
    left = labels.intersection(token.labels())
    if left:
        raise IntegrityFailure(f"the token {token.label} still trusts {min(left)}")


def escrow_label(generation: int) -> str:
    """Return the label under which tokens trust an escrow key."""
    return f"{RecipientKind.ESCROW}/{generation}"


def disk_escrow_label(generation: int) -> str:
    """Return the label under which tokens trust a disk escrow key."""
    return f"disk-escrow/{generation}"


def escrow_replaced(room: Room, new: EscrowRecord) -> EscrowRecord:
    """Return the escrow generation before ``new``, which this ceremony made, and destroys in the
    end on the site's token too. Raise NotFound, IntegrityFailure.
    """
    old = escrow_named(room)
    if old.generation != new.generation - 1:
        raise _stale(f"the log names escrow generation {old.generation} before {new.generation}")
    token = room.tokens(room.brief.site.token())
    labels = {
        escrow_label(old.generation): old.key,
        disk_escrow_label(old.generation): old.disk_key,
    }
    for label in labels.keys() & set(token.labels()):
        check_trusted(token, label, labels[label])
    return old


def escrow_made(room: Room, number: int) -> EscrowRecord:
    """Return the escrow generation that this ceremony made; raise IntegrityFailure if its file has
    other keys than the steps that made them, or the site's token trusts others.
    """
    record = read_escrow(room.files, number)
    made = room.facts[ESCROW_KEY]["kid"], room.facts[DISK_ESCROW_KEY]["kid"]
    if (record.generation, digest(record.key), digest(record.disk_key)) != (number, *made):
        raise IntegrityFailure(f"the escrow key of generation {number} was put in place of ours")
    check_site_trusts(room, record)
    return record


def _check_key_list(room: Room) -> None:
    """Let it be ahead of the log, which an interruption leaves so: only the root signs a list."""
    last = room.records.newest(Issued.KEY_LIST)
    number = newest(room.files, archive.KEY_LIST, "key list")
    sha256 = digest(room.files.read(archive.KEY_LIST.format(number)))
    stale = number < last.number or (number == last.number and sha256 != last.sha256)
    if stale or key_list(room.files).version != number:
        raise _stale(f"the key list is not number {last.number}, which the log names last")


def _stale(text: str) -> IntegrityFailure:
    return IntegrityFailure(
        text, hint="bring the newest state directory back: tokens and log are right"
    )
