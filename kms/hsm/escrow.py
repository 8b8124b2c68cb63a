"""Escrow keys on a token: made to leave it at once under the share wrapping key (SWK), and opened
again for a recovery, both as session objects only.

One kind opens epoch keys inside the token; the disk escrow key decrypts recovery keys of disks.
"""

import hmac

from pkcs11 import KeyType

from kms.ceremonies.ports import EscrowPair
from kms.errors import ConclaveError, IntegrityFailure
from kms.hsm import templates
from kms.hsm.attributes import Template
from kms.hsm.faults import Action, TokenFault
from kms.hsm.publickeys import load_rsa, read_rsa
from kms.hsm.readback import check_attributes
from kms.hsm.token import Handle, Token

ESCROW_BITS = 4096
_PROOF_BYTES = 32


def make_escrow(token: Token, swk: bytes) -> EscrowPair:
    """Generate an RSA-4096 pair and wrap its private half by AES-KWP under the SWK (32 bytes).

    Which of the two kinds it is, the template decides that it is opened with.
    """
    public, private = token.generate_rsa(
        ESCROW_BITS,
        templates.passing_public(KeyType.RSA),
        templates.escrow_private_passing(),
    )
    wrapping = token.create(templates.share_wrapping_key(swk))
    blob = token.wrap_padded(wrapping, private)
    return EscrowPair(read_rsa(token, public), blob)


def open_escrow(token: Token, swk: bytes, blob: bytes) -> Handle:
    """Return the private half, which opens epoch keys and does nothing else, until the session's
    end. The SWK is not on the token afterwards.

    Raise IntegrityFailure if the SWK does not open the blob.
    """
    return _open(token, swk, blob, templates.escrow_recovered())


def decrypt_escrowed(token: Token, swk: bytes, blob: bytes, escrowed: bytes) -> bytes:
    """Return what was encrypted to a disk escrow key, whose private half the blob is.

    Raise IntegrityFailure if the SWK does not open the blob, or the private half not the rest.
    """
    private = _open(token, swk, blob, templates.disk_escrow_recovered())
    try:
        return token.decrypt_oaep(private, escrowed)
    except TokenFault as fault:
        raise _refused(fault, "the disk escrow key does not open the recovery key") from fault


def prove_disk_escrow(token: Token, swk: bytes, pair: EscrowPair) -> None:
    """Let the wrapped private half decrypt what the public half encrypted; raise
    IntegrityFailure.
    """
    public = token.create(templates.encrypting_public(load_rsa(pair.spki)))
    secret = token.random(_PROOF_BYTES)
    blob = token.encrypt_oaep(public, secret)
    if not hmac.compare_digest(decrypt_escrowed(token, swk, pair.blob, blob), secret):
        raise IntegrityFailure("the disk escrow key is not proved: it decrypts something else")


def _open(token: Token, swk: bytes, blob: bytes, recovered: Template) -> Handle:
    unwrapping = token.create(templates.share_unwrapping_key(swk))
    try:
        private = token.unwrap_padded(unwrapping, blob, recovered)
    except TokenFault as fault:
        raise _refused(fault, "the shares' key does not open the escrow key") from fault
    token.destroy(unwrapping)
    check_attributes(token, private, recovered)
    return private


def _refused(fault: TokenFault, message: str) -> ConclaveError:
    """Return what it means that the token refused; a fault of the token's own stays one."""
    return IntegrityFailure(message) if fault.action is Action.FAIL else fault
