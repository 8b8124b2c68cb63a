"""Writes a new plan of a kind: the kind's example with this site's id, people and space filled in,
and a comment on every field. People look it through before anybody signs it.
"""

import json
import re
import textwrap
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kms.ceremonies.ceremony import Ceremony
from kms.ceremonies.paper.sample import example_register
from kms.ceremonies.people.quorum import needed_groups
from kms.domain.people import Group, Part, Person, Register
from kms.i18n import _

_DAYS_TO_EXPIRY = 7
_COLUMNS = 98
_LAST_FIELD = re.compile(r"^expires = .*\n+", re.MULTILINE)
_SPACE = re.compile(r'^space = ".*"$', re.MULTILINE)
_KEYS = re.compile(
    r"(?<=^-----BEGIN PUBLIC KEY-----\n)[^-]+|(?<=^card = \")[^\"]+|(?<=^tls_key = \")[^\"]+"
    r"|(?<=^appliance = \")[^\"]+",
    re.MULTILINE,
)
"""Keys and cards of the example: nobody may sign a plan in which one was forgotten."""
_FILL_IN = "FILL IN\n"
_GENERATION = re.compile(r"^generation = [0-9]+$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Known:
    """What is filled in. ``spaces`` are those that the ceremony may be about, ``generation`` the
    escrow generation in force (0 before the first), ``taken`` the ids in use. Before a site's first
    register people stay those of the example. ``parameters``, if any, take the place of the
    example's.
    """

    site: str
    spaces: Sequence[str]
    generation: int
    register: Register | None
    taken: Collection[str]
    parameters: str = ""


def blank_plan(ceremony: Ceremony, known: Known, now: int) -> str:
    """Return a plan (TOML); ``now`` in whole seconds."""
    example = tomllib.loads(ceremony.example)
    today = datetime.fromtimestamp(now, UTC)
    fields = {
        "version": 1,
        "ceremony": ceremony.name,
        "id": _free(f"{ceremony.name}-{today:%Y-%m-%d}", known.taken),
        "site": known.site,
        "purpose": example["purpose"],
        **_people(ceremony, example, known.register, now),
        "expires": f"{today + timedelta(days=_DAYS_TO_EXPIRY):%Y-%m-%dT00:00:00Z}",
    }
    lines = [*_comment(_(ceremony.title)), *_comment(_(ceremony.purpose)), ""]
    for name, value in fields.items():
        lines += [
            *_remark(name, ceremony, known.register, now),
            f"{name} = {_spelled(name, value)}",
        ]
    return "\n".join([*lines, "", _parameters(ceremony.example, known)])


def _people(
    ceremony: Ceremony, example: dict[str, Any], register: Register | None, now: int
) -> dict[str, Any]:
    names = ("administrator", "witness", "auditor", "officers")
    if register is None:
        return {name: example[name] for name in names}
    present = [person for person in register.people if person.in_office(now)]
    everybody = _names_everybody(example)
    first = {
        part.value: next((person.name for person in present if person.part is part), "")
        for part in (Part.ADMINISTRATOR, Part.WITNESS, Part.AUDITOR)
    }
    officers = [
        person.name
        for group in needed_groups(register, ceremony.needs)
        for person in _members(register, group, now)[: None if everybody else group.threshold]
    ]
    return {**first, "officers": officers}


def _names_everybody(example: dict[str, Any]) -> bool:
    """Whether a kind's example takes in all officers, as a drill does, not just a quorum."""
    people = example_register().people
    return {one.name for one in people if one.part is Part.OFFICER} <= set(example["officers"])


def _members(register: Register, group: Group, now: int) -> list[Person]:
    return [person for person in register.holders(group.name) if person.in_office(now)]


def _remark(name: str, ceremony: Ceremony, register: Register | None, now: int) -> list[str]:
    match name:
        case "id":
            return _comment(_("The ceremony's name in the log; a name is used once."))
        case "purpose":
            return _comment(_("Why it is held, in a sentence. It stands in the transcript."))
        case "administrator":
            return _comment(_("Who runs the script, who watches, who checks; no two are one."))
        case "officers":
            lines = _comment(_("Officers who take part; the first ones give their shares."))
            groups = needed_groups(register, ceremony.needs) if register else ()
            return [*lines, *(_choice(register, group, now) for group in groups if register)]
        case "expires":
            return _comment(_("Until then it can be approved and run (UTC)."))
        case _:
            return []


def _choice(register: Register, group: Group, now: int) -> str:
    text = _("group {group}, at least {threshold} of: {people}")
    people = ", ".join(person.name for person in _members(register, group, now))
    return f"#   {text.format(group=group.name, threshold=group.threshold, people=people)}"


def _parameters(example: str, known: Known) -> str:
    """Return the example's parameters with its comments, about a space that this site has."""
    if known.parameters:
        return known.parameters
    text = _LAST_FIELD.split(example, maxsplit=1)[1]
    space = _SPACE.search(text)
    if known.spaces and space and tomllib.loads(space[0])["space"] not in known.spaces:
        text = text.replace(space[0], f"space = {json.dumps(known.spaces[0])}", 1)
    if known.register:
        text = _KEYS.sub(_filled, text)
    if known.generation:
        text = _GENERATION.sub(f"generation = {known.generation}", text)
    return text.rstrip("\n") + "\n"


def _filled(found: re.Match[str]) -> str:
    return _FILL_IN if found[0].endswith("\n") else _FILL_IN.strip()


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _COLUMNS)]


def _spelled(name: str, value: object) -> str:
    """Return a value as TOML; JSON spells strings, numbers and lists the same way."""
    return str(value) if name == "expires" else json.dumps(value, ensure_ascii=False)


def _free(wanted: str, taken: Collection[str]) -> str:
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
