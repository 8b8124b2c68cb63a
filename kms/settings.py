"""The configuration: one strict TOML file, read once, no secrets in it.

The sentence below a key is its meaning in docs/settings.md.
"""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from kms.domain.alerts import Severity
from kms.domain.ids import parse_space
from kms.domain.models import Role
from kms.domain.passkeys import MOST_PRESENCE_SECONDS
from kms.domain.reports import Every
from kms.errors import ConfigurationError, InvalidInput
from kms.i18n import Language
from kms.logs import Form, Level
from kms.strict import Section, read_toml

DEFAULT_PATH = Path("/etc/conclave/conclave.toml")

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
_HOUR = 3600
_ORIGIN = re.compile(r"(https?)://([a-z0-9]+(?:[.-][a-z0-9]+)*)(?::([1-9][0-9]{0,4}))?", re.ASCII)
_PORTS = {"http": 80, "https": 443}
_MOST_PORT = 65_535


class Site(Section, frozen=True):
    """The site itself."""

    id: str
    """Names the site in every statement and checkpoint; never changes."""
    banner: str = ""
    """Shown on every output, such as that of a practice site."""
    utc_offset_minutes: Annotated[int, msgspec.Meta(ge=-720, le=840)] = 480
    """By how many minutes the site's time, which people read at the board and in reports, is ahead
    of UTC."""


class Paths(Section, frozen=True):
    """Folders of the service."""

    state: Path = Path("/var/lib/conclave")
    """Holds the database and what ceremonies leave; only the service's user reads it."""
    run: Path = Path("/run/conclave")
    """Holds the sockets and endpoints.json; a socket's path has at most 107 bytes."""

    @property
    def database(self) -> Path:
        """Where the store lies."""
        return self.state / "conclave.db"

    @property
    def journal(self) -> Path:
        """Where the journal of the log lies: derived, made anew when it is gone."""
        return self.state / "board.db"

    @property
    def api_socket(self) -> Path:
        """Where local callers connect."""
        return self.run / "api.sock"

    def worker_socket(self, token: str) -> Path:
        """Where a token's worker listens."""
        return self.run / f"worker-{token}.sock"


class Token(Section, frozen=True):
    """A token of the HSM. Exactly one is the site's own."""

    label: str
    """The token's label, which also names it in the PIN document."""
    space: str = ""
    """The space whose keys it keeps; empty for the site's own token."""


class Hsm(Section, frozen=True):
    """The HSM behind the service."""

    profile: Path
    """The HSM's profile, a file of hsm_profiles/."""
    tokens: tuple[Token, ...]
    """The tokens, a worker process each."""
    deadline_seconds: Seconds = 10.0
    """How long one request to a worker may take; a worker that takes longer is killed."""
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    """Environment variables that the PKCS#11 module wants; set for the workers alone."""


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


class Audit(Section, frozen=True):
    """The audit log."""

    checkpoint_seconds: Annotated[float, msgspec.Meta(gt=0, le=_HOUR)] = 5.0
    """How often a checkpoint is signed: so long is the tail that nothing protects yet."""
    grace_seconds: Annotated[float, msgspec.Meta(ge=1, le=_HOUR)] = 30.0
    """How long a checkpoint may be overdue before key operations stop."""


class Rotation(Section, frozen=True):
    """The times of epochs."""

    publish_ahead_seconds: Annotated[int, msgspec.Meta(ge=1, le=60)] = 2
    """How long before its start an epoch can be fetched, after a join or a rotation by hand."""
    epoch_seconds: Annotated[int, msgspec.Meta(ge=60)] = 86_400
    """An epoch's maximum age, the manifest's exp: clients stop using it then."""
    interval_seconds: Annotated[int, msgspec.Meta(ge=0)] = 3600
    """How long after an epoch's start the next one is made, where a space's policy says nothing
    else; 0: only its maximum age ends it."""
    retention_seconds: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How long after a meeting's end its keys are kept at least, where a space's policy says
    nothing else."""
    vault_seconds: Annotated[int, msgspec.Meta(ge=0)] = 31_536_000
    """The cryptoperiod of vault keys, where a space's policy says nothing else: so long after one
    was made, a ceremony is due that makes the next; 0: never."""
    catch_up_per_second: Positive = 20
    """How many epochs a second are made at most after a standstill, or when many are due."""
    reseal_per_second: Positive = 200
    """How many epochs a second are wrapped to a new vault key at most, beside other work."""


class Disks(Section, frozen=True):
    """The encrypted disks of the appliance."""

    appliance_key: str = ""
    """The appliance daemon's public key (conclave-appliance key): disk keys are sealed to it, and
    without it none leaves the HSM. Only who may write this file can name another."""
    recovery_test_seconds: Annotated[int, msgspec.Meta(ge=0)] = 7_776_000
    """How often each disk gets a new recovery key that is tested and put under escrow; 0: only when
    people ask."""
    slot_key_seconds: Annotated[int, msgspec.Meta(ge=0)] = 31_536_000
    """The cryptoperiod of slot keys and KEKs; 0: replaced only when people ask."""


class Log(Section, frozen=True):
    """What the processes write to stderr; nothing of it is needed as evidence."""

    format: Form = "json"
    """A JSON object a line, with time, level, process, logger and message; or text for people."""
    level: Level = "info"
    """Lines that are less grave are not written."""


class Ceremonies(Section, frozen=True):
    """Key ceremonies."""

    software_credentials: bool = False
    """Whether people may sign with keys that lie in files: for practice, not for real sites."""


class AssertionWebAuthn(Section, frozen=True):
    """Where invited people's passkeys are used. Without this table none of them counts."""

    rp_id: str
    """The relying party's name, such as meet.bank.internal."""
    origins: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Where the meetings' own pages are, such as https://meet.bank.internal; not the board's."""
    maximum_age_seconds: Annotated[int, msgspec.Meta(ge=1, le=MOST_PRESENCE_SECONDS)] = 60
    """How long after its own time a statement of presence counts."""


class Assertion(Section, frozen=True):
    """Who shows to be at a device. Without this table no meeting is confidential."""

    issuer: str = ""
    """The name of the bank's own face and voice service: the claim iss."""
    audience: str = ""
    """This site's name there: in the claim aud."""
    key: Path | None = None
    """The service's public key: a JWK or PEM, P-256 (ES256) or RSA (RS256, PS256). issuer, audience
    and key go together; without them there is no service."""
    maximum_age_seconds: Annotated[int, msgspec.Meta(ge=1, le=600)] = 60
    """How long after the claim iat an assertion counts."""
    required_factors: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("face", "voice")
    """What the claim amr must hold, all of it."""
    webauthn: AssertionWebAuthn | None = None


class Watch(Section, frozen=True):
    """How often the service looks for what people must be told."""

    interval_seconds: Seconds = 10.0
    """How often it looks at the log's new entries and asks every token's worker."""
    survey_seconds: Seconds = 60.0
    """How often it counts keys in use, requests, grants and vault keys."""
    escrow_seconds: Seconds = float(_HOUR)
    """How often it sees whether every key could be recovered; that looks at every epoch."""
    sample_seconds: Seconds = 60.0
    """How often it notes for plots how fast envelopes are fetched and how busy each token is."""
    score_seconds: Seconds = 600.0
    """How often it notes the scores of open meetings; that looks at every one of them."""


class _Channel(Section, frozen=True, kw_only=True):
    name: Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9-]{0,31}$")]
    """Names the channel in status, log and metrics; how far it came is kept under this name."""
    severity: Severity = Severity.NOTICE
    """Alerts that are less grave are not told."""
    language: Language = Language.ZH
    """The language of what is told."""
    approvals: bool = True
    """Whether requests for approval are told too."""
    timeout_seconds: Seconds = 10.0
    """How long one delivery may take; then it is tried again."""


class Webhook(_Channel, frozen=True, kw_only=True):
    """A web server on the local network that gets each notice as a JSON POST."""

    url: str
    """https:, or http: on loopback; its host must have loopback or private addresses alone."""
    ca: Path | None = None
    """The authority of its certificate (PEM), and no other; needed for https:."""
    secret: Path | None = None
    """A file with the secret of the signature (HMAC-SHA256), 32 bytes at least, mode 0600."""


class Syslog(_Channel, frozen=True, kw_only=True):
    """A syslog receiver that gets each notice in the format of RFC 5424."""

    transport: Literal["unix", "udp", "tcp"] = "unix"
    """A local datagram socket, UDP, or TCP with octet counting (RFC 6587)."""
    path: Path = Path("/dev/log")
    """The local socket."""
    host: str = "127.0.0.1"
    """The receiver of udp and tcp; loopback or private addresses alone."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 514
    """Its port."""
    audit: bool = False
    """Whether every entry of the audit log is exported too, as structured data."""


class Mail(_Channel, frozen=True, kw_only=True):
    """A mail relay on the local network that gets each notice as a message."""

    host: str = "127.0.0.1"
    """The relay; loopback or private addresses alone."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 25
    """Its port."""
    sender: str
    """Whose name stands in From."""
    recipients: tuple[str, ...]
    """To whom it goes."""


class Notify(Section, frozen=True):
    """Where alerts and waiting requests are told: no channel, nobody is told by itself."""

    webhook: tuple[Webhook, ...] = ()
    syslog: tuple[Syslog, ...] = ()
    mail: tuple[Mail, ...] = ()


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


class BoardPerson(Section, frozen=True):
    """What the configuration adds to a person of the register of people, for the board."""

    person: str
    """The person's name in the register."""
    certificate: str = ""
    """The key of a client certificate that signs this person in: the SHA-256 of its SPKI
    (base64url); empty: passkeys alone."""
    department: str = ""
    """The person's department, for policies (docs/policy.md)."""
    business_type: str = ""
    """The person's line of business, for policies."""
    region: str = ""
    """The person's region, for policies."""
    staff_number: str = ""
    """The person's staff number, for policies."""


class Board(Section, frozen=True):
    """The board: pages for officers, auditors and operators. Without this table there is none."""

    origin: str
    """Where browsers find the board, such as https://conclave.bank.internal:8443: passkeys work
    there alone. http: is allowed for localhost on loopback."""
    address: str = "127.0.0.1"
    """Loopback or a named private IP address to listen on, at the origin's port."""
    certificate: Path | None = None
    """The board's certificate with its chain (PEM); needed for https:."""
    key: Path | None = None
    """Its private key (PEM, without a passphrase)."""
    client_ca: Path | None = None
    """The authority of client certificates (PEM); without it nobody signs in by certificate."""
    idle_seconds: Positive = 900
    """How long a session may rest."""
    session_seconds: Positive = 28_800
    """How long a session lasts at most."""
    confirm_seconds: Positive = 300
    """How long after proof of who one is risky acts are allowed; then it is asked for again."""
    most_failures: Positive = 5
    """After so many refused attempts from an address, or in a person's sessions, within a quarter
    of an hour, what else is refused there waits a second and is not logged, for as long; an
    enrolled passkey signs in at any time."""
    invitation_seconds: Annotated[int, msgspec.Meta(ge=60, le=259_200)] = 86_400
    """How long an invitation to enrol a passkey counts at most."""
    max_connections: Positive = 200
    """Most connections of browsers. A quarter of it, but no less than 16, is the most of one
    address; half of it is the most live pages."""
    person: tuple[BoardPerson, ...] = ()


class Reports(Section, frozen=True):
    """Compliance reports that the service makes by itself."""

    every: Every = Every.QUARTER
    """After which periods of the calendar a report is made: month, quarter or never."""


class Settings(Section, frozen=True):
    """The whole file."""

    site: Site
    hsm: Hsm
    paths: Paths = Paths()
    api: Api = Api()
    audit: Audit = Audit()
    rotation: Rotation = Rotation()
    ceremonies: Ceremonies = Ceremonies()
    disks: Disks = Disks()
    log: Log = Log()
    watch: Watch = Watch()
    notify: Notify = Notify()
    assertion: Assertion | None = None
    board: Board | None = None
    reports: Reports = Reports()
    caller: tuple[Caller, ...] = ()

    @property
    def site_token(self) -> Token:
        """The site's own token."""
        return next(token for token in self.hsm.tokens if not token.space)

    @property
    def space_tokens(self) -> tuple[Token, ...]:
        """The tokens of spaces."""
        return tuple(token for token in self.hsm.tokens if token.space)


def load(path: Path) -> Settings:
    """Return the checked settings of a file; raise ConfigurationError with the field's name."""
    settings = read_toml(path, Settings)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    if sum(not token.space for token in settings.hsm.tokens) != 1:
        raise ConfigurationError("exactly one [[hsm.tokens]] is the site's own (no space)")
    for names in (
        [token.label for token in settings.hsm.tokens],
        [token.space for token in settings.space_tokens],
        [str(caller.uid) for caller in settings.caller],
        [one.name for one in _channels(settings.notify)],
    ):
        if len(set(names)) != len(names):
            raise ConfigurationError("tokens, spaces, callers and channels are each named once")
    try:
        for token in settings.space_tokens:
            parse_space(token.space)
    except InvalidInput as error:
        raise ConfigurationError(error.message) from error
    if settings.api.tls:
        check_address(settings.api.tls.address)
    if settings.board:
        _check_board(settings.board)
    if settings.assertion:
        _check_assertion(settings.assertion, settings.board)


def _check_board(board: Board) -> None:
    check_address(board.address)
    scheme, host, _ = split_origin(board.origin)
    if scheme == "https":
        if not board.certificate or not board.key:
            raise ConfigurationError("board.origin is https: name board.certificate and board.key")
    elif host != "localhost" or not ip_address(board.address).is_loopback:
        raise ConfigurationError("board.origin may be http only as http://localhost on loopback")
    for names in (
        [one.person for one in board.person],
        [one.certificate for one in board.person if one.certificate],
    ):
        if len(set(names)) != len(names):
            raise ConfigurationError("[[board.person]] names a person or certificate twice")


def _check_assertion(assertion: Assertion, board: Board | None) -> None:
    service = (assertion.issuer, assertion.audience, assertion.key)
    if any(service) != all(service) or not (all(service) or assertion.webauthn):
        raise ConfigurationError(
            "[assertion] names issuer, audience and key of a service, or [assertion.webauthn]"
        )
    rules = assertion.webauthn
    for origin in rules.origins if rules else ():
        scheme, host, _ = split_origin(origin, "[assertion.webauthn] origins")
        if scheme != "https" and host != "localhost":
            raise ConfigurationError(f"{origin}: http is for localhost alone")
        if rules and host != rules.rp_id and not host.endswith(f".{rules.rp_id}"):
            raise ConfigurationError(f"{origin} is not of the relying party {rules.rp_id}")
        if board and board.origin == origin:
            raise ConfigurationError(
                f"{origin} is the board's", hint="its passkeys are for sign-in and approvals alone"
            )


def split_origin(origin: str, key: str = "board.origin") -> tuple[str, str, int]:
    """Return scheme, host and port of an origin (RFC 6454) that stands under a key; raise
    ConfigurationError.
    """
    found = _ORIGIN.fullmatch(origin)
    port = int(found[3] or _PORTS[found[1]]) if found else 0
    if found is None or not 0 < port <= _MOST_PORT:
        raise ConfigurationError(
            f"{key}: a scheme, a name and a port, in lower case, nothing after them",
            hint="such as https://conclave.bank.internal:8443; WebAuthn takes no IP address",
        )
    return found[1], found[2], port


def _channels(notify: Notify) -> tuple[Webhook | Syslog | Mail, ...]:
    return (*notify.webhook, *notify.syslog, *notify.mail)


def check_address(address: str) -> None:
    """Raise ConfigurationError unless the address is loopback or private, and not a wildcard."""
    try:
        parsed = ip_address(address)
    except ValueError as error:
        raise ConfigurationError("listen on an IP address, not on a name") from error
    if (
        parsed.is_unspecified
        or parsed.is_multicast
        or not (parsed.is_loopback or parsed.is_private)
    ):
        raise ConfigurationError(
            f"{address} is a wildcard or public address: the key API is for local callers only",
            hint="name a loopback or private address",
        )
