"""The configuration: one strict TOML file, read once, no secrets in it."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import msgspec

from kms.domain.ids import parse_space
from kms.domain.models import Role
from kms.errors import ConfigurationError, InvalidInput

DEFAULT_PATH = Path("/etc/conclave/conclave.toml")


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; unknown keys are refused."""


class Site(_Section, frozen=True):
    """``id`` names the site in every statement; ``banner`` is shown on every output if set."""

    id: str
    banner: str = ""


class Paths(_Section, frozen=True):
    """``state`` holds the database, ``run`` the sockets."""

    state: Path = Path("/var/lib/conclave")
    run: Path = Path("/run/conclave")

    @property
    def database(self) -> Path:
        """Where the store lies."""
        return self.state / "conclave.db"

    @property
    def api_socket(self) -> Path:
        """Where local callers connect."""
        return self.run / "api.sock"

    def worker_socket(self, token: str) -> Path:
        """Where a token's worker listens."""
        return self.run / f"worker-{token}.sock"


class Token(_Section, frozen=True):
    """A token and the space whose keys it keeps; ``space`` is empty for the site's own token."""

    label: str
    space: str = ""


class Hsm(_Section, frozen=True):
    """``profile`` is one of hsm_profiles/; ``environment`` is set for the workers only."""

    profile: Path
    tokens: tuple[Token, ...]
    deadline_seconds: float = 10.0
    environment: dict[str, str] = {}


class Tls(_Section, frozen=True):
    """The mutual-TLS listener. ``address`` is loopback or a named private address."""

    address: str
    port: int
    certificate: Path
    key: Path
    client_ca: Path
    hosts: tuple[str, ...] = ()


class Api(_Section, frozen=True):
    """The key API's listeners and limits (bytes, seconds, connections)."""

    socket_group: str = ""
    tls: Tls | None = None
    max_body: int = 1 << 20
    max_header: int = 16 << 10
    request_seconds: float = 30.0
    idle_seconds: float = 75.0
    max_connections: int = 1000


class Audit(_Section, frozen=True):
    """``checkpoint_seconds``: the tail that is unprotected. ``grace_seconds``: how long the signer
    may be down before key operations stop.
    """

    checkpoint_seconds: float = 5.0
    grace_seconds: float = 30.0


class Rotation(_Section, frozen=True):
    """``publish_ahead_seconds``: how long before its start an epoch can be fetched.
    ``epoch_seconds``: an epoch's maximum age, the manifest's ``exp``.
    """

    publish_ahead_seconds: Annotated[int, msgspec.Meta(ge=1, le=60)] = 2
    epoch_seconds: Annotated[int, msgspec.Meta(ge=60)] = 86_400


class Caller(_Section, frozen=True):
    """A local caller, recognised by the uid of its socket (SO_PEERCRED)."""

    uid: int
    principal: str
    roles: tuple[Role, ...]
    spaces: tuple[str, ...]


class Settings(_Section, frozen=True):
    """The whole file."""

    site: Site
    hsm: Hsm
    paths: Paths = Paths()
    api: Api = Api()
    audit: Audit = Audit()
    rotation: Rotation = Rotation()
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
    try:
        settings = msgspec.toml.decode(path.read_bytes(), type=Settings, dec_hook=_decode_path)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", hint="name the file with --config"
        ) from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    _check(settings)
    return settings


def _decode_path(kind: type, value: object) -> object:
    if kind is not Path or not isinstance(value, str):
        raise ValueError(f"expected {kind.__name__}")
    return Path(value)


def _check(settings: Settings) -> None:
    if sum(not token.space for token in settings.hsm.tokens) != 1:
        raise ConfigurationError("exactly one [[hsm.tokens]] is the site's own (no space)")
    for names in (
        [token.label for token in settings.hsm.tokens],
        [token.space for token in settings.space_tokens],
        [str(caller.uid) for caller in settings.caller],
    ):
        if len(set(names)) != len(names):
            raise ConfigurationError("tokens, spaces and callers are each named once")
    try:
        for token in settings.space_tokens:
            parse_space(token.space)
    except InvalidInput as error:
        raise ConfigurationError(error.message) from error
    if settings.api.tls:
        check_address(settings.api.tls.address)


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
