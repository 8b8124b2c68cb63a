"""What a practice site has beside its tokens: people's credentials, plans, certificates, meeting
servers' keys.
"""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from kms.ceremonies.people.software import new_software_credential
from kms.domain.models import ReleaseClass
from kms.practice import certificates
from kms.practice.files import PUBLIC, write_certificate, write_key, write_new
from kms.practice.layout import BANNER, PEOPLE, SPACES, PracticeSite
from kms.practice.plans import Server, Writer, plan_time
from kms.statements.canonical import b64u
from kms.statements.card import make_card
from kms.statements.jws import spki_id

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_RSA_BITS, _EXPONENT = 3072, 65537
_HOSTS = ("127.0.0.1", "localhost")
_SOFTHSM = """\
# {mark}
directories.tokendir = {tokens}
objectstore.backend = file
log.level = ERROR
slots.removable = false
"""


def write_softhsm(site: PracticeSite) -> None:
    """Write SoftHSM's configuration and make its folder of tokens."""
    tokens = site.softhsm.parent / "tokens"
    write_new(site.softhsm, softhsm_config(BANNER, tokens).encode())
    tokens.mkdir(mode=0o700)


def softhsm_config(mark: str, tokens: Path) -> str:
    """Return a configuration of SoftHSM with tokens of its own."""
    return _SOFTHSM.format(mark=mark, tokens=tokens)


def write_people(site: PracticeSite) -> dict[str, str]:
    """Make a credential for everybody; return their cards by name."""
    write_new(site.secrets / "README", f"{BANNER}\n".encode())
    cards = {}
    for person in PEOPLE:
        path = site.person_key(person.name)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        cards[person.name] = make_card(person.name, new_software_credential(path, b""))
    return cards


def write_plans(
    site: PracticeSite,
    cards: dict[str, str],
    servers: dict[str, Server],
    device_ca: str,
    now: float,
) -> None:
    """Write the plans of the ceremonies that make the site."""
    plans = Writer(site.site_id, plan_time(now)).all(cards, servers, device_ca)
    for number, (name, text) in enumerate(plans, 1):
        write_new(site.plans / f"{number:02}-{name}.toml", text.encode(), PUBLIC)


def write_tls_and_servers(site: PracticeSite) -> dict[str, Server]:
    """Make the TLS authority, the service's certificate, and the meeting servers' keys."""
    authority = certificates.make_authority("Practice TLS CA")
    write_certificate(site.tls_ca, authority.certificate)
    write_key(site.tls_ca_key, authority.key)
    service = certificates.issue_server(authority, "Conclave practice service", _HOSTS)
    write_certificate(site.tls_certificate, service.certificate)
    write_key(site.tls_key, service.key)
    return {
        name: _write_server(site, name, space.release_class, authority)
        for space in SPACES
        for name in space.servers
    }


def _write_server(
    site: PracticeSite,
    name: str,
    release_class: ReleaseClass,
    authority: certificates.KeyAndCertificate,
) -> Server:
    place, tls = site.server(name), certificates.issue_client(authority, name)
    own = server_key(release_class)
    write_certificate(place.certificate, tls.certificate)
    write_key(place.tls_key, tls.key)
    write_certificate(place.certificate.with_name("ca.pem"), authority.certificate)
    write_key(place.own_key, own)
    return Server(pem_of(own), spki_id(tls.key.public_key()))


def pem_of(key: PrivateKey) -> str:
    """Return the public half as PEM."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def server_key(release_class: ReleaseClass) -> PrivateKey:
    """Return a new key of a meeting server: it signs rosters, or opens envelopes."""
    if release_class is ReleaseClass.ROSTER:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(_EXPONENT, _RSA_BITS)


def write_device_ca(site: PracticeSite) -> str:
    """Make the authority of device certificates; return its certificate (PEM)."""
    authority = certificates.make_authority("Practice device CA")
    write_certificate(site.device_ca, authority.certificate)
    write_key(site.device_ca_key, authority.key)
    return authority.certificate.public_bytes(serialization.Encoding.PEM).decode()


def write_appliance_key(site: PracticeSite) -> None:
    """Make the appliance daemon's key."""
    key = X25519PrivateKey.generate()
    write_new(site.appliance_key, b64u(key.private_bytes_raw()).encode())
