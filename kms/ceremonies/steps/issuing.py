"""Issues what the site root signs: the statement's file, and the leaf that tells of it.

For forward sections: everything bears being repeated.
"""

from collections.abc import Sequence
from typing import Any

from kms.ceremonies.ports import Entry
from kms.ceremonies.room import Facts, Room
from kms.ceremonies.steps.generations import EscrowRecord
from kms.ceremonies.steps.state import key_list, write_key_list, write_register
from kms.domain.people import Register
from kms.statements.canonical import digest
from kms.statements.keylist import ListedKey


def issue_register(room: Room, register: Register) -> Facts:
    """Sign, write and log a register, unless this ceremony's is there already."""
    facts = write_register(room, register)
    _tell(room, "register.change", f"register/{facts['version']}", facts)
    return facts


def issue_key_list(room: Room, keys: Sequence[ListedKey]) -> Facts:
    """Sign, write and log a list of exactly these keys, unless the newest has the same."""
    facts = write_key_list(room, keys)
    _tell(room, "key-list.issue", f"key-list/{facts['version']}", facts)
    return facts


def add_to_key_list(room: Room, *keys: ListedKey) -> Facts:
    """Issue a list of the present keys and of these, unless they are listed."""
    old = key_list(room.files).keys
    known = {key.kid for key in old}
    return issue_key_list(room, (*old, *(key for key in keys if key.kid not in known)))


def log(room: Room, action: str, resource: str, **details: Any) -> None:
    """Write a leaf about the site that changes no row; its details name this ceremony."""
    told = {"ceremony": room.brief.plan.file.id, **details}
    room.records.write(Entry(action, "", resource, told))


def log_generation(room: Room, record: EscrowRecord) -> Facts:
    """Log that an escrow generation was made: what anchors.py holds its files against."""
    kid, disk_kid = digest(record.key), digest(record.disk_key)
    place = f"escrow/{record.generation}"
    told = {"generation": record.generation, "spki": kid, "disk_spki": disk_kid}
    log(room, "escrow.generate", place, **told)
    return {"generation": record.generation, "kid": kid, "disk_kid": disk_kid}


def _tell(room: Room, action: str, resource: str, facts: Facts) -> None:
    log(room, action, resource, version=facts["version"], sha256=facts["sha256"])
