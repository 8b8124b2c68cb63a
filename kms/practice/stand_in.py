"""Plans that make a stand-in of a site: the same people by name and part, the same spaces, nothing
of its keys.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from kms.domain.models import ReleaseClass
from kms.domain.people import Part, Person, Register
from kms.practice import certificates
from kms.practice.material import pem_of, server_key
from kms.statements.canonical import b64u

_DAYS, _TERM_DAYS = 7, 400
_TLS_KEY = b64u(bytes(32))
_TRUSTED = ("server", "recorder")


@dataclass(frozen=True, slots=True)
class StandIn:
    """Writes the plans; ``cards`` are those of the people's stand-in credentials."""

    register: Register
    cards: Mapping[str, str]
    now: int

    def found(self) -> str:
        """Return the plan that founds the stand-in site."""
        groups = [
            f"[[parameters.groups]]\nname = {_quoted(group.name)}\nthreshold = {group.threshold}\n"
            for group in self.register.groups
        ]
        people = [self._person(person) for person in self._present()]
        return self._plan("initialise-site", "found", "\n".join([*groups, *people]))

    def create(self, space: str, release_class: ReleaseClass) -> str:
        """Return the plan that creates a space."""
        return self._plan(
            "create-space", f"create-{space}", _fields(space=space, release_class=release_class)
        )

    def register_recipient(self, space: str, kind: str, name: str) -> str:
        """Return the plan that registers a recipient, with a key that is nobody's."""
        key = _stand_in_key(kind)
        tls_key = "" if kind == "device-anchor" else _TLS_KEY
        fields = {"space": space, "kind": kind, "name": name, "public_key": key, "tls_key": tls_key}
        return self._plan("register-recipient", f"register-{name}", _fields(**fields))

    def retire(self, space: str) -> str:
        """Return the plan that retires a space."""
        return self._plan("retire-space", f"retire-{space}", _fields(space=space))

    def renew(self, generation: int) -> str:
        """Return the plan that makes an escrow generation."""
        fields = 'reason = "schedule"\nremove = []\nadd = []\n'
        return self._plan("new-generation", f"generation-{generation}", fields)

    def _plan(self, kind: str, name: str, parameters: str) -> str:
        """Return a plan in which everybody takes part."""
        people = self._present()
        named = {part: next(one.name for one in people if one.part is part) for part in Part}
        officers = [one.name for one in people if one.part is Part.OFFICER]
        return (
            f"version = 1\nceremony = {_quoted(kind)}\nid = {_quoted(f'stand-in-{name}'[:48])}\n"
            f"site = {_quoted(self.register.site)}\n"
            'purpose = "Make a stand-in site for a rehearsal."\n'
            f"administrator = {_quoted(named[Part.ADMINISTRATOR])}\n"
            f"witness = {_quoted(named[Part.WITNESS])}\n"
            f"auditor = {_quoted(named[Part.AUDITOR])}\nofficers = {_quoted(officers)}\n"
            f"expires = {_moment(self.now + _DAYS * 86_400)}\n\n[parameters]\n{parameters}"
        )

    def _present(self) -> Sequence[Person]:
        return [person for person in self.register.people if not person.removed]

    def _person(self, person: Person) -> str:
        today = datetime.fromtimestamp(self.now, UTC).replace(hour=0, minute=0, second=0)
        fields: dict[str, Any] = {"name": person.name, "display": person.display,
                                  "part": person.part}  # fmt: skip
        if person.group:
            fields |= {"group": person.group, "share": person.share}
        end = today + timedelta(days=_TERM_DAYS)
        return (
            f"[[parameters.people]]\n{_fields(**fields, card=self.cards[person.name])}"
            f"term_from = {_moment(today.timestamp())}\nterm_until = {_moment(end.timestamp())}\n"
        )


def _stand_in_key(kind: str) -> str:
    if kind == "device-anchor":
        authority = certificates.make_authority("Stand-in device CA")
        return authority.certificate.public_bytes(Encoding.PEM).decode()
    release_class = ReleaseClass.TRUSTED if kind in _TRUSTED else ReleaseClass.ROSTER
    return pem_of(server_key(release_class))


def _fields(**fields: Any) -> str:
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in fields.items())


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _quoted(value: object) -> str:
    """Return a value as TOML; JSON spells strings, numbers and lists the same way."""
    return json.dumps(value, ensure_ascii=False)
