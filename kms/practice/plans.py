"""The plans of a practice site's ceremonies: found it, create its spaces, register in them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kms.domain.models import ReleaseClass
from kms.practice.layout import (
    ADMINISTRATOR,
    AUDITOR,
    DEVICE_ANCHOR,
    OFFICERS,
    PEOPLE,
    QUORUM,
    SPACES,
    THRESHOLDS,
    WITNESS,
    PracticePerson,
    PracticeSpace,
)

_DAYS = 30
_TERM_DAYS = 730
_SECURITY = tuple(one for one in QUORUM if one.group == "security")


@dataclass(frozen=True, slots=True)
class Server:
    """What is registered of a meeting server: its key (SPKI, PEM) and the id of its TLS key."""

    public_key: str
    tls_key: str


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes plans of one site, made at one time."""

    site: str
    now: datetime

    def all(
        self, cards: Mapping[str, str], servers: Mapping[str, Server], device_ca: str
    ) -> Iterator[tuple[str, str]]:
        """Yield id and text (TOML) of each plan in order; ``cards`` by person, ``servers`` by name,
        ``device_ca`` a certificate (PEM).
        """
        yield self._initialise(cards)
        for space in SPACES:
            yield self._create(space)
            if space.release_class is ReleaseClass.ROSTER:
                yield self._register(space, "device-anchor", DEVICE_ANCHOR, Server(device_ca, ""))
            for name in space.servers:
                kind = "server" if space.release_class is ReleaseClass.TRUSTED else _AUTHORITY
                yield self._register(space, kind, name, servers[name])

    def _initialise(self, cards: Mapping[str, str]) -> tuple[str, str]:
        groups = [
            f"[[parameters.groups]]\nname = {_quoted(name)}\nthreshold = {threshold}\n"
            for name, threshold in THRESHOLDS.items()
        ]
        people = [self._person(person, cards[person.name]) for person in PEOPLE]
        return self._plan(
            "initialise-site",
            "initialise-site",
            "Found the practice site.",
            OFFICERS,
            "\n".join([*groups, *people]),
        )

    def _person(self, person: PracticePerson, card: str) -> str:
        today = self.now.replace(hour=0, minute=0, second=0)
        office = f"group = {_quoted(person.group)}\nshare = {person.share}\n"
        return (
            f"[[parameters.people]]\nname = {_quoted(person.name)}\n"
            f"display = {_quoted(person.display)}\npart = {_quoted(person.part)}\n"
            f"{office if person.group else ''}"
            f"term_from = {_moment(today)}\n"
            f"term_until = {_moment(today + timedelta(days=_TERM_DAYS))}\n"
            f"card = {_quoted(card)}\n"
        )

    def _create(self, space: PracticeSpace) -> tuple[str, str]:
        return self._plan(
            "create-space",
            f"create-{space.name}",
            f"Give the department {space.name} keys of its own.",
            _SECURITY,
            f"space = {_quoted(space.name)}\nrelease_class = {_quoted(space.release_class)}\n",
        )

    def _register(
        self, space: PracticeSpace, kind: str, name: str, server: Server
    ) -> tuple[str, str]:
        return self._plan(
            "register-recipient",
            f"register-{name}",
            f"Let {name} serve the department {space.name}.",
            _SECURITY,
            f"space = {_quoted(space.name)}\nkind = {_quoted(kind)}\nname = {_quoted(name)}\n"
            f'public_key = """\n{server.public_key}"""\ntls_key = {_quoted(server.tls_key)}\n',
        )

    def _plan(
        self,
        ceremony: str,
        name: str,
        purpose: str,
        officers: Sequence[PracticePerson],
        parameters: str,
    ) -> tuple[str, str]:
        text = (
            f"version = 1\nceremony = {_quoted(ceremony)}\nid = {_quoted(name)}\n"
            f"site = {_quoted(self.site)}\npurpose = {_quoted(purpose)}\n"
            f"administrator = {_quoted(ADMINISTRATOR.name)}\nwitness = {_quoted(WITNESS.name)}\n"
            f"auditor = {_quoted(AUDITOR.name)}\n"
            f"officers = {json.dumps([one.name for one in officers])}\n"
            f"expires = {_moment(self.now + timedelta(days=_DAYS))}\n\n[parameters]\n{parameters}"
        )
        return name, text


_AUTHORITY = "roster-authority"


def plan_time(now: float) -> datetime:
    """Return the moment of ``now`` (seconds since 1970) in whole seconds."""
    return datetime.fromtimestamp(int(now), UTC)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _quoted(value: object) -> str:
    """Return a TOML basic string; JSON's escapes are a subset of TOML's."""
    return json.dumps(str(value), ensure_ascii=False)
