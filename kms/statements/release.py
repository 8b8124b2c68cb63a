"""Releases of disk keys: what an HSM worker tells the appliance daemon of a disk, with its keys.

HPKE tells nobody who sealed a message. So the worker signs, with the manifest key of the disk's
space, the disk's record as it stands, the daemon's nonce and the sealed keys: the daemon believes
nothing else of what the service says, neither which keys a disk gets nor that it may be formatted.
"""

from dataclasses import dataclass, field

from kms.domain.disks import Disk
from kms.errors import InvalidInput, VerificationFailed
from kms.statements import jws
from kms.statements.canonical import b64u, decode_record, encode_record
from kms.statements.keylist import KeyList, KeyUse

TYP = "conclave-disk-release+jws"


@dataclass(frozen=True, slots=True)
class DiskRelease:
    """``version`` is that of the disk's row, ``nonce`` (16 bytes) and ``sealed``
    (statements/diskkeys.py) are base64url; ``released`` in seconds since 1970.
    """

    iss: str
    disk: Disk
    version: int
    nonce: str
    released: int
    sealed: str = field(repr=False)


def sign_release(release: DiskRelease, kid: str, signer: jws.RawSigner) -> str:
    """Return a release as a JWS."""
    return jws.sign(encode_record(release), typ=TYP, kid=kid, signer=signer)


def verify_release(token: str, keys: KeyList, disk: str, nonce: bytes) -> DiskRelease:
    """Return the release; raise VerificationFailed unless the manifest key of the disk's space has
    signed it in answer to ``nonce``.
    """
    try:
        claimed = decode_record(jws.unverified_payload(token, typ=TYP), DiskRelease)
    except InvalidInput as error:
        raise VerificationFailed("not a release of disk keys") from error
    key = keys.key(jws.key_id(token, typ=TYP), KeyUse.MANIFEST, claimed.disk.space)
    jws.verify(token, typ=TYP, key=key)
    if (claimed.iss, claimed.disk.disk, claimed.nonce) != (keys.iss, disk, b64u(nonce)):
        raise VerificationFailed("the release answers another question")
    return claimed
