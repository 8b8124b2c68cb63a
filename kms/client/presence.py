"""What a meeting's own program makes of a passkey's answer: a statement that the invited person is
at the device. It goes with the fetch as its assertion.
"""

import secrets
from typing import Any

from kms.statements.canonical import b64u
from kms.statements.invitation import InvitedPasskey
from kms.statements.presence import (
    NONCE_BYTES,
    Presence,
    Proof,
    challenge_of,
    encode_presence,
    join,
)
from kms.statements.webauthn import assertion_of


def new_presence(*, site: str, space: str, meeting: str, device: str, issued: int) -> bytes:
    """Return what is to be shown, once: ``device`` is the recipient id, ``issued`` now in whole
    seconds.
    """
    nonce = b64u(secrets.token_bytes(NONCE_BYTES))
    return encode_presence(Presence(site, space, meeting, device, issued, nonce))


def presence_options(payload: bytes, passkey: InvitedPasskey) -> dict[str, Any]:
    """Return what ``navigator.credentials.get`` is asked, as JSON: a browser reads ``publicKey`` of
    it by PublicKeyCredential.parseRequestOptionsFromJSON.
    """
    return {
        "publicKey": {
            "challenge": b64u(challenge_of(payload)),
            "rpId": passkey.rp_id,
            "allowCredentials": [{"type": "public-key", "id": passkey.credential}],
            "userVerification": "required",
        }
    }


def presence_token(payload: bytes, host: str, invitation: str, response: dict[str, Any]) -> str:
    """Return the statement; raise VerificationFailed for what is no passkey's answer.

    ``host`` is the host's key as the roster names it (SPKI, base64url), ``invitation`` its JWS for
    this device from the roster, ``response`` the browser's answer as JSON.
    """
    return join(payload, Proof(host, invitation, assertion_of(response)))
