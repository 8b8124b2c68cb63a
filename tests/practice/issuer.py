"""A fake: mints epochs in software, as the product's HSM worker does. For client tests alone."""

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import algorithms

from kms.client.keys import WRAP_HASHES, EnvelopeOpener, SiteTrust
from kms.domain.models import RecipientKind, ReleaseClass
from kms.statements import jws
from kms.statements.canonical import b64u, digest
from kms.statements.keylist import TYP as KEYLIST_TYP
from kms.statements.keylist import KeyList, KeyUse, ListedKey, encode_keylist
from kms.statements.manifest import (
    TYP,
    Manifest,
    ManifestRecipient,
    commitment_context,
    media_of,
    subject,
)

MEETING = "0193a5b0-7c3e-7000-8000-0123456789ab"
SPACE = "investment-banking"
NOW = 1_800_000_000
Reader = rsa.RSAPrivateKey | rsa.RSAPublicKey


def _p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def device_key(number: int) -> rsa.RSAPrivateKey:
    """Return one of a few keys, 2048 bits to be quick: it is the worker that asks for more."""
    del number
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Issued:
    """One epoch: its key, manifest, its JWS, and the blobs in the order of the recipients."""

    key: bytes = field(repr=False)
    manifest: Manifest
    token: str
    blobs: tuple[bytes, ...]


@dataclass
class Issuer:
    """A site of its own with one manifest key for one space."""

    site: str = "practice.example"
    space: str = SPACE
    wrap_alg: str = "RSA-OAEP"
    root: ec.EllipticCurvePrivateKey = field(default_factory=_p256)
    manifest_key: ec.EllipticCurvePrivateKey = field(default_factory=_p256)

    def key_list(self, version: int = 1, **changes: object) -> str:
        public = self.manifest_key.public_key()
        spki = b64u(jws.spki_der(public))
        listed = ListedKey(jws.spki_id(public), KeyUse.MANIFEST, self.space, spki, NOW - 100)
        keys = replace(KeyList(self.site, version, NOW - 100, (listed,)), **changes)
        return sign(encode_keylist(keys), KEYLIST_TYP, self.root)

    def trust(self) -> SiteTrust:
        return SiteTrust(self.site, self.root.public_key(), self.key_list())

    def opener(self, key: rsa.RSAPrivateKey) -> EnvelopeOpener:
        return EnvelopeOpener(self.trust(), key, self.wrap_alg)

    def mint(
        self,
        readers: Sequence[Reader],
        epoch: int = 0,
        *,
        key: bytes | None = None,
        nbf: int = NOW,
        exp: int = NOW + 3600,
        meeting: str = MEETING,
    ) -> Issued:
        key = key or secrets.token_bytes(32)
        sub, media = subject(self.space, meeting, epoch), media_of(epoch)
        context = commitment_context(self.site, sub, ReleaseClass.ROSTER, media)
        blobs = tuple(wrap(key, reader, self.wrap_alg) for reader in readers)
        recipients = tuple(
            ManifestRecipient(
                jws.spki_id(public(reader)), RecipientKind.DEVICE, 0, index, digest(blob)
            )
            for index, (reader, blob) in enumerate(zip(readers, blobs, strict=True))
        )
        manifest = Manifest(
            self.site, sub, NOW, nbf, exp, ReleaseClass.ROSTER, 1, self.wrap_alg,
            commit(key, context), media, recipients,
        )  # fmt: skip
        return Issued(key, manifest, self.sign(manifest), blobs)

    def sign(self, manifest: Manifest) -> str:
        return sign(manifest.encode(), TYP, self.manifest_key)


def sign(payload: bytes, typ: str, key: ec.EllipticCurvePrivateKey) -> str:
    kid = jws.spki_id(key.public_key())
    return jws.sign(payload, typ=typ, kid=kid, signer=jws.private_signer(key))


def public(reader: Reader) -> rsa.RSAPublicKey:
    return reader.public_key() if isinstance(reader, rsa.RSAPrivateKey) else reader


def wrap(key: bytes, reader: Reader, wrap_alg: str) -> bytes:
    algorithm = WRAP_HASHES[wrap_alg]
    oaep = padding.OAEP(padding.MGF1(algorithm()), algorithm(), None)
    return public(reader).encrypt(key, oaep)


def commit(key: bytes, context: bytes) -> str:
    mac = cmac.CMAC(algorithms.AES(key))
    mac.update(context)
    return b64u(mac.finalize())


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
