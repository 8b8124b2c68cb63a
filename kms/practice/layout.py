"""Where the parts of a practice site lie, and what it consists of."""

from dataclasses import dataclass
from pathlib import Path

from kms.domain.ids import SpaceName
from kms.domain.models import ReleaseClass
from kms.domain.people import Part
from kms.statements import archive

BANNER = "PRACTICE / 演练"
SITE_TOKEN = "site"  # noqa: S105 -- a label
ESCROW_GENERATION = 1
THRESHOLDS = {"security": 3, "legal": 2}
DEVICE_ANCHOR = "practice-device-ca"
_MARK = "PRACTICE"


@dataclass(frozen=True, slots=True)
class PracticePerson:
    """Somebody of the practice site; officers have a group and a place in it."""

    name: str
    display: str
    part: Part
    group: str = ""
    share: int = 0


def _officers(group: str, *people: tuple[str, str]) -> tuple[PracticePerson, ...]:
    return tuple(
        PracticePerson(f"{name}-{group}", display, Part.OFFICER, group, place)
        for place, (name, display) in enumerate(people, 1)
    )


ADMINISTRATOR = PracticePerson("chen-admin", "陈建国", Part.ADMINISTRATOR)
WITNESS = PracticePerson("liu-witness", "刘洋", Part.WITNESS)
AUDITOR = PracticePerson("zhao-auditor", "赵静", Part.AUDITOR)
OFFICERS = (
    *_officers(
        "security",
        ("wang", "王芳"),
        ("sun", "孙磊"),
        ("zhou", "周敏"),
        ("wu", "吴刚"),
        ("zheng", "郑洁"),
    ),
    *_officers("legal", ("qian", "钱进"), ("feng", "冯莉"), ("han", "韩梅")),
)
PEOPLE = (ADMINISTRATOR, WITNESS, AUDITOR, *OFFICERS)
QUORUM = tuple(one for one in OFFICERS if one.share <= THRESHOLDS[one.group])
"""The fewest officers who suffice in every group."""


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
    def draft(self) -> Path:
        """The configuration while its ceremonies are held."""
        return self.directory / "conclave.draft"

    @property
    def state(self) -> Path:
        """The database, what ceremonies signed, their records."""
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
    def key_list(self) -> Path:
        """The newest key list (JWS)."""
        names = (path.name for path in self.state.iterdir())
        return self.state / archive.KEY_LIST.format(archive.newest(names, archive.KEY_LIST))

    @property
    def site_root(self) -> Path:
        """The site root's public key (PEM), which clients pin."""
        return self.directory / "site-root.pem"

    @property
    def escrow_blob(self) -> Path:
        """The escrow private key (PKCS#8) under AES-KWP."""
        return self.state / archive.ESCROW_BLOB.format(ESCROW_GENERATION)

    @property
    def escrow_record(self) -> Path:
        """Public facts of the escrow generation (JSON): SPKI, check value."""
        return self.state / archive.ESCROW_RECORD.format(ESCROW_GENERATION)

    @property
    def secrets(self) -> Path:
        """PINs, the authorities' keys and the appliance's."""
        return self.directory / "practice-secrets"

    @property
    def pins(self) -> Path:
        """The PIN document that ``conclave serve --pin-fd`` takes."""
        return self.secrets / "pins.json"

    @property
    def appliance_key(self) -> Path:
        """The appliance daemon's private key (X25519, base64url)."""
        return self.secrets / "appliance.key"

    def person_key(self, name: str) -> Path:
        """Return where a person keeps their signing credential (PEM, without a passphrase)."""
        return self.secrets / "people" / f"{name}.key.pem"

    @property
    def shares(self) -> Path:
        """The shares of both secrets, a file each."""
        return self.directory / "practice-shares"

    @property
    def plans(self) -> Path:
        """The plans of the ceremonies that made the site, in the order of their names."""
        return self.directory / "practice-plans"

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
