"""Whether what lies in the state directory is what the site issued last. A file there proves
nothing: an older one, or one of another root, can be put back by whoever writes to the directory.

Site root and escrow key are held against the site's token, which trusts them since the officers'
session in which they were made, and so are keys that the ceremony's own journal tells of; register,
key list and escrow key against the log, whose head is on that token.
"""

from kms.ceremonies.ports import CeremonyToken, Issued, SigningUse
from kms.ceremonies.record.request import register_digest
from kms.ceremonies.room import Room
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

_PUBLIC = "PUBLIC_KEY"


def check_trusted(token: CeremonyToken, label: str, spki: bytes) -> None:
    """Raise IntegrityFailure unless the token trusts exactly this key under the label."""
    wanted = unb64u(digest(spki)).hex()
    found = [one for one in token.dump() if (one["label"], one["class"]) == (label, _PUBLIC)]
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
    the site's token trusts exactly its key; raise NotFound, IntegrityFailure.
    """
    record = escrow_named(room)
    check_site_trusts(room, record)
    return record


def escrow_named(room: Room) -> EscrowRecord:
    """Return the escrow generation that the log names last, as ``escrow_in_force``, where the
    site's token may be lost: whoever writes to the log can have planted it, so nothing is wrapped
    to its key before its private half has been opened with the officers' shares.
    """
    last = room.records.newest(Issued.ESCROW)
    if not last.number:
        raise NotFound("the site has no escrow key", hint="hold the ceremony initialise-site first")
    record = read_escrow(room.files, last.number)
    if (record.generation, digest(record.key)) != (last.number, last.sha256):
        raise _stale(f"the escrow key is not that of generation {last.number} that the log names")
    return record


def check_site_trusts(room: Room, record: EscrowRecord) -> None:
    """Raise IntegrityFailure unless the site's token trusts an escrow generation's key."""
    check_trusted(room.tokens(room.brief.site.token()), escrow_label(record.generation), record.key)


def escrow_label(generation: int) -> str:
    """Return the label under which tokens trust an escrow key."""
    return f"{RecipientKind.ESCROW}/{generation}"


def escrow_replaced(room: Room, new: EscrowRecord) -> EscrowRecord:
    """Return the escrow generation before ``new``, which this ceremony made, and destroys in the
    end on the site's token too. Raise NotFound, IntegrityFailure.
    """
    old = escrow_named(room)
    if old.generation != new.generation - 1:
        raise _stale(f"the log names escrow generation {old.generation} before {new.generation}")
    if escrow_label(old.generation) in room.tokens(room.brief.site.token()).labels():
        check_site_trusts(room, old)
    return old


def escrow_made(room: Room, number: int) -> EscrowRecord:
    """Return the escrow generation that this ceremony made; raise IntegrityFailure if its file has
    another key than the step that made it, or the site's token trusts another.
    """
    record = read_escrow(room.files, number)
    if (record.generation, digest(record.key)) != (number, room.facts[ESCROW_KEY]["kid"]):
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
