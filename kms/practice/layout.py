"""Where the parts of a practice site lie, and what it consists of."""

from dataclasses import dataclass
from pathlib import Path

from kms.ceremonies.ports import ShareGroup
from kms.domain.ids import SpaceName
from kms.domain.models import ReleaseClass

BANNER = "PRACTICE / 演练"
SITE_TOKEN = "site"  # noqa: S105 -- a label
ESCROW_GENERATION = 1
SHARE_GROUPS = (ShareGroup("security", 3, 5), ShareGroup("legal", 2, 3))
DEVICE_ANCHOR = "practice-device-ca"
_MARK = "PRACTICE"


@dataclass(frozen=True, slots=True)
class PracticeSpace:
    """A space of the practice site and the meeting servers registered in it."""

    name: SpaceName
    release_class: ReleaseClass
    servers: tuple[str, ...]

    @property
    def token(self) -> str:
        """The label of its token."""
        return f"space-{self.name}"


SPACES = (
    PracticeSpace(SpaceName("investment-banking"), ReleaseClass.ROSTER, ("ms-1",)),
    PracticeSpace(SpaceName("treasury"), ReleaseClass.TRUSTED, ("ms-a", "ms-b")),
)
TOKENS = (SITE_TOKEN, *(space.token for space in SPACES))


@dataclass(frozen=True, slots=True)
class PracticeServer:
    """What a practice meeting server has: TLS certificate and key, and its own key.

    The folder is what ``conclave --identity`` takes. ``own_key`` signs rosters (P-256) in
    ``roster`` spaces, opens envelopes (RSA-3072) in others.
    """

    name: str
    space: SpaceName
    certificate: Path
    tls_key: Path
    own_key: Path


@dataclass(frozen=True, slots=True)
class PracticeSite:
    """A practice site in a directory; every path is absolute."""

    directory: Path
    site_id: str

    @property
    def banner(self) -> str:
        """What every output of the site says."""
        return BANNER

    @property
    def mark(self) -> Path:
        """The file without which nothing is ever deleted."""
        return self.directory / _MARK

    @property
    def config(self) -> Path:
        """The configuration; written last, so its presence says that the site is complete."""
        return self.directory / "conclave.toml"

    @property
    def state(self) -> Path:
        """Key list, registrations, escrow blob; the service adds its database."""
        return self.directory / "state"

    @property
    def softhsm(self) -> Path:
        """SoftHSM's configuration file."""
        return self.directory / "softhsm" / "softhsm2.conf"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs that loads the PKCS#11 module."""
        return {"SOFTHSM2_CONF": str(self.softhsm)}

    @property
    def site_root(self) -> Path:
        """The site root's public key (PEM), which clients pin."""
        return self.directory / "site-root.pem"

    @property
    def escrow_blob(self) -> Path:
        """The escrow private key (PKCS#8) under AES-KWP."""
        return self.state / f"escrow-{ESCROW_GENERATION}.kwp"

    @property
    def escrow_record(self) -> Path:
        """Public facts of the escrow generation (JSON): SPKI, check value, share digests."""
        return self.state / f"escrow-{ESCROW_GENERATION}.json"

    @property
    def secrets(self) -> Path:
        """PINs and the authorities' keys."""
        return self.directory / "practice-secrets"

    @property
    def pins(self) -> Path:
        """The PIN document that ``conclave serve --pin-fd`` takes."""
        return self.secrets / "pins.json"

    @property
    def so_pins(self) -> Path:
        """The security officers' PINs, in the same form."""
        return self.secrets / "so-pins.json"

    @property
    def shares(self) -> Path:
        """The escrow shares, a file each."""
        return self.directory / "practice-shares"

    @property
    def tls_ca(self) -> Path:
        """The authority of server and client certificates."""
        return self.directory / "tls" / "ca.pem"

    @property
    def tls_ca_key(self) -> Path:
        """Its key."""
        return self.secrets / "tls-ca.key.pem"

    @property
    def tls_certificate(self) -> Path:
        """The service's certificate for 127.0.0.1 and localhost."""
        return self.directory / "tls" / "service.pem"

    @property
    def tls_key(self) -> Path:
        """The service's TLS key."""
        return self.directory / "tls" / "service.key.pem"

    @property
    def device_ca(self) -> Path:
        """The authority of device certificates, trusted by the ``roster`` spaces' tokens."""
        return self.directory / "device-ca.pem"

    @property
    def device_ca_key(self) -> Path:
        """Its key."""
        return self.secrets / "device-ca.key.pem"

    @property
    def servers(self) -> tuple[PracticeServer, ...]:
        """The meeting servers of all spaces."""
        return tuple(self._server(space, name) for space in SPACES for name in space.servers)

    def server(self, name: str) -> PracticeServer:
        """Return one meeting server by its name."""
        return next(server for server in self.servers if server.name == name)

    def _server(self, space: PracticeSpace, name: str) -> PracticeServer:
        folder = self.directory / "servers" / name
        own = "roster" if space.release_class is ReleaseClass.ROSTER else "wrap"
        return PracticeServer(
            name,
            space.name,
            folder / "client.pem",
            folder / "client.key",
            folder / f"{own}.key.pem",
        )
