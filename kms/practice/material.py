"""What a practice site has beside its tokens: PINs, certificates, meeting servers' keys."""

import secrets

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kms.domain.models import ReleaseClass
from kms.practice import certificates
from kms.practice.ceremony import Outcome, Pins, PrivateKey, Server, describe_server
from kms.practice.files import PUBLIC, write_certificate, write_key, write_new
from kms.practice.layout import BANNER, SHARE_GROUPS, SPACES, TOKENS, PracticeSite
from kms.statements.canonical import b64u, canonical, encode_record
from kms.usecases.registrations import FILE, Registrations

_PIN_BYTES = 16
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
    write_new(site.softhsm, _SOFTHSM.format(mark=BANNER, tokens=tokens).encode())
    tokens.mkdir(mode=0o700)


def write_pins(site: PracticeSite) -> Pins:
    """Draw PINs of 128 random bits and write both documents."""
    pins = Pins(
        user={label: secrets.token_hex(_PIN_BYTES) for label in TOKENS},
        officer={label: secrets.token_hex(_PIN_BYTES) for label in TOKENS},
    )
    write_new(site.secrets / "README", f"{BANNER}\n".encode())
    write_new(site.pins, canonical(pins.user))
    write_new(site.so_pins, canonical(pins.officer))
    return pins


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
    own = _server_key(release_class)
    write_certificate(place.certificate, tls.certificate)
    write_key(place.tls_key, tls.key)
    write_certificate(place.certificate.with_name("ca.pem"), authority.certificate)
    write_key(place.own_key, own)
    return describe_server(name, own, tls)


def _server_key(release_class: ReleaseClass) -> PrivateKey:
    if release_class is ReleaseClass.ROSTER:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(_EXPONENT, _RSA_BITS)


def write_device_ca(site: PracticeSite) -> bytes:
    """Make the authority of device certificates; return its certificate (DER)."""
    authority = certificates.make_authority("Practice device CA")
    write_certificate(site.device_ca, authority.certificate)
    write_key(site.device_ca_key, authority.key)
    return authority.certificate.public_bytes(serialization.Encoding.DER)


def write_outcome(site: PracticeSite, outcome: Outcome) -> None:
    """Write what the ceremonies left: site root, key list, registrations, escrow."""
    root = serialization.load_der_public_key(outcome.site_root).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_new(site.site_root, root, PUBLIC)
    write_new(site.state / "key-list.jws", outcome.key_list.encode("ascii"))
    registrations = Registrations(outcome.spaces, outcome.recipients)
    write_new(site.state / FILE, encode_record(registrations))
    write_new(site.escrow_blob, outcome.escrow.pair.blob)
    write_new(site.escrow_record, _escrow_record(outcome))


def _escrow_record(outcome: Outcome) -> bytes:
    escrow = outcome.escrow
    groups = [[group.name, group.threshold, group.count] for group in SHARE_GROUPS]
    return canonical(
        {
            "check": escrow.check,
            "generation": escrow.generation,
            "groups": groups,
            "share_sha256": escrow.share_digests,
            "spki": b64u(escrow.pair.spki),
        }
    )
