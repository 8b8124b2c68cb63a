"""The appliance daemon's configuration: one strict TOML file, read once, no secrets in it.

The sentence below a key is its meaning in docs/disks.md.
"""

from pathlib import Path

from kms.errors import ConfigurationError
from kms.logs import Form, Level
from kms.strict import Section, read_toml

DEFAULT_PATH = Path("/etc/conclave/appliance.toml")


class Settings(Section, frozen=True):
    """The whole file."""

    site: str
    """The site's id, as in conclave.toml: disk keys are opened for this site alone."""
    site_root: Path
    """The site's root (PEM, as the founding ceremony delivered it). Only what the site's HSM has
    signed, by the key list that this root signed, is believed of a disk."""
    api_socket: Path = Path("/run/conclave/api.sock")
    """The key API's Unix socket; uid 0 needs a [[caller]] with the role appliance there."""
    state: Path = Path("/var/lib/conclave-appliance")
    """Holds the daemon's private key, the newest backup of each disk's header, and what was seen of
    kms and may not go back."""
    run: Path = Path("/run/conclave-appliance")
    """Holds copies of headers while they are checked and used; has to lie in memory."""
    mount_root: Path = Path("/srv/conclave")
    """Disks are mounted below it, by the name of their mount policy."""
    udev: bool = True
    """Follow the block devices of this machine."""
    image_directory: Path | None = None
    """For practice: every NAME.img in it is a device with the serial number NAME."""
    dm_udev: bool = True
    """Whether udev makes the nodes of opened disks; false only where its device-mapper rules are
    missing, such as in an initramfs."""
    log_format: Form = "json"
    """"json": an object a line; "text": for people."""
    log_level: Level = "info"
    """The least severe lines that are written: info, warning or error."""

    @property
    def key(self) -> Path:
        """Where the daemon's private key lies unless systemd gives it as a credential."""
        return self.state / "key"


def load(path: Path) -> Settings:
    """Return the checked settings of a file; raise ConfigurationError with the field's name."""
    settings = read_toml(path, Settings)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    paths = (
        settings.site_root,
        settings.api_socket,
        settings.state,
        settings.run,
        settings.mount_root,
        settings.image_directory or Path("/"),
    )
    if not all(path.is_absolute() and ".." not in path.parts for path in paths):
        raise ConfigurationError("every path is absolute, without ..")
    if not settings.site:
        raise ConfigurationError("site is empty", hint="copy [site] id of conclave.toml")
    if not settings.udev and settings.image_directory is None:
        raise ConfigurationError("there is nothing to follow", hint="set udev or image_directory")
