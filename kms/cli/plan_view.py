"""Shows a plan so that people know what they sign: who, what, until when, and its digest."""

import json
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.people.quorum import needed_groups
from kms.ceremonies.people.words import digest_words
from kms.ceremonies.plan import Plan
from kms.cli.output import Column, Output
from kms.domain.people import Part, Register
from kms.errors import VerificationFailed
from kms.i18n import _
from kms.statements.card import read_card
from kms.statements.jws import spki_id

_HEAD = (
    Column("Ceremony", "id"),
    Column("Kind", "title"),
    Column("Site", "site"),
    Column("Purpose", "purpose"),
    Column("Administrator", "administrator"),
    Column("Witness", "witness"),
    Column("Auditor", "auditor"),
    Column("Officers", "officers", ", ".join),
    Column("Approval", "approval"),
    Column("Can be approved until", "expires"),
)
_TAIL = (Column("SHA-256 of the plan", "sha256"), Column("The same in words", "words", " ".join))
_OF_PARAMETER = "parameters."


def plan_document(plan: Plan, ceremony: Ceremony, register: Register | None) -> dict[str, Any]:
    """Return what a plan says as one JSON document."""
    file = plan.file
    return {
        "id": file.id,
        "kind": ceremony.name,
        "title": _(ceremony.title),
        "site": file.site,
        "purpose": file.purpose,
        "administrator": file.administrator,
        "witness": file.witness,
        "auditor": file.auditor,
        "officers": list(file.officers),
        "must_sign": must_sign(plan, ceremony, register),
        "expires": file.expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sha256": plan.sha256.hex(),
        "words": list(digest_words(plan.sha256)),
        "parameters": json.loads(json.dumps(file.parameters, default=str)),
    }


def must_sign(plan: Plan, ceremony: Ceremony, register: Register | None) -> dict[str, Any]:
    """Return who must approve: the people, and of each group needed how many of which officers."""
    file = plan.file
    groups = needed_groups(register, ceremony.needs) if register else ()
    return {
        "people": [file.administrator, file.witness, file.auditor],
        "groups": {
            group.name: {"threshold": group.threshold, "of": _of(plan, register, group.name)}
            for group in groups
            if register
        },
    }


def _of(plan: Plan, register: Register, group: str) -> list[str]:
    members = {person.name for person in register.holders(group)}
    return [name for name in plan.file.officers if name in members]


def show_plan(output: Output, document: dict[str, Any]) -> None:
    """Print the plan as one line for each thing that it says."""
    row, columns = _fields_of(document)
    output.record(document, row, columns)


def note_plan(output: Output, document: dict[str, Any]) -> None:
    """Show the same as remarks, for a command whose result is something else; without the plan's
    words, since on that screen people compare those of what they sign.
    """
    row, columns = _fields_of(document)
    for one in columns[:-1]:
        output.note(f"{_(one.heading)}: {one.show(row[one.field])}")


def _fields_of(document: dict[str, Any]) -> tuple[dict[str, Any], tuple[Column, ...]]:
    parameters = document["parameters"]
    row = {
        **document,
        "approval": _approval(document["must_sign"]),
        **{_OF_PARAMETER + name: _whole(name, value) for name, value in parameters.items()},
    }
    columns = [Column(name, _OF_PARAMETER + name, spoken) for name in parameters]
    return row, (*_HEAD, *columns, *_TAIL)


def _whole(name: str, value: Any) -> Any:
    """Return a parameter; that an empty space is the whole box must not look like nothing."""
    return _("the whole box") if name == "space" and value == "" else value


def _approval(must: dict[str, Any]) -> str:
    texts = list(must["people"])
    for name, group in must["groups"].items():
        text = _("{threshold} of group {group} ({people})")
        people = ", ".join(group["of"])
        texts.append(text.format(threshold=group["threshold"], group=name, people=people))
    return ", ".join(texts)


def spoken(value: Any) -> str:
    """Return a parameter in one line. Keys, certificates and cards are named by the digest of
    their key, which people can compare; everything else is shown as it is.
    """
    match value:
        case str():
            return _named(value)
        case list() if value and all(isinstance(one, dict) for one in value):
            return "; ".join(" ".join(_fields(one)) for one in value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _fields(table: dict[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        if value not in ("", 0):
            yield f"{name}={spoken(value)}"


def _named(value: str) -> str:
    try:
        if value.startswith("-----BEGIN PUBLIC KEY"):
            return f"SPKI {spki_id(load_pem_public_key(value.encode()))}"
        if value.startswith("-----BEGIN CERTIFICATE"):
            certificate = x509.load_pem_x509_certificate(value.encode())
            key = certificate.public_key()
            name = certificate.subject.rfc4514_string()
            return f"{name} SPKI {spki_id(key)}"
        if value.startswith("eyJ"):
            return read_card(value).credential.kid
    except (ValueError, UnsupportedAlgorithm, VerificationFailed):
        return value
    return value


def part_of(plan: Plan, name: str) -> Part:
    """Return the part that a plan gives a person."""
    file = plan.file
    others = {
        file.administrator: Part.ADMINISTRATOR,
        file.witness: Part.WITNESS,
        file.auditor: Part.AUDITOR,
    }
    return others.get(name, Part.OFFICER)
