"""The tables of the key API: its listeners and its local callers."""

from pathlib import Path
from typing import Annotated

import msgspec

from kms.domain.models import Role
from kms.settings.values import Positive, Seconds
from kms.strict import Section


class Tls(Section, frozen=True):
    """The mutual-TLS listener. Without this table there is only the Unix socket."""

    address: str
    """Loopback or a named private IP address; a wildcard or public one is refused."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)]
    """0 lets the system choose; endpoints.json says what it chose."""
    certificate: Path
    """The service's certificate with its chain (PEM)."""
    key: Path
    """Its private key (PEM, without a passphrase)."""
    client_ca: Path
    """The authority of client certificates (PEM); a certificate must be registered as well."""
    hosts: tuple[str, ...] = ()
    """Names that requests may give as Host, beside the address."""


class Api(Section, frozen=True):
    """The key API's listeners and limits."""

    socket_group: str = ""
    """Group that may connect to the Unix socket (0660); empty: the service's own group."""
    tls: Tls | None = None
    max_body: Positive = 1 << 20
    """Most bytes of a request's body."""
    max_header: Positive = 16 << 10
    """Most bytes of a request's head."""
    request_seconds: Seconds = 30.0
    """How long a request may take to arrive and to be answered; streams of events may go on."""
    idle_seconds: Seconds = 75.0
    """How long an idle connection is kept."""
    max_connections: Positive = 1000
    """Most connections of each listener; a quarter of it is the most streams of events."""


class Caller(Section, frozen=True):
    """A local caller, recognised by the uid of its socket (SO_PEERCRED)."""

    uid: int
    """Its user id; 0 is nothing special."""
    principal: str
    """Its name in the log."""
    roles: tuple[Role, ...]
    """What it may do; the policies say what each role may."""
    spaces: tuple[str, ...]
    """The spaces that it may know of; "*" stands for all."""
    department: str = ""
    """Its department, for policies (docs/policy.md)."""
    business_type: str = ""
    """Its line of business, for policies."""
    region: str = ""
    """Its region, for policies."""
    staff_number: str = ""
    """The person's staff number, for policies; empty for programs."""
