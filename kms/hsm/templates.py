"""Every template of the service, every attribute spelled out: nothing is left to a default.

No key has both wrap and decrypt, or unwrap and encrypt; what need not change cannot be changed or
copied. TRUSTED objects are created in a security officer's session only and stay DESTROYABLE, or
not even the officer could revoke them. Sources: PKCS#11 2.40 sections 4.6 to 4.11; Clulow 2003 and
Bortolozzo et al. 2010 for what wrong combinations allow.
"""

from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import Attribute, CertificateType, KeyType, Mechanism, ObjectClass

from kms.domain.models import ReleaseClass
from kms.hsm.attributes import Template, Value
from kms.hsm.labels import Kind, Label
from kms.hsm.publickeys import der_integer, ec_point, rsa_numbers

A = Attribute
Attributes = Mapping[Attribute, Value]

P256 = bytes.fromhex("06082a8648ce3d030107")
"""DER of the object identifier of P-256 (RFC 5480, section 2.1.1.1)."""

_PUBLIC_USES: Attributes = {
    A.ENCRYPT: False,
    A.VERIFY: False,
    A.VERIFY_RECOVER: False,
    A.WRAP: False,
    A.DERIVE: False,
}
_PRIVATE_USES: Attributes = {
    A.DECRYPT: False,
    A.SIGN: False,
    A.SIGN_RECOVER: False,
    A.UNWRAP: False,
    A.DERIVE: False,
}
_SECRET_USES: Attributes = {
    A.ENCRYPT: False,
    A.DECRYPT: False,
    A.SIGN: False,
    A.VERIFY: False,
    A.WRAP: False,
    A.UNWRAP: False,
    A.DERIVE: False,
}
_FIXED: Attributes = {A.MODIFIABLE: False, A.COPYABLE: False, A.DESTROYABLE: True}
_SECRET_KEPT: Attributes = {A.SENSITIVE: True, A.EXTRACTABLE: False, A.WRAP_WITH_TRUSTED: False}

EPOCH_UNWRAPPED = Template(
    {
        A.KEY_TYPE: KeyType.AES,
        A.SENSITIVE: True,
        A.EXTRACTABLE: True,
        A.WRAP_WITH_TRUSTED: True,
        A.ENCRYPT: False,
        A.DECRYPT: False,
        A.SIGN: True,
        A.WRAP: False,
        A.UNWRAP: False,
        A.DERIVE: False,
        A.COPYABLE: False,
        A.MODIFIABLE: False,
    }
)
"""What a vault or escrow key makes of an epoch key that it opens: CKA_UNWRAP_TEMPLATE. It may be
committed with and wrapped to TRUSTED keys, nothing else."""

UNWRAP_EPOCH = Template(
    {
        A.CLASS: ObjectClass.SECRET_KEY,
        A.TOKEN: False,
        A.PRIVATE: True,
        A.VERIFY: False,
        **EPOCH_UNWRAPPED.values,
    }
)
"""Template of the unwrap call itself, which has to repeat CKA_UNWRAP_TEMPLATE; MODIFIABLE=0 stands
last, since SoftHSM takes attributes one by one."""


def epoch_key(release_class: ReleaseClass) -> Template:
    """Return the template of an epoch key at birth: AES-256, a session object to wrap and commit.

    In the ``trusted`` class the token refuses to wrap it for anyone but TRUSTED keys. In the
    ``roster`` class it may go to devices, until it is destroyed; reloaded it may not.
    """
    return Template(
        {
            A.CLASS: ObjectClass.SECRET_KEY,
            A.KEY_TYPE: KeyType.AES,
            A.VALUE_LEN: 32,
            A.TOKEN: False,
            A.PRIVATE: True,
            A.SENSITIVE: True,
            A.EXTRACTABLE: True,
            A.WRAP_WITH_TRUSTED: release_class is ReleaseClass.TRUSTED,
            **_FIXED,
            **_SECRET_USES,
            A.SIGN: True,
        }
    )


def _private_key(label: Label, key_type: KeyType) -> Attributes:
    return {
        A.CLASS: ObjectClass.PRIVATE_KEY,
        A.KEY_TYPE: key_type,
        A.TOKEN: True,
        A.PRIVATE: True,
        A.LABEL: str(label),
        A.ALWAYS_AUTHENTICATE: False,
        **_SECRET_KEPT,
        **_FIXED,
        **_PRIVATE_USES,
    }


def vault_private(label: Label) -> Template:
    """Return the template of a vault's private key: unwraps by OAEP, only into EPOCH_UNWRAPPED.

    The mechanism is fixed because a PKCS#1 v1.5 unwrap would be a padding oracle over envelopes.
    """
    return Template(
        {
            **_private_key(label, KeyType.RSA),
            A.UNWRAP: True,
            A.UNWRAP_TEMPLATE: EPOCH_UNWRAPPED,
            A.ALLOWED_MECHANISMS: (Mechanism.RSA_PKCS_OAEP,),
        }
    )


def signing_private(label: Label) -> Template:
    """Return the template of a P-256 signing key: manifests, checkpoints, the site root."""
    return Template(
        {
            **_private_key(label, KeyType.EC),
            A.SIGN: True,
            A.ALLOWED_MECHANISMS: (Mechanism.ECDSA,),
        }
    )


def passing_public(key_type: KeyType) -> Template:
    """Return the template of the public half that generation makes: a session object without uses.

    The lasting one is created by the security officer (``trusted_rsa``, ``trusted_ec``).
    """
    return Template(
        {
            A.CLASS: ObjectClass.PUBLIC_KEY,
            A.KEY_TYPE: key_type,
            A.TOKEN: False,
            A.PRIVATE: False,
            **_FIXED,
            **_PUBLIC_USES,
        }
    )


def row_mac(label: Label) -> Template:
    """Return the template of a token's row-MAC key: HMAC-SHA256, 32 bytes."""
    return Template(
        {
            A.CLASS: ObjectClass.SECRET_KEY,
            A.KEY_TYPE: KeyType.GENERIC_SECRET,
            A.VALUE_LEN: 32,
            A.TOKEN: True,
            A.PRIVATE: True,
            A.LABEL: str(label),
            **_SECRET_KEPT,
            **_FIXED,
            **_SECRET_USES,
            A.SIGN: True,
            A.VERIFY: True,
            A.ALLOWED_MECHANISMS: (Mechanism.SHA256_HMAC,),
        }
    )


def disk_kek(label: Label) -> Template:
    """Return the template of a disk's KEK: AES-256 that encrypts and decrypts by GCM alone.

    The mechanism is fixed because CBC or CTR with the same key would decrypt without the tag.
    """
    return Template(
        {
            A.CLASS: ObjectClass.SECRET_KEY,
            A.KEY_TYPE: KeyType.AES,
            A.VALUE_LEN: 32,
            A.TOKEN: True,
            A.PRIVATE: True,
            A.LABEL: str(label),
            **_SECRET_KEPT,
            **_FIXED,
            **_SECRET_USES,
            A.ENCRYPT: True,
            A.DECRYPT: True,
            A.ALLOWED_MECHANISMS: (Mechanism.AES_GCM,),
        }
    )


def _trusted_public(label: Label, key_id: bytes, key_type: KeyType) -> Attributes:
    return {
        A.CLASS: ObjectClass.PUBLIC_KEY,
        A.KEY_TYPE: key_type,
        A.TOKEN: True,
        A.PRIVATE: False,
        A.TRUSTED: True,
        A.LABEL: str(label),
        A.ID: key_id,
        **_FIXED,
        **_PUBLIC_USES,
    }


def trusted_rsa(label: Label, key_id: bytes, key: rsa.RSAPublicKey) -> Template:
    """Return a TRUSTED public key that may wrap: vault, escrow, server, recorder. Officers only."""
    return Template(
        {**_trusted_public(label, key_id, KeyType.RSA), **rsa_numbers(key), A.WRAP: True}
    )


def disk_escrow_public(label: Label, key_id: bytes, key: rsa.RSAPublicKey) -> Template:
    """Return a TRUSTED public key that disks' recovery keys are encrypted to. Officers only."""
    return Template(
        {
            **_trusted_public(label, key_id, KeyType.RSA),
            **rsa_numbers(key),
            A.ENCRYPT: True,
            A.ALLOWED_MECHANISMS: (Mechanism.RSA_PKCS_OAEP,),
        }
    )


def trusted_ec(label: Label, key_id: bytes, key: ec.EllipticCurvePublicKey) -> Template:
    """Return a TRUSTED P-256 public key that verifies: rosters, own statements. Officers only."""
    return Template(
        {
            **_trusted_public(label, key_id, KeyType.EC),
            A.EC_PARAMS: P256,
            A.EC_POINT: ec_point(key),
            A.VERIFY: True,
        }
    )


def trusted_certificate(label: Label, key_id: bytes, certificate: x509.Certificate) -> Template:
    """Return a TRUSTED X.509 anchor of devices (PKCS#11 2.40, section 4.6.3). Officers only."""
    return Template(
        {
            A.CLASS: ObjectClass.CERTIFICATE,
            A.CERTIFICATE_TYPE: CertificateType.X_509,
            A.TOKEN: True,
            A.PRIVATE: False,
            A.TRUSTED: True,
            A.LABEL: str(label),
            A.ID: key_id,
            **_FIXED,
            A.SUBJECT: certificate.subject.public_bytes(),
            A.ISSUER: certificate.issuer.public_bytes(),
            A.SERIAL_NUMBER: der_integer(certificate.serial_number),
            A.VALUE: certificate.public_bytes(serialization.Encoding.DER),
        }
    )


def encrypting_public(key: rsa.RSAPublicKey) -> Template:
    """Return a public key that encrypts by OAEP, to prove its private half: a session object."""
    return Template(
        {
            **device_public(key).values,
            A.WRAP: False,
            A.ENCRYPT: True,
            A.ALLOWED_MECHANISMS: (Mechanism.RSA_PKCS_OAEP,),
        }
    )


def device_public(key: rsa.RSAPublicKey) -> Template:
    """Return a device's public key for one minting (``roster`` class): a session object."""
    return Template(
        {
            A.CLASS: ObjectClass.PUBLIC_KEY,
            A.KEY_TYPE: KeyType.RSA,
            A.TOKEN: False,
            A.PRIVATE: False,
            **_FIXED,
            **_PUBLIC_USES,
            A.WRAP: True,
            **rsa_numbers(key),
        }
    )


def escrow_private_passing() -> Template:
    """Return an escrow private key, or disk escrow key, at birth: a session object, only to be
    wrapped by the SWK.
    """
    return Template(
        {
            A.CLASS: ObjectClass.PRIVATE_KEY,
            A.KEY_TYPE: KeyType.RSA,
            A.TOKEN: False,
            A.PRIVATE: True,
            A.SENSITIVE: True,
            A.EXTRACTABLE: True,
            A.WRAP_WITH_TRUSTED: False,
            A.ALWAYS_AUTHENTICATE: False,
            **_FIXED,
            **_PRIVATE_USES,
        }
    )


def escrow_recovered() -> Template:
    """Return an escrow private key as a recovery has it: a session object, else like a vault's."""
    return _recovered({A.UNWRAP: True, A.UNWRAP_TEMPLATE: EPOCH_UNWRAPPED})


def disk_escrow_recovered() -> Template:
    """Return a disk escrow private key as a recovery has it: a session object that decrypts by OAEP
    and unwraps nothing.
    """
    return _recovered({A.DECRYPT: True})


def _recovered(uses: Attributes) -> Template:
    return Template(
        {
            A.CLASS: ObjectClass.PRIVATE_KEY,
            A.KEY_TYPE: KeyType.RSA,
            A.TOKEN: False,
            A.PRIVATE: True,
            **_SECRET_KEPT,
            **_PRIVATE_USES,
            **uses,
            A.ALLOWED_MECHANISMS: (Mechanism.RSA_PKCS_OAEP,),
            A.DESTROYABLE: True,
            A.COPYABLE: False,
            A.MODIFIABLE: False,
        }
    )


def share_wrapping_key(value: bytes) -> Template:
    """Return the SWK (32 bytes) as it wraps an escrow key at birth: a session object."""
    return Template({**_share_key(value), A.WRAP: True})


def share_unwrapping_key(value: bytes) -> Template:
    """Return the SWK (32 bytes) as it unwraps an escrow key in a recovery: a session object."""
    return Template({**_share_key(value), A.UNWRAP: True})


def _share_key(value: bytes) -> Attributes:
    return {
        A.CLASS: ObjectClass.SECRET_KEY,
        A.KEY_TYPE: KeyType.AES,
        A.VALUE: value,
        A.TOKEN: False,
        A.PRIVATE: True,
        **_SECRET_KEPT,
        **_FIXED,
        **_SECRET_USES,
        A.ALLOWED_MECHANISMS: (Mechanism.AES_KEY_WRAP_PAD,),
    }


def checkpoint_state(value: bytes) -> Template:
    """Return the last checkpoint's data object, kept where a rolled-back disk does not reach."""
    return Template(
        {
            A.CLASS: ObjectClass.DATA,
            A.TOKEN: True,
            A.PRIVATE: True,
            **_FIXED,
            A.APPLICATION: "conclave",
            A.LABEL: str(Label(Kind.CHECKPOINT_STATE)),
            A.VALUE: value,
        }
    )
