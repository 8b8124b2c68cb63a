"""Destruction certificates: what was destroyed, by which method, when, by whom, under whose eyes,
and what closes the copies in older backups. A canonical JSON file; its printed form comes from it.
"""

from dataclasses import dataclass

from kms.ceremonies.ports import Files
from kms.ceremonies.room import Facts, Room
from kms.ceremonies.steps.state import file_facts, write_same
from kms.statements.canonical import decode_record, encode_record


@dataclass(frozen=True, slots=True)
class Destroyed:
    """One thing that was destroyed: what it was, its id (SPKI digest, label or name), from where
    and how. Texts are English source texts of the catalogue.
    """

    what: str
    id: str
    place: str
    method: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate; ``time`` in whole seconds. ``executor`` and ``supervisor`` are people of
    the register, ``backups`` says what closes older backups.
    """

    site: str
    ceremony: str
    time: int
    executor: str
    supervisor: str
    auditor: str
    content: tuple[Destroyed, ...]
    backups: str


def certificate_name(ceremony: str) -> str:
    """Return the name of a ceremony's certificate in the state directory."""
    return f"certificates/{ceremony}.json"


def read_certificate(files: Files, ceremony: str) -> Certificate:
    """Return a certificate; raise NotFound, InvalidInput."""
    return decode_record(files.read(certificate_name(ceremony)), Certificate)


def write_certificate(room: Room, content: tuple[Destroyed, ...], backups: str) -> Facts:
    """Write this ceremony's certificate, unless it is there; return its file, SHA-256 and text."""
    plan = room.brief.plan.file
    name = certificate_name(plan.id)
    if name not in room.files.names():
        made = Certificate(
            site=plan.site,
            ceremony=plan.id,
            time=room.now(),
            executor=plan.administrator,
            supervisor=plan.witness,
            auditor=plan.auditor,
            content=content,
            backups=backups,
        )
        write_same(room.files, name, encode_record(made))
    found = read_certificate(room.files, plan.id)
    return {**file_facts(room.files, name), "content": [one.id for one in found.content]}
