"""Escrow keys on a token: made to leave it at once under the share wrapping key (SWK), and opened
again for a recovery, both as session objects only.
"""

from pkcs11 import KeyType

from kms.ceremonies.ports import EscrowPair
from kms.errors import IntegrityFailure
from kms.hsm import templates
from kms.hsm.faults import Action, TokenFault
from kms.hsm.publickeys import read_rsa
from kms.hsm.readback import check_attributes
from kms.hsm.token import Handle, Token

ESCROW_BITS = 4096


def make_escrow(token: Token, swk: bytes) -> EscrowPair:
    """Generate an RSA-4096 pair and wrap its private half by AES-KWP under the SWK (32 bytes)."""
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
    recovered = templates.escrow_recovered()
    unwrapping = token.create(templates.share_unwrapping_key(swk))
    try:
        private = token.unwrap_padded(unwrapping, blob, recovered)
    except TokenFault as fault:
        if fault.action is not Action.FAIL:
            raise
        raise IntegrityFailure("the shares' key does not open the escrow key") from fault
    token.destroy(unwrapping)
    check_attributes(token, private, recovered)
    return private
