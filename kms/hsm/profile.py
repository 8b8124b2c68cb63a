"""HSM profiles: what one model of HSM needs, as data. Never a PIN; unknown fields are refused."""

from enum import StrEnum
from pathlib import Path

import msgspec

from kms.errors import ProfileError
from kms.strict import Section


class Wrapping(StrEnum):
    """How epoch keys get to recipients. ``wrap-oaep``: C_WrapKey with RSA-OAEP."""

    WRAP_OAEP = "wrap-oaep"


class OaepHash(StrEnum):
    """Hash of OAEP and its mask; decides the manifest's ``wrap_alg``."""

    SHA1 = "sha1"
    SHA256 = "sha256"


class Verified(StrEnum):
    """On what the profile's statements were tried."""

    REAL = "real"
    SIMULATOR = "simulator"
    DOCS = "docs"


class Match(Section, frozen=True):
    """What the profile fits.

    ``modules``: where the module may lie (the first that exists is used); ``library_versions``
    are ``major.minor``.
    """

    modules: tuple[Path, ...]
    manufacturer: str
    library_versions: tuple[str, ...]


class Mechanisms(Section, frozen=True):
    """Mechanisms that the token must offer, by their PKCS#11 names."""

    required: tuple[str, ...]


class Pin(Section, frozen=True):
    """Length of a PIN in characters. One attempt is made, ever: real tokens lock."""

    min_length: int
    max_length: int


class Errors(Section, frozen=True):
    """CK_RV names by what follows: try again later, log in again, give the process up.

    Any other error fails its request alone; the session is dropped after every one.
    """

    retry: tuple[str, ...]
    relogin: tuple[str, ...]
    fatal: tuple[str, ...]


class KnownAnswers(Section, frozen=True):
    """What the token's self-test must find; see known_answers.py for each test."""

    cmac_agrees: bool
    hmac_agrees: bool
    ecdsa_agrees: bool
    oaep_agrees: bool
    key_wrap_pad_agrees: bool
    gcm_agrees: bool
    kek_bound_to_gcm: bool
    wrap_with_trusted_enforced: bool
    unwrap_template_enforced: bool
    allowed_mechanisms_enforced: bool
    user_can_make_trusted: bool
    digest_of_sensitive_key: bool


class Profile(Section, frozen=True):
    """One model of HSM.

    ``title``, ``verified``, ``certification`` and ``sources`` are statements for whoever chooses
    a profile; nothing is decided on them.
    """

    name: str
    title: str
    verified: Verified
    wrapping: Wrapping
    oaep_hash: OaepHash
    certification: str
    sources: tuple[str, ...]
    match: Match
    mechanisms: Mechanisms
    pin: Pin
    errors: Errors
    known_answers: KnownAnswers

    @property
    def wrap_alg(self) -> str:
        """The JOSE name of the wrapping algorithm (RFC 7518, section 4.3)."""
        return "RSA-OAEP" if self.oaep_hash is OaepHash.SHA1 else "RSA-OAEP-256"

    @property
    def module(self) -> str:
        """The module's path on this machine; raise ProfileError."""
        for path in self.match.modules:
            if path.exists():
                return str(path)
        raise ProfileError(
            f"no module of profile {self.name} is installed",
            hint="install the HSM's client software, or name its path under [match] modules",
        )


def load_profile(path: Path) -> Profile:
    """Return the checked profile of a file; raise ProfileError with the field's name."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Profile, dec_hook=_decode_path)
    except OSError as error:
        raise ProfileError(f"cannot read profile {path}: {error.strerror}") from error
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ProfileError(f"{path}: {error}") from error


def _decode_path(kind: type, value: object) -> object:
    if kind is not Path or not isinstance(value, str):
        raise ValueError(f"expected {kind.__name__}")
    return Path(value)
